"""One path for an enclave's plaintext, whoever asks."""

from pathlib import Path

import pytest

from atoll import enclave_storage
from atoll.enclave_storage import erase, workspace_path
from atoll.errors import InputError
from atoll_agent.sandbox import workspace


def test_agent_and_host_mean_the_same_path() -> None:
    assert workspace.workspace_path is enclave_storage.workspace_path
    assert workspace_path("e1") == Path("/dev/shm/atoll-e1")


@pytest.mark.parametrize("enclave_id", ["", ".", "..", "../x", "a/b", "a.b", "x" * 65, "nul\0"])
def test_no_id_leads_anywhere_else(enclave_id: str) -> None:
    with pytest.raises(InputError) as caught:
        workspace_path(enclave_id)
    assert caught.value.code == "name.invalid"


def test_erasing_takes_a_tree_with_links_and_leaves_what_they_point_to(tmp_path: Path) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "link").symlink_to(keep)
    (top / "a" / "b" / "file").write_bytes(b"plaintext")
    (top / "a").chmod(0o500)
    erase(top)
    erase(top)
    assert not top.exists()
    assert keep.is_dir()
