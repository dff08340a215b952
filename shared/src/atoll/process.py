"""What every Atoll process does alike: settings, logs, signals, readiness, exit status.

Exit status: 0 stopped as asked, 1 failed, 2 settings refused, 3 the bus is unreachable.

A process says on standard output, in one line of JSON, that it is ready; everything
else it says goes to standard error. Supervised, it ends when its standard input
ends, so that none outlives the supervisor, however that one died.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from atoll import settings
from atoll.errors import AtollError, ConfigError, UnreachableError

ConfigT = TypeVar("ConfigT")

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 2
EXIT_UNREACHABLE = 3


def run(
    name: str,
    config_type: type[ConfigT],
    prefix: str,
    env: Mapping[str, str],
    body: Callable[[ConfigT, asyncio.Event], Awaitable[None]],
) -> int:
    """Read settings, run `body` until it ends or a signal sets its stop event.

    Returns:
        The exit status. No exception escapes; an unexpected one is logged whole.
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {name} %(levelname)s %(name)s: %(message)s",
    )
    log = logging.getLogger(name)
    try:
        config = settings.read(config_type, prefix, env)
        asyncio.run(_main(config, body))
    except Exception as error:  # noqa: BLE001 (the outermost frame: nothing may escape)
        return _exit_status(log, error)
    return EXIT_OK


def announce_ready(**facts: Any) -> None:
    """Tell the supervisor, once, that requests will now be answered."""
    sys.stdout.write(json.dumps({"ready": True, **facts}) + "\n")
    sys.stdout.flush()


async def wait_for_end_of_input(stop: asyncio.Event) -> None:
    """Set `stop` when standard input ends: the supervisor is gone."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def readable() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, readable)
    try:
        await ended.wait()
        stop.set()
    finally:
        loop.remove_reader(0)


async def _main(config: ConfigT, body: Callable[[ConfigT, asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await body(config, stop)


def _exit_status(log: logging.Logger, error: BaseException) -> int:
    """Log what went wrong, each cause once, and say what the process exits with."""
    if isinstance(error, BaseExceptionGroup):
        return max(_exit_status(log, cause) for cause in error.exceptions)
    if not isinstance(error, AtollError):
        log.error("unexpected error", exc_info=error)
        return EXIT_FAILED
    log.error("%s (%s)%s", error, error.code, f"; {error.hint}" if error.hint else "")
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    return EXIT_UNREACHABLE if isinstance(error, UnreachableError) else EXIT_FAILED
