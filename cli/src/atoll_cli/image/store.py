"""A cache of packages by their SHA-256. Its folder may be shared and need not be trusted."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError

FOLDER: Final = "sha256"


class Store:
    """Files named by what is in them."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / FOLDER

    def get(self, sha256: str) -> bytes | None:
        """The file, if it is here and is what it should be."""
        try:
            raw = (self._folder / sha256).read_bytes()
        except OSError:
            return None
        return raw if hashlib.sha256(raw).hexdigest() == sha256 else None

    def put(self, raw: bytes) -> str:
        """Keep a file; returns its SHA-256.

        Raises:
            ConfigError: `image.cache`.
        """
        sha256 = hashlib.sha256(raw).hexdigest()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace(self._folder / sha256, raw)
        except OSError as error:
            raise ConfigError(
                f"the cache cannot be written: {error.filename}: {error.strerror}",
                code="image.cache",
                hint="--cache DIR says where it may be",
            ) from error
        return sha256


def replace(path: Path, raw: bytes) -> None:
    """Write a file so that it is never there in part; anybody may read it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
