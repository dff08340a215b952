"""A real stack for one benchmark: `atoll up` in a directory of its own."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll.client.profile import Profile, ProfileFile
from bench.report import BenchError

START_S: Final = 60.0
STOP_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running stack."""

    home: Path
    pid: int

    @property
    def profile(self) -> Profile:
        return ProfileFile(self.home).load()


@asynccontextmanager
async def running(
    directory: Path,
    *,
    slots: int,
    warm: int = 0,
    driver: str = "process",
    image: str = "",
    tee: str = "simulated",
) -> AsyncIterator[Stack]:
    """Start bus and services as a user does; stop them at the end. What is said of enclaves is as
    the options of `atoll up`.

    Raises:
        BenchError: it did not start; its own words are in the message.
    """
    home = directory / "home"
    directory.mkdir(parents=True)  # noqa: ASYNC240 - nothing else runs here yet
    with (directory / "up.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "atoll_cli.main"),
            *("up", "--data-dir", str(directory / "data"), "--slots", str(slots), "--json"),
            *("--warm", str(warm), "--driver", driver, "--tee", tee),
            *(("--image", image) if image else ()),
            env={"ATOLL_HOME": str(home)},
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        if not await _ready(process):
            said = (directory / "up.log").read_text(encoding="utf-8", errors="replace")
            raise BenchError(f"the stack did not start: {said[-500:].strip()}")
        yield Stack(home=home, pid=process.pid)
    finally:
        await _stop(process)


async def _ready(process: Process) -> bool:
    if process.stdout is None:
        raise AssertionError("standard output is a pipe")
    with suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            document = b""
            # One JSON document, on one line or on several.
            while line := await process.stdout.readline():
                document += line
                with suppress(ValueError):
                    return json.loads(document).get("ready") is True
    return False


async def _stop(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
