"""A fresh `atoll up` in a folder of its own, stopped at the end."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from atoll.client.profile import Profile, ProfileFile

START_S: Final = 60
STOP_S: Final = 45
_TAIL: Final = 2000


class StackError(Exception):
    """The stack did not start; the message says what it said last."""


@contextmanager
def running(folder: Path, *, docker: str | None = None, slots: int = 2) -> Iterator[Profile]:
    """Bus, gateway, attestor and manager for as long as the context lasts.

    Args:
        folder: where the stack keeps everything.
        docker: the container engine of its enclaves, as `atoll up --docker` takes it.
        slots: enclaves at a time.

    Raises:
        StackError: it did not become ready.
    """
    home, log = folder / "home", folder / "up.log"
    command = [sys.executable, "-m", "atoll_cli.main", "up", "--json"]
    command += ["--data-dir", str(folder / "data"), "--slots", str(slots)]
    command += ["--docker", docker] if docker else []
    environment = {
        **os.environ,  # noqa: TID251 - PATH and the like, for the services
        "ATOLL_HOME": str(home),
    }
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            # Ctrl-C in the terminal is for us: the stack is stopped when our jobs are over.
            start_new_session=True,
        )
    try:
        _require_ready(process, log)
        yield ProfileFile(home).load()
    finally:
        _stop(process)


def _require_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    if process.stdout is None:
        raise AssertionError("standard output is a pipe")
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    line = process.stdout.readline() if ready else b""
    if not line or json.loads(line).get("ready") is not True:
        said = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
        raise StackError(f"the stack did not start: {said}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
