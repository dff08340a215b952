"""Private files: mode 0600 in directories of mode 0700, replaced whole or not at all."""

import os
import secrets
from pathlib import Path

from atoll.errors import ConfigError, InputError, NotFoundError


def write_private(path: Path, raw: bytes, *, exclusive: bool = False) -> None:
    """Write `raw` so that a crash leaves the old file or the new one.

    Raises:
        ConfigError: `file.exists` (with `exclusive`), `file.unwritable`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        make_private_directory(path.parent)
    except OSError as error:
        raise ConfigError(f"{path.parent}: {error.strerror}", code="file.unwritable") from error
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            if exclusive:
                os.link(temporary, path)
            else:
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already", code="file.exists") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", code="file.unwritable") from error


def make_private_directory(directory: Path) -> None:
    """`mkdir -p`; other than `parents=True`, what is made above it is private as well.

    One that is there already stays as it is. Raises: OSError.
    """
    if not directory.is_dir():
        make_private_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def read_private(path: Path, *, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes.

    Raises:
        NotFoundError: `file.not_found`.
        InputError: `file.unreadable`, `file.too_large`.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"{path} does not exist", code="file.not_found") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", code="file.unreadable") from error
    if len(raw) > limit:
        raise InputError(f"{path} is over {limit} bytes", code="file.too_large")
    return raw
