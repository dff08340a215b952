"""Memory that the system does not tell of is no room."""

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


def test_room_comes_and_goes_and_that_it_went_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    free = iter([11, 10, 5, 12, 10])
    room = Room(10, lambda: next(free))
    assert [room.look() for _ in range(5)] == [True, False, False, True, False]
    assert len(caplog.records) == 2
    assert room.again_s == memory.LOOK_S


def test_without_a_reserve_nothing_is_looked_at() -> None:
    def never() -> int:
        raise AssertionError("asked")

    room = Room(0, never)
    assert room.there
    assert room.look()
    assert room.again_s is None
