"""A folder with a short path, for sockets: the address of one has 107 bytes (unix(7))."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's own, whose path is longer where tests run side by side."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)
