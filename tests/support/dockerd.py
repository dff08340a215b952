"""A private container engine for tests: its own data, its own socket, no network.

It needs root and the package docker.io. Where one of them is missing, tests that ask for it
are skipped with the reason; in CI a skip is a failure.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

START_S = 30
STORAGE = Path("/var/tmp")
"""Not a tmpfs: overlay needs a file system below that can hold its attributes."""


class Dockerd:
    """A running engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def client(self) -> Any:
        """The engine as the package shows it."""
        import docker

        return docker.APIClient(base_url=self.host, version="auto", timeout=30)

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        command = [
            *("dockerd", "--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "exec"), "-H", self.host),
            *("--pidfile", str(self.folder / "pid"), "--bridge=none", "--iptables=false"),
            *("--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
        ]
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.skip(f"dockerd does not start: {self._last_words()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_S)

    def _answers(self) -> bool:
        if not (self.folder / "docker.sock").exists():
            return False
        try:
            client = self.client()
        except Exception:  # noqa: BLE001 - whatever it is, it does not answer yet
            return False
        try:
            return bool(client.ping())
        except Exception:  # noqa: BLE001 - as above
            return False
        finally:
            client.close()

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return lines[-1][-300:] if lines else "no word"


def missing() -> str | None:
    """Why there can be no engine here."""
    if shutil.which("dockerd") is None:
        return "dockerd is not installed (Debian: docker.io)"
    if os.geteuid() != 0:
        return "dockerd needs root"
    if importlib.util.find_spec("docker") is None:
        return "the Python package docker is not installed"
    return None


@contextmanager
def running() -> Iterator[Dockerd]:
    """An engine for as long as the context lasts; nothing of it stays."""
    why = missing()
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(dir=STORAGE, prefix="dockerd-") as folder:
        engine = Dockerd(Path(folder))
        engine.start()
        try:
            yield engine
        finally:
            engine.stop()


@pytest.fixture(scope="session")
def dockerd() -> Iterator[Dockerd]:
    """One engine for all tests of the session."""
    with running() as engine:
        yield engine
