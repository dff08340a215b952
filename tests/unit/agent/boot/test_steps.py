"""The steps before the agent: what is mounted, which modules, which port. The rest is booted."""

import errno
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.channel.ports import find_port
from atoll.errors import ConfigError
from atoll_agent.boot import modules, mounts, ports
from atoll_agent.boot.main import main
from atoll_agent.boot.mounts import AFTER_MODULES, FIRST

A, B = "/usr/lib/modules/6/a.ko", "/usr/lib/modules/6/b.ko"


def test_a_mount_comes_after_the_one_it_lies_on() -> None:
    seen: list[PurePosixPath] = []
    for entry in (*FIRST, *AFTER_MODULES):
        target = PurePosixPath(entry.target)
        assert target not in seen
        assert not any(target in PurePosixPath(str(earlier)).parents for earlier in seen)
        seen.append(target)


def test_nothing_that_is_mounted_makes_a_program_privileged() -> None:
    tables = (*FIRST, *AFTER_MODULES)

    assert all(entry.flags & mounts.NO_SETUID for entry in tables)
    assert [e.target for e in tables if not e.flags & mounts.NO_DEVICES] == ["/dev"]
    assert {e.target for e in tables if not e.flags & mounts.NO_PROGRAMS} == {
        "/dev/shm",
        "/run",
        "/tmp",
    }


def test_the_order_is_a_path_in_each_line() -> None:
    assert modules.parse_order(f"{A}\n{B}\n") == (A, B)
    assert modules.parse_order("") == ()


@pytest.mark.parametrize(
    "text",
    [A, f"{A}\n\n", "/tmp/a.ko\n", "/usr/lib/modules/../a.ko\n", f"{A}x\n", f"{A}\n" * 257],
)
def test_another_list_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        modules.parse_order(text)
    assert caught.value.code == "agent.modules"


@given(st.text(max_size=80))
def test_whatever_is_in_the_list_only_modules_of_the_image_are_loaded(text: str) -> None:
    try:
        found = modules.parse_order(text)
    except ConfigError as error:
        assert error.code == "agent.modules"  # noqa: PT017 - either is right
    else:
        assert all(path.startswith("/usr/lib/modules/") for path in found)


def test_hardware_may_be_absent_but_a_module_must_be_good() -> None:
    said = {A: errno.ENODEV, B: errno.EKEYREJECTED}
    asked: list[str] = []

    def load_one(path: str) -> None:
        asked.append(path)
        raise OSError(said[path], "no", path)

    assert modules.load((A,), load_one) == (A,)
    with pytest.raises(OSError, match="no"):
        modules.load((B, A), load_one)
    assert asked == [A, B]


def sysfs(folder: Path, **names: str) -> Path:
    for device, name in names.items():
        (folder / "ports" / device).mkdir(parents=True)
        (folder / "ports" / device / "name").write_text(name + "\n")
    return folder / "ports"


def test_a_port_is_found_by_what_the_host_called_it(tmp_path: Path) -> None:
    where = sysfs(tmp_path, vport0p1="other", vport0p2="atoll.channel")
    ports.link_port("atoll.channel", sysfs=where, dev=tmp_path)

    assert (tmp_path / "virtio-ports" / "atoll.channel").readlink() == Path("../vport0p2")


def test_a_device_with_another_name_than_the_kernel_gives_is_none(tmp_path: Path) -> None:
    assert find_port("x", sysfs(tmp_path, sda="x")) is None


def test_a_port_that_does_not_come_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "WAIT_S", 0.0)
    with pytest.raises(ConfigError) as caught:
        ports.link_port("x", sysfs=tmp_path, dev=tmp_path)
    assert caught.value.code == "agent.channel"


def test_on_a_machine_that_is_no_guest_nothing_is_done() -> None:
    with pytest.raises(SystemExit, match="first process of a guest"):
        main()
