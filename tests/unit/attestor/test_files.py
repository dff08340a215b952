"""A file that is replaced comes into use; one that makes no sense does not."""

import asyncio
import logging
from pathlib import Path

import pytest

from atoll.errors import InputError
from atoll_attestor import files


class Watched:
    """A loop whose pauses are steps that the test takes."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.used: list[bytes] = []
        self._steps: list[bytes | None] = []
        monkeypatch.setattr("atoll_attestor.files.asyncio.sleep", self._sleep)

    async def _sleep(self, _: float) -> None:
        if not self._steps:
            raise asyncio.CancelledError
        content = self._steps.pop(0)
        if content is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.write_bytes(content)

    def use(self, raw: bytes) -> None:
        if raw.startswith(b"bad"):
            raise InputError("not a ring", code="keyring.invalid")
        self.used.append(raw)

    async def after(self, *contents: bytes | None) -> list[bytes]:
        """What was used while the file had these contents, one after the other."""
        self._steps = list(contents)
        with pytest.raises(asyncio.CancelledError):
            await files.follow(self.path, b"one", self.use)
        return self.used


async def test_each_new_content_is_used_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path / "file", monkeypatch)
    assert await watched.after(b"one", b"two", b"two", b"three", b"one") == [
        b"two",
        b"three",
        b"one",
    ]


async def test_what_cannot_be_used_is_told_once_and_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(tmp_path / "file", monkeypatch)
    with caplog.at_level(logging.ERROR):
        used = await watched.after(b"bad", b"bad", None, None, b"bad", b"two")
    assert used == [b"two"]
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
