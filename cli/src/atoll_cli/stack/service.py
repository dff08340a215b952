"""One child process of the stack: start it, wait until it is ready, stop it."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atoll.client.files import make_private_directory
from atoll.errors import AtollError, ConfigError

READY_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 15.0
_TAIL: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """How a service is started: `python -I -m module` with exactly these settings."""

    name: str
    module: str
    env: Mapping[str, str] = field(repr=False)
    log: Path


class ServiceProcess:
    """A running service. It holds the reading end of a pipe whose writing end is ours: when
    we are gone, however that came, its standard input ends and it ends itself."""

    def __init__(self, spec: ServiceSpec, process: Process, facts: dict[str, Any]) -> None:
        self.spec = spec
        self.facts = facts
        """What the service said of itself when it was ready."""
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Until it ended; its exit status."""
        return await self._process.wait()

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask it to stop, and end it if it does not."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                await self._process.wait()
        except TimeoutError:
            await _kill(self._process)


async def start(spec: ServiceSpec, *, ready_timeout_s: float = READY_TIMEOUT_S) -> ServiceProcess:
    """Start a service and wait for its ready line.

    Raises:
        ConfigError: `stack.service`: it cannot be started, or it ended before it was ready;
            with the end of its log.
        AtollError: `stack.not_ready`: it took too long.
    """
    try:
        process, begin = await _launch(spec)
    except OSError as error:
        raise ConfigError(
            f"{spec.name} cannot be started: {error.strerror}", code="stack.service"
        ) from error
    try:
        async with asyncio.timeout(ready_timeout_s):
            facts = await _ready_line(process)
    except TimeoutError as error:
        await _kill(process)
        raise AtollError(
            f"{spec.name} was not ready after {ready_timeout_s:g} s",
            code="stack.not_ready",
            hint=f"see {spec.log}",
        ) from error
    except BaseException:
        await _kill(process)
        raise
    if facts is None:
        status = await process.wait()
        raise ConfigError(
            f"{spec.name} ended with status {status} before it was ready: "
            f"{_last_line(spec.log, begin)}",
            code="stack.service",
            hint=f"see {spec.log}",
        )
    return ServiceProcess(spec, process, facts)


async def _launch(spec: ServiceSpec) -> tuple[Process, int]:
    """The process, and where in the log it begins to write."""
    make_private_directory(spec.log.parent)
    with spec.log.open("ab") as log:
        begin = log.tell()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            spec.module,
            env=dict(spec.env),
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            # Ctrl-C in the terminal is for us; we stop the services in order.
            start_new_session=True,
        )
        return process, begin


async def _kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _ready_line(process: Process) -> dict[str, Any] | None:
    if process.stdout is None:
        raise AssertionError("standard output is a pipe")
    while True:
        try:
            line = await process.stdout.readline()
        except ValueError:
            continue  # longer than any ready line; it was dropped
        if not line:
            return None
        with suppress(ValueError, RecursionError):
            value = json.loads(line)
            if isinstance(value, dict) and value.get("ready") is True:
                return value


def _last_line(path: Path, begin: int) -> str:
    with path.open("rb") as file:
        file.seek(max(begin, path.stat().st_size - _TAIL))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
