"""libvirt for tests: its binding, a daemon of our own, a directory for its embedded driver.

What is missing is a skip with its name; in CI a skip is a failure.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from atoll.errors import ConfigError
from atoll_manager.libvirt import binding as bindings

START_S = 60
QEMU = Path("/usr/bin/qemu-system-x86_64")


def binding() -> Any:
    """libvirt's Python binding."""
    try:
        return bindings.load()
    except ConfigError as error:
        pytest.skip(error.message)


def qemu() -> Path:
    """The emulator."""
    if not QEMU.exists():
        pytest.skip("qemu-system-x86_64 is not installed (Debian: qemu-system-x86)")
    return QEMU


@cache
def _root() -> str:
    folder = tempfile.mkdtemp(prefix="embedded-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def embedded() -> str:
    """The URI of the embedded driver: a process has one, for good, whoever asks for the fixture."""
    binding()
    return f"qemu:///embed?root={_root()}"


class Libvirtd:
    """A daemon with a socket of its own. Its test driver keeps nothing on the disk.

    With `guests` it is asked for real ones, and what it keeps of them is in folders of its own,
    which only it sees where the machine's are.
    """

    def __init__(self, folder: Path, *, guests: bool = False) -> None:
        self.folder = folder
        kind, path = ("qemu", "system") if guests else ("test", "default")
        self.uri = f"{kind}+unix:///{path}?socket={folder}/libvirt-sock"
        self._command: tuple[str, ...] = ("libvirtd",)
        if guests:
            kept = folder / "kept"
            for name in ("etc", "lib", "run", "log", "cache"):
                (kept / name).mkdir(parents=True)
            (kept / "etc" / "qemu.conf").write_text(_QEMU_CONF)
            apart = ("unshare", "--mount", "--propagation", "private")
            self._command = (*apart, "sh", "-ec", _APART, str(kept))
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "conf").write_text(
            f'unix_sock_dir = "{folder}"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\n'
        )

    def start(self) -> None:
        options = ("-f", str(self.folder / "conf"), "-p", str(self.folder / "pid"))
        command = [*self._command, *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = (self.folder / "log").read_text(errors="replace").splitlines()[-3:]
                self.kill()
                pytest.fail(f"libvirtd does not start: {words}")
            time.sleep(0.05)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            if number != signal.SIGSTOP:
                self._process.wait(START_S)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as end:
            return end.connect_ex(str(self.folder / "libvirt-sock")) == 0


_APART = """
for one in etc:/etc lib:/var/lib run:/run log:/var/log cache:/var/cache; do
  if [ -d "${one#*:}/libvirt" ]; then mount --bind "$0/${one%%:*}" "${one#*:}/libvirt"; fi
done
exec libvirtd "$@"
"""
"""A shell's words: as `sh -ec _APART FOLDER OPTION...` in a mount namespace of its own."""
_QEMU_CONF = """
user = "root"
group = "root"
dynamic_ownership = 0
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = [ ]
namespaces = [ ]
"""
"""What a machine without systemd, AppArmor and a logging daemon can do."""


@contextmanager
def daemon(*, guests: bool = False) -> Iterator[Libvirtd]:
    """A daemon for as long as the context lasts."""
    if shutil.which("libvirtd", path=f"{os.defpath}:/usr/sbin:/sbin") is None:
        pytest.skip("libvirtd is not installed (Debian: libvirt-daemon-system)")
    if os.geteuid() != 0:
        pytest.skip("libvirtd needs root")
    with tempfile.TemporaryDirectory(prefix="libvirtd-") as folder:
        it = Libvirtd(Path(folder), guests=guests)
        it.start()
        try:
            yield it
        finally:
            it.kill()
