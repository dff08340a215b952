"""Which queues are asked: what can start, all in turn, and never more than there is room for."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.wire.messages import Tee
from atoll.wire.placement import Needs, SpawnClass, class_of
from atoll_manager.patience import overtaken, patience_s
from atoll_manager.reservations import Capacity, Reservations
from atoll_manager.turns import TURN_S, Asked, Turns

GIB = 1 << 30
SMALL, LARGE = Needs(memory_bytes=2 * GIB), Needs(memory_bytes=8 * GIB)


def room(slots: int, memory: int = 1 << 50, cpus: int = 64) -> Reservations:
    return Reservations(Capacity(slots=slots, memory_bytes=memory, cpus=cpus))


@dataclass
class Host:
    """Queues of a number of jobs each, a host that takes from them, and a clock."""

    classes: dict[str, Needs]
    room: Reservations
    waiting: dict[str, int] = field(default_factory=dict)
    turns: Turns = field(default_factory=Turns)
    asked: dict[str, Asked] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    now: float = 0.0

    def step(self) -> bool:
        """One look, and the answers that follow at once; whether anything happened."""
        plan = self.turns.plan(self.classes, self.asked, self.room, now=self.now)
        for name in plan.recall:
            self.asked[name].recalled = True
        for name, waits in plan.ask:
            assert name not in self.asked
            assert self.room.fits(self.classes[name]), "what is asked for has room"
            self.room.take(self.classes[name])
            self.asked[name] = Asked(needs=self.classes[name], waits=waits, since=self.now)
        answered = [name for name, each in self.asked.items() if self._answers(name, each)]
        for name in answered:
            self._answer(name)
        if not (plan.ask or plan.recall or answered):
            self.now += plan.again_s or 1.0
        return bool(plan.ask or plan.recall or answered)

    def _answers(self, name: str, each: Asked) -> bool:
        return not each.waits or each.recalled or self.waiting.get(name, 0) > 0

    def _answer(self, name: str) -> None:
        each = self.asked.pop(name)
        job = self.waiting.get(name, 0) > 0
        if job:
            self.waiting[name] -= 1
            self.running.append(name)
        else:
            self.room.give_back(each.needs)
        self.turns.found(name, job=job)

    def rest(self) -> None:
        """Until nothing happens any more for a while."""
        quiet = 0
        for _ in range(1000):
            quiet = 0 if self.step() else quiet + 1
            if quiet > 2:
                return

    def end(self, name: str) -> None:
        self.running.remove(name)
        self.room.give_back(self.classes[name])
        self.turns.room_came()


def test_it_takes_as_many_as_it_has_slots() -> None:
    host = Host({"a": SMALL}, room(2), {"a": 5})
    host.rest()
    assert host.running == ["a", "a"]
    assert host.asked == {}


def test_it_takes_as_much_memory_as_it_has() -> None:
    host = Host({"a": SMALL, "b": LARGE}, room(9, memory=11 * GIB), {"b": 5, "a": 5})
    host.rest()
    assert sorted(host.running) == ["a", "b"]


def test_with_one_slot_the_classes_take_turns() -> None:
    host = Host({"a": SMALL, "b": SMALL, "c": SMALL}, room(1), {"a": 9, "b": 9, "c": 9})
    taken = []
    for _ in range(9):
        host.rest()
        taken += host.running
        host.end(host.running[0])
    assert sorted(taken[:3]) == sorted(taken[3:6]) == sorted(taken[6:]) == ["a", "b", "c"]


def test_with_nothing_to_do_it_waits_at_every_class_that_it_has_room_for() -> None:
    host = Host({"a": SMALL, "b": SMALL}, room(2))
    host.rest()
    assert sorted(host.asked) == ["a", "b"]
    assert all(each.waits for each in host.asked.values())


def test_with_fewer_slots_than_classes_each_gets_its_turn() -> None:
    host = Host({"a": SMALL, "b": SMALL, "c": SMALL}, room(1))
    seen = set()
    for _ in range(50):
        host.step()
        seen |= {name for name, each in host.asked.items() if each.waits}
    assert seen == {"a", "b", "c"}
    assert host.now >= TURN_S, "each was left to wait for a while"


def test_a_request_that_waits_makes_way_for_jobs_that_need_its_room() -> None:
    host = Host({"small": SMALL, "large": LARGE}, room(9, memory=10 * GIB))
    host.rest()
    assert sorted(host.asked) == ["large", "small"]
    host.waiting["small"] = 4
    before = host.now
    host.rest()
    assert host.running == ["small"] * 4
    assert host.now < before + 100 * TURN_S


def test_a_class_that_came_is_asked_at_once() -> None:
    host = Host({"a": SMALL}, room(1))
    host.rest()
    host.classes["b"] = SMALL
    host.waiting["b"] = 1
    before = host.now
    while not host.running:
        host.step()
    assert host.now == before


def test_a_class_that_is_not_to_be_asked_any_more_is_withdrawn() -> None:
    host = Host({"a": SMALL, "b": SMALL}, room(2))
    host.rest()
    del host.classes["a"]
    host.rest()
    assert list(host.asked) == ["b"]


sizes = st.builds(
    Needs, memory_bytes=st.integers(1, 8).map(lambda n: n * GIB), cpus=st.integers(0, 3)
)


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from("abcde"), sizes, min_size=1),
    st.integers(1, 4),
    st.integers(1, 12),
    st.integers(1, 4),
    st.lists(st.sampled_from(["job", "end", "step", "step", "step"]), max_size=60),
    st.randoms(use_true_random=False),
)
def test_claims_never_exceed_the_host_and_what_fits_is_taken(  # noqa: PLR0917
    classes: dict[str, Needs], slots: int, memory: int, cpus: int, events: list[str], draw: object
) -> None:
    """`step` asserts that there is room for whatever is asked for."""
    host = Host(classes, room(slots, memory * GIB, cpus))
    choose = draw.choice  # type: ignore[attr-defined]
    for event in events:
        if event == "job":
            name = choose(sorted(classes))
            host.waiting[name] = host.waiting.get(name, 0) + 1
        elif event == "end" and host.running:
            host.end(choose(host.running))
        else:
            host.step()
    host.rest()
    left = [name for name, count in host.waiting.items() if count and host.room.fits(classes[name])]
    claimed = tuple(each.needs for each in host.asked.values())
    hidden = [
        name
        for name, count in host.waiting.items()
        if count and host.room.fits(classes[name], without=claimed)
    ]
    assert (left, hidden) == ([], []), "nothing waits that could start"


def test_a_host_that_came_back_with_less_takes_nothing_until_it_fits() -> None:
    less = room(1, memory=2 * GIB)
    less.take(SMALL)
    less.take(SMALL)
    host = Host({"a": SMALL}, less, {"a": 1}, running=["a", "a"])
    host.rest()
    host.end("a")
    host.rest()
    assert host.waiting == {"a": 1}
    host.end("a")
    host.rest()
    assert host.running == ["a"]


def a_class(needs: Needs) -> SpawnClass:
    return class_of(Tee.SIMULATED, needs)


@pytest.mark.parametrize(
    ("free", "found"),
    [(16 * GIB, []), (8 * GIB, []), (7 * GIB, [LARGE]), (GIB, [LARGE])],
)
def test_who_is_overtaken(free: int, found: list[Needs]) -> None:
    """The smallest never is: what becomes free is enough for it first."""
    classes = [a_class(SMALL), a_class(LARGE)]
    seen = overtaken(classes, lambda it: it.needs.memory_bytes <= free)
    assert [it.needs for it in seen] == found


def test_alone_a_class_is_overtaken_by_nobody() -> None:
    assert overtaken([a_class(LARGE)], lambda _: False) == []


def test_hosts_lose_patience_at_different_times() -> None:
    times = [patience_s(f"host-{number}", "managers-simulated-m8c0-any") for number in range(50)]
    assert all(30.0 <= each < 60.0 for each in times)
    assert len(set(times)) > 25
    assert times[0] == patience_s("host-0", "managers-simulated-m8c0-any")
