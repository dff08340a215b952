"""The files that settings name, and following one that may change."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError, InputError

MAX_FILE: Final = 1 << 20
LOOK_S: Final = 2.0
"""How long a changed file goes unnoticed."""

_log = logging.getLogger(__name__)


def read(path: Path) -> bytes:
    """Raises: ConfigError: `config.unreadable`; `config.invalid`: it is too large."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", code="config.unreadable") from error
    if len(raw) > MAX_FILE:
        raise ConfigError(f"{path} is over {MAX_FILE} bytes", code="config.invalid")
    return raw


@contextmanager
def naming(path: Path | None) -> Iterator[None]:
    """What is wrong with the content of a file is a matter of settings."""
    try:
        yield
    except InputError as error:
        raise ConfigError(f"{path}: {error.message}", code=error.code) from error


async def follow(path: Path, known: bytes, use: Callable[[bytes], None]) -> None:
    """Call `use` with the content whenever it is another one; for ever.

    A content that `use` refuses, and a file that cannot be read, are logged once; what was
    in use before stays in use.

    Args:
        path: replaced whole by its writer.
        known: the content that is in use.
        use: raises `InputError` for what it does not take.
    """
    complaint = ""
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            found = read(path)
            if found != known:
                use(found)
                known = found
                _log.info("%s has changed and is in use", path)
            complaint = ""
        except (ConfigError, InputError) as error:
            if error.message != complaint:
                _log.error("%s is not used: %s", path, error.message)
            complaint = error.message
