"""Measured processes: each is prepared, says so, and begins when told.

    parent: one line of JSON, the parameters     child: {"ready": true}
    parent: an empty line, begin                 child: one line of JSON, what it found

So that what is measured is neither the start of an interpreter nor a connection, and a
process's peak memory is its own.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bench.report import BenchError

ROOT: Final = Path(__file__).resolve().parent.parent
LINE_LIMIT: Final = 16 << 20


async def call(task: str, **parameters: Any) -> dict[str, Any]:
    """Run one task in a process of its own.

    Raises:
        BenchError: it failed; its own words went to standard error.
    """
    found = await together(task, [parameters])
    return found[0]


async def together(
    task: str, each: Sequence[Mapping[str, Any]], begin: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """Run one task in several processes, which begin together, after `begin`.

    Raises:
        BenchError: one failed.
    """
    async with standing(task, each) as prepared:
        begin()
        return await prepared.end()


class Standing:
    """Processes that are prepared, and serve until they are told to begin, which ends them."""

    def __init__(self, task: str, processes: Sequence[Process]) -> None:
        self._task = task
        self._processes = processes

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    async def end(self) -> list[dict[str, Any]]:
        """What each found."""
        for process in self._processes:
            _tell(process, "")
        return [await _line(process, self._task) for process in self._processes]


@asynccontextmanager
async def standing(task: str, each: Sequence[Mapping[str, Any]]) -> AsyncIterator[Standing]:
    """One task in several processes, all of them prepared.

    Raises:
        BenchError: one failed.
    """
    processes = [await _start(task) for _ in each]
    try:
        for process, parameters in zip(processes, each, strict=True):
            _tell(process, json.dumps(parameters))
        for process in processes:
            await _line(process, task)
        yield Standing(task, processes)
    finally:
        for process in processes:
            if process.stdin is not None:
                process.stdin.close()
            await _end(process)


async def _start(task: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-m", "bench.tasks", task),
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        limit=LINE_LIMIT,
    )


def _tell(process: Process, line: str) -> None:
    if process.stdin is None:
        raise AssertionError("standard input is a pipe")
    process.stdin.write(line.encode() + b"\n")


async def _line(process: Process, task: str) -> dict[str, Any]:
    if process.stdout is None:
        raise AssertionError("standard output is a pipe")
    line = await process.stdout.readline()
    try:
        found = json.loads(line)
    except ValueError:
        raise BenchError(f"task {task} failed; it said why on standard error") from None
    if not isinstance(found, dict):
        raise BenchError(f"task {task} answered {line[:80]!r}")
    return found


async def _end(process: Process) -> None:
    """It has answered or failed, and ends by itself; if not, at once."""
    try:
        async with asyncio.timeout(5.0):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
