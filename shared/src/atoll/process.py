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
import traceback
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
    env: Mapping[str, str] | Callable[[], Mapping[str, str]],
    body: Callable[[ConfigT, asyncio.Event], Awaitable[None]],
    *,
    discreet: bool = False,
) -> int:
    """Read settings, run `body` until it ends or a signal sets its stop event.

    Args:
        name: of the process, in its log.
        config_type: the dataclass of its settings (`atoll.settings`).
        prefix: of their names.
        env: where they stand, or what gives that.
        body: what the process does.
        discreet: log of an unexpected error only its type and where it arose. Its text may
            quote what was being worked on, and an enclave's log is the host's to read.

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
        config = settings.read(config_type, prefix, env() if callable(env) else env)
        asyncio.run(_main(config, body))
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (the outermost frame)
        return _exit_status(log, error, discreet=discreet)
    return EXIT_OK


def announce_ready(**facts: Any) -> None:
    """Tell the supervisor, once, that requests will now be answered."""
    sys.stdout.write(json.dumps({"ready": True, **facts}) + "\n")
    sys.stdout.flush()


async def wait_for_end_of_input(stop: asyncio.Event) -> None:
    """Set `stop` when standard input ends: the supervisor is gone.

    Raises:
        ConfigError: `process.stdin`: it is a file or closed and can never end.
    """
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def readable() -> None:
        try:
            if os.read(0, 1024):
                return
        except BlockingIOError:
            return
        except OSError:  # as a terminal that was hung up: no more than the end
            pass
        loop.remove_reader(0)
        ended.set()

    try:
        loop.add_reader(0, readable)
    except OSError as error:
        raise ConfigError(
            "supervised, but standard input is no pipe whose end could be seen",
            code="process.stdin",
        ) from error
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


def _exit_status(log: logging.Logger, error: BaseException, *, discreet: bool) -> int:
    """Log what went wrong, each cause once, and say what the process exits with."""
    if isinstance(error, BaseExceptionGroup):
        return max(_exit_status(log, cause, discreet=discreet) for cause in error.exceptions)
    if not isinstance(error, AtollError):
        if discreet:
            log.error("unexpected %s at %s", type(error).__name__, _places(error))
        else:
            log.error("unexpected error", exc_info=error)
    else:
        log.error("%s (%s)%s", error, error.code, f"; {error.hint}" if error.hint else "")
    return status_of(error)


def status_of(error: BaseException) -> int:
    """What a process exits with whose body raised this."""
    if isinstance(error, BaseExceptionGroup):
        return max(map(status_of, error.exceptions))
    if isinstance(error, ConfigError):
        return EXIT_CONFIG
    return EXIT_UNREACHABLE if isinstance(error, UnreachableError) else EXIT_FAILED


def _places(error: BaseException) -> str:
    """Where it passed through, innermost last; no text and no values."""
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join(f"{frame.name}:{frame.lineno}" for frame in frames)
