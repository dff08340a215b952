"""The real port: files, memory and requests of the kernel that the tests run on, and layouts."""

import errno
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from atoll.errors import MalformedEvidenceError
from atoll_agent.evidence import sev_guest, tdx_guest
from atoll_agent.evidence.kernel import Linux, iowr
from atoll_agent.evidence.looking import look

TIOCGPTN = 0x80045430
"""Gives the number of a new pseudo terminal, four bytes (asm-generic/ioctls.h)."""

REQUEST, EXT, REPORT = "snp_guest_request_ioctl", "snp_ext_report_req", "snp_report_req"
LAYOUTS = {
    f"sizeof(struct {REQUEST})": sev_guest.IOCTL.size,
    f"offsetof(struct {REQUEST}, req_data)": 8,
    f"offsetof(struct {REQUEST}, resp_data)": 16,
    f"offsetof(struct {REQUEST}, fw_error)": 24,
    f"offsetof(struct {REQUEST}, vmm_error)": 28,
    f"sizeof(struct {REPORT})": sev_guest.REPORT_REQ.size,
    f"offsetof(struct {REPORT}, vmpl)": 64,
    f"sizeof(struct {EXT})": sev_guest.EXT_REPORT_REQ.size,
    f"offsetof(struct {EXT}, certs_address)": 96,
    f"offsetof(struct {EXT}, certs_len)": 104,
    "sizeof(struct snp_report_resp)": sev_guest.RESP_SIZE,
    "SNP_GET_REPORT": sev_guest.GET_REPORT,
    "SNP_GET_EXT_REPORT": sev_guest.GET_EXT_REPORT,
    "SNP_GUEST_VMM_ERR_INVALID_LEN": sev_guest.VMM_INVALID_LEN,
    "SNP_GUEST_VMM_ERR_BUSY": sev_guest.VMM_BUSY,
    "sizeof(struct tdx_report_req)": tdx_guest.REPORT_REQ.size,
    "offsetof(struct tdx_report_req, tdreport)": 64,
    "TDX_CMD_GET_REPORT0": tdx_guest.GET_REPORT0,
}
HEADERS = ("stddef.h", "linux/sev-guest.h", "linux/tdx-guest.h")


def compiles(folder: Path, asserted: dict[str, int]) -> bool:
    """Whether the kernel's headers for programs say the same."""
    lines = [f"#include <{name}>" for name in HEADERS]
    lines += [f'_Static_assert({left} == {right}U, "");' for left, right in asserted.items()]
    source = folder / "layouts.c"
    source.write_text("\n".join([*lines, ""]))
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl"]
    command = [*compiler, "-c", str(source), "-o", str(folder / "layouts.o")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0 or "static assertion failed" in done.stderr, done.stderr
    return done.returncode == 0


def test_layouts_and_requests_are_those_of_the_kernels_headers(tmp_path: Path) -> None:
    assert compiles(tmp_path, LAYOUTS)
    assert not compiles(tmp_path, LAYOUTS | {"SNP_GET_REPORT": sev_guest.GET_EXT_REPORT})


def test_fields_are_packed_where_the_headers_have_them() -> None:
    packed = sev_guest.IOCTL.pack(1, 2, 3, 4, 5)
    assert packed == struct.pack("<QQQII", 1, 2, 3, 4, 5)
    data = bytes(range(64))
    request = sev_guest.EXT_REPORT_REQ.pack(data, 6, 7, 8)
    assert request == data + struct.pack("<I28xQII", 6, 7, 8, 0)
    assert sev_guest.REPORT_REQ.pack(data, 6) == request[:96]


def test_a_request_changes_its_argument_in_place() -> None:
    argument = Linux().memory(b"\xff" * 4)
    Linux().ioctl("/dev/ptmx", TIOCGPTN, argument)
    assert int.from_bytes(argument.to_bytes(), sys.byteorder) < 1 << 20


def test_a_request_that_fails_says_its_errno() -> None:
    with pytest.raises(OSError, match="ioctl") as caught:
        Linux().ioctl("/dev/null", iowr("S", 0, 32), Linux().memory(bytes(32)))
    assert caught.value.errno == errno.ENOTTY
    with pytest.raises(FileNotFoundError):
        Linux().ioctl("/dev/there-is-none", 0, Linux().memory(b""))


def test_memory_is_where_it_says() -> None:
    memory = Linux().memory(b"found by its address")
    with Path("/proc/self/mem").open("rb", buffering=0) as own:
        own.seek(memory.address)
        assert own.read(20) == b"found by its address"


def test_files_and_folders(tmp_path: Path) -> None:
    kernel, folder = Linux(), str(tmp_path / "entry")
    kernel.mkdir(folder)
    assert kernel.exists(folder)
    with pytest.raises(FileExistsError):
        kernel.mkdir(folder)
    (tmp_path / "entry" / "blob").touch()
    kernel.write(f"{folder}/blob", bytes(100_000))
    assert kernel.read(f"{folder}/blob", 100_000) == bytes(100_000)
    with pytest.raises(MalformedEvidenceError):
        kernel.read(f"{folder}/blob", 99_999)
    (tmp_path / "entry" / "blob").unlink()
    kernel.rmdir(folder)
    assert not kernel.exists(folder)
    with pytest.raises(FileNotFoundError):
        kernel.write(f"{folder}/blob", b"")


def test_a_host_that_is_not_there_cannot_be_dialled() -> None:
    # Which errno depends on whether this machine is a guest, and whether it has vsock at all.
    with pytest.raises(OSError, match=r"."):
        Linux().dial(4050, 0.5)


def test_looking_here_leaves_nothing() -> None:
    root = Path("/sys/kernel/config/tsm/report")
    before = sorted(root.iterdir()) if root.is_dir() else []
    look(Linux())
    assert (sorted(root.iterdir()) if root.is_dir() else []) == before
