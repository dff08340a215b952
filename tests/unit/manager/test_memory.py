"""Memory is looked at while somebody waits, and what the system does not say is no room."""

import asyncio
from pathlib import Path

import pytest

from atoll_manager import memory
from atoll_manager.memory import Room, available, free_memory


def test_what_is_available_is_read_in_bytes() -> None:
    assert available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n") == 2 << 20
    assert free_memory() > 0


@pytest.mark.parametrize("text", ["", "MemFree: 1 kB", "MemAvailable: x kB", "MemAvailable: 1"])
def test_what_does_not_say_is_no_room(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - int's own message is as good
        available(text)
    path = tmp_path / "meminfo"
    path.write_text(text)
    monkeypatch.setattr(memory, "MEMINFO", path)
    assert free_memory() == 0
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "missing")
    assert free_memory() == 0


async def test_room_comes_and_goes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "LOOK_S", 0.0)
    free = iter([5, 10, 11, 12, 10])
    room = Room(10, lambda: next(free))
    await room.wait()
    assert next(free) == 12
    await room.gone()
    assert list(free) == []
    assert len(caplog.records) == 1


async def test_without_a_reserve_nothing_is_looked_at() -> None:
    def never() -> int:
        raise AssertionError("asked")

    room = Room(0, never)
    assert room.there
    await room.wait()
    gone = asyncio.get_running_loop().create_task(room.gone())
    await asyncio.sleep(0)
    assert not gone.done()
    gone.cancel()
    await asyncio.wait({gone})
