"""A container engine of our own: its own data, its own socket, no network, gone at the end."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

START_S: Final = 30
STOP_S: Final = 30
SOCKET: Final = "docker.sock"
STORAGE: Final = Path("/var/tmp")  # noqa: S108 - a fresh directory in it; overlay needs a real disk
SYSTEM_PATH: Final = "/usr/sbin:/sbin"


class EngineError(Exception):
    """There is no engine; the message says why."""


def missing() -> str | None:
    """Why there can be no engine here, or None."""
    if _program() is None:
        return "dockerd is not installed (as root: apt-get install docker.io)"
    if os.geteuid() != 0:
        return "a dockerd of its own needs root"
    if importlib.util.find_spec("docker") is None:
        return "the Python package docker is not installed (run `make setup`)"
    return None


@contextmanager
def running() -> Iterator[str]:
    """The engine's address for as long as the context lasts.

    Raises:
        EngineError: it does not start.
    """
    program = _program()
    if program is None:
        raise EngineError(missing())
    with tempfile.TemporaryDirectory(
        dir=STORAGE, prefix="atoll-dockerd-", ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        host = f"unix://{folder / SOCKET}"
        command = [program, "--data-root", str(folder / "data"), "-H", host]
        command += ["--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        command += ["--ip-forward=false", "--ip-masq=false"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            _require_answer(process, folder / SOCKET, folder / "log")
            yield host
        finally:
            process.terminate()
            process.wait(STOP_S)


def _program() -> str | None:
    return shutil.which("dockerd") or shutil.which("dockerd", path=SYSTEM_PATH)


def _require_answer(process: "subprocess.Popen[bytes]", socket_path: Path, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(socket_path):
        if process.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").splitlines() or ["no word"]
            raise EngineError(f"dockerd does not start: {lines[-1][-300:]}")
        time.sleep(0.05)


def _answers(socket_path: Path) -> bool:
    """Whether it says OK on `/_ping` (Docker Engine API)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(START_S)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False
