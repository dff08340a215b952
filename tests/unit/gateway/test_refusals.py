"""Refusals are on record, once an hour for a token however many there are, while there is room."""

from dataclasses import dataclass, field

import pytest

from atoll.audit import ActorKind
from atoll.wire.access import AccessRole
from atoll_gateway.audited import Recorder
from atoll_gateway.caller import Caller
from atoll_gateway.refusals import PERIOD_S, Refusals
from support.audit import MemoryAudit


def caller(actor: str) -> Caller:
    return Caller(kind=ActorKind.TOKEN, actor=actor, roles=frozenset({AccessRole.VIEWER}))


@dataclass
class Desk:
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    now_s: float = 100.0
    room: bool = True

    def __post_init__(self) -> None:
        recorder = Recorder(self.audit, lambda: None)
        self.refusals = Refusals(recorder, monotonic=lambda: self.now_s, has_room=self.has_room)

    async def has_room(self) -> bool:
        return self.room

    def told(self) -> list[tuple[str, str, str | None]]:
        assert all(one.outcome.value == "refused" for one in self.audit.entries)
        return [(one.actor, one.object, one.code) for one in self.audit.entries]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_the_first_is_recorded_at_once_and_a_flood_once_an_hour(desk: Desk) -> None:
    desk.refusals.note(caller("a"), "submitJob", "http.forbidden")
    await desk.refusals.record_due()
    assert desk.told() == [("a", "submitJob", "http.forbidden")]
    for _ in range(1000):
        desk.refusals.note(caller("a"), "createToken", "http.forbidden")
        desk.now_s += PERIOD_S / 2000
        await desk.refusals.record_due()
    desk.refusals.note(caller("b"), "", "http.unauthorized")
    await desk.refusals.record_due()
    assert desk.told()[1:] == [("b", "", "http.unauthorized")]
    desk.now_s += PERIOD_S
    await desk.refusals.record_due()
    await desk.refusals.record_due()
    assert desk.told()[2:] == [("a", "createToken and 999 more", "http.forbidden")]


async def test_what_was_counted_is_recorded_at_the_end(desk: Desk) -> None:
    for _ in range(2):
        desk.refusals.note(caller("a"), "submitJob", "http.forbidden")
        await desk.refusals.record_due()
    await desk.refusals.record_due(ending=True)
    assert [object_ for _, object_, _ in desk.told()] == ["submitJob", "submitJob"]


async def test_nothing_is_recorded_where_acts_need_the_room_and_nothing_is_forgotten(
    desk: Desk,
) -> None:
    desk.room = False
    for _ in range(3):
        desk.refusals.note(caller("a"), "submitJob", "http.forbidden")
        await desk.refusals.record_due()
    assert desk.told() == []
    desk.room, desk.audit.down = True, True
    await desk.refusals.record_due()
    desk.audit.down = False
    desk.now_s += PERIOD_S
    await desk.refusals.record_due()
    assert desk.told() == [("a", "submitJob and 2 more", "http.forbidden")]
