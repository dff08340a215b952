"""Reading what the kernel says."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from atoll_agent.sandbox.procfs import filesystem_of, resident_bytes, unlinked_bytes

MOUNTINFO = """\
24 30 0:22 / /proc rw,nosuid shared:12 - proc proc rw
31 24 0:25 / /dev/shm rw,nosuid,nodev shared:4 master:2 - tmpfs tmpfs rw,size=64k
30 1 254:0 / / rw,relatime - ext4 /dev/root rw
99 1 0:77 / /odd\\040place rw - ramfs none rw
"""
NO_PROCESS = 1 << 30


def test_finds_the_type_with_any_number_of_optional_fields() -> None:
    assert filesystem_of(MOUNTINFO, 0, 25) == "tmpfs"
    assert filesystem_of(MOUNTINFO, 254, 0) == "ext4"
    assert filesystem_of(MOUNTINFO, 0, 77) == "ramfs"


def test_an_unknown_device_has_no_type() -> None:
    assert filesystem_of(MOUNTINFO, 0, 2) is None
    assert filesystem_of("31 24 0:25 / /x rw", 0, 25) is None


@given(st.text(max_size=200))
def test_any_text_gives_a_type_or_none(text: str) -> None:
    assert filesystem_of(text, 0, 25) is None or "0:25" in text


def test_a_process_has_resident_memory_and_one_that_is_not_has_none() -> None:
    assert resident_bytes(os.getpid()) > 1 << 20
    assert resident_bytes(NO_PROCESS) == 0


def test_open_files_without_a_name_are_counted(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    before = unlinked_bytes(os.getpid(), device)
    with (tmp_path / "file").open("wb") as file:
        file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        assert unlinked_bytes(os.getpid(), device) == before
        (tmp_path / "file").unlink()
        assert unlinked_bytes(os.getpid(), device) >= before + (1 << 20)
        assert unlinked_bytes(os.getpid(), device + 1) < 1 << 20
    assert unlinked_bytes(os.getpid(), device) == before
    assert unlinked_bytes(NO_PROCESS, device) == 0
