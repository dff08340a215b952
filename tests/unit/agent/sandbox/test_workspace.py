"""The workspace is in memory, private, and gone afterwards."""

import os
import secrets
import stat
from pathlib import Path

import pytest

from atoll.errors import AtollError, ConfigError, ConflictError, InputError, RefusedError
from atoll_agent.sandbox.workspace import erase, open_workspace, workspace_path


@pytest.fixture
def enclave() -> str:
    return f"unit-{secrets.token_hex(8)}"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def code_of(error: pytest.ExceptionInfo[AtollError]) -> str:
    return error.value.code


def test_everything_is_private_and_inputs_are_read_only(enclave: str) -> None:
    with open_workspace(enclave, need_bytes=1) as workspace:
        with workspace.create_module() as file:
            file.write(b"module")
        with workspace.create_data("iris.csv") as file:
            file.write(b"flowers")
        assert workspace.root == workspace_path(enclave)
        for folder in (workspace.root, workspace.data, workspace.results):
            assert mode(folder) == 0o700
        assert mode(workspace.module) == mode(workspace.data / "iris.csv") == 0o400
        assert mode(workspace.stdout) == mode(workspace.stderr) == 0o600
        assert (workspace.data / "iris.csv").read_bytes() == b"flowers"
    assert not workspace_path(enclave).exists()


def test_it_is_erased_when_the_job_fails(enclave: str) -> None:
    def job() -> None:
        with open_workspace(enclave, need_bytes=1) as workspace:
            (workspace.results / "x").write_text("x")
            raise RuntimeError("planned")

    with pytest.raises(RuntimeError, match="planned"):
        job()
    assert not workspace_path(enclave).exists()


def test_a_directory_that_is_already_there_is_not_used(enclave: str) -> None:
    path = workspace_path(enclave)
    path.mkdir()
    try:
        with pytest.raises(ConflictError) as caught, open_workspace(enclave, need_bytes=1):
            pass
        assert code_of(caught) == "agent.workspace_exists"
        assert path.is_dir()
    finally:
        path.rmdir()


def test_what_is_not_memory_is_refused(enclave: str) -> None:
    for root in (Path("/proc"), Path("/no/such/place")):
        with pytest.raises(ConfigError) as caught, open_workspace(enclave, need_bytes=1, root=root):
            pass
        assert code_of(caught) == "agent.no_memory_storage"


def test_too_little_space_is_refused_before_anything_is_made(enclave: str) -> None:
    with pytest.raises(RefusedError) as caught, open_workspace(enclave, need_bytes=1 << 60):
        pass
    assert code_of(caught) == "agent.no_space"
    assert not workspace_path(enclave).exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a.b", "x" * 65, "nul\0", "*"])
def test_an_enclave_id_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        workspace_path(name)
    assert code_of(caught) == "name.invalid"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a..b", ".hidden", "nul\0"])
def test_a_dataset_name_that_is_no_name_is_refused(enclave: str, name: str) -> None:
    with (
        open_workspace(enclave, need_bytes=1) as workspace,
        pytest.raises(InputError) as caught,
        workspace.create_data(name),
    ):
        pass
    assert code_of(caught) == "name.invalid"


def test_nothing_is_written_twice_or_through_a_link(enclave: str, tmp_path: Path) -> None:
    with open_workspace(enclave, need_bytes=1) as workspace:
        with workspace.create_data("a"):
            pass
        (workspace.data / "b").symlink_to(tmp_path / "target")
        for name in ("a", "b"):
            with pytest.raises(ConflictError), workspace.create_data(name):
                pass
    assert not (tmp_path / "target").exists()


def test_outputs_are_empty_again_before_the_next_run(enclave: str) -> None:
    with open_workspace(enclave, need_bytes=1) as workspace:
        workspace.stdout.write_text("old")
        (workspace.results / "old").write_text("old")
        workspace.clear_outputs()
        assert workspace.stdout.read_bytes() == b""
        assert list(workspace.results.iterdir()) == []


def test_erasing_takes_trees_of_any_depth_and_shape(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        os.symlink("/etc", "link", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    (top / "erase-1").mkdir()
    (top / os.fsdecode(b"\xff\n")).touch()
    erase(top)
    assert not top.exists()
    assert Path("/etc").is_dir()


def test_erasing_a_link_leaves_its_target_and_erasing_nothing_is_fine(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    erase(tmp_path / "link")
    erase(tmp_path / "gone")
    assert (tmp_path / "target" / "file").exists()
    assert not (tmp_path / "link").is_symlink()
