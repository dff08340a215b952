"""Which queues a host asks for work, one after the other and several at a time; pure.

Each request to a queue claims a slot and what the class needs before it is made, so that whatever
comes of it can start. With less room than classes they take turns:

1. What may have changed is asked first: is there a job now? All classes are when a job has ended,
   a class is when a job came from it. Who was asked longest ago comes first, so that no class is
   served twice while another one has work and room.
2. Where nothing is, requests wait for what comes, as many as there is room for.
3. A class that is left without one gets its turn after half a second: as many requests as keep it
   from room are withdrawn, those first that have waited longest.

A request that waits also makes way at once for a class that may have work.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from atoll.wire.placement import Needs
from atoll_manager.reservations import Reservations

TURN_S: Final = 0.5


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request under way; the room for what it may bring is claimed."""

    needs: Needs
    waits: bool
    since: float
    recalled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now."""

    ask: tuple[tuple[str, bool], ...] = ()
    """By name, and whether to wait for what comes. Room for all of them is there."""
    recall: tuple[str, ...] = ()
    again_s: float | None = None
    """Look again after so long, also if nothing happens."""


@dataclass(slots=True)
class Turns:
    """What is known of the queues."""

    _empty: set[str] = field(default_factory=set)
    """Those that had nothing, and nothing has happened since."""
    _asked: dict[str, int] = field(default_factory=dict)
    """When each was asked last, in requests."""
    _count: int = 0

    def found(self, name: str, *, job: bool) -> None:
        """A queue has answered."""
        if job:
            self._empty.discard(name)
        else:
            self._empty.add(name)

    def room_came(self) -> None:
        """More is free than before: every queue is worth a look."""
        self._empty.clear()

    def plan(
        self,
        classes: Mapping[str, Needs],
        asked: Mapping[str, Asked],
        room: Reservations,
        *,
        now: float,
    ) -> Plan:
        """What to ask of which class.

        Args:
            classes: those to take jobs from at present.
            asked: what is under way; `room` has its claims.
            room: is not changed.
            now: seconds of a clock that runs evenly.
        """
        unwanted = tuple(
            name for name, each in asked.items() if name not in classes and not each.recalled
        )
        if unwanted or any(each.recalled for each in asked.values()):
            # What is withdrawn may still bring a job; what is free is known afterwards.
            return Plan(recall=unwanted)
        left = sorted(classes.keys() - asked.keys(), key=lambda name: self._asked.get(name, 0))
        room = room.copy()
        news = self._ask(classes, [name for name in left if name not in self._empty], room)
        if news:
            return Plan(ask=tuple((name, False) for name in news))
        if any(not each.waits for each in asked.values()):
            return Plan()
        for name in left:
            in_the_way = _in_the_way(classes[name], asked, room)
            if name not in self._empty and in_the_way:
                return Plan(recall=in_the_way)
        waiting = self._ask(classes, left, room)
        plan = tuple((name, True) for name in waiting)
        if waiting:
            return Plan(ask=plan, again_s=TURN_S)
        for name in left:
            in_the_way = _in_the_way(classes[name], asked, room)
            if in_the_way:
                due = max(asked[each].since for each in in_the_way) + TURN_S
                return Plan(recall=in_the_way) if now >= due else Plan(again_s=due - now)
        return Plan()

    def _ask(
        self, classes: Mapping[str, Needs], names: Iterable[str], room: Reservations
    ) -> list[str]:
        """Those that there is room for, claimed."""
        found = []
        for name in names:
            if room.fits(classes[name]):
                room.take(classes[name])
                self._count += 1
                self._asked[name] = self._count
                found.append(name)
        return found


def _in_the_way(needs: Needs, asked: Mapping[str, Asked], room: Reservations) -> tuple[str, ...]:
    """The requests that must be withdrawn for there to be room; none if that does not help."""
    found: list[str] = []
    for name, each in sorted(asked.items(), key=lambda item: item[1].since):
        if each.waits:
            found.append(name)
            if room.fits(needs, without=tuple(asked[other].needs for other in found)):
                return tuple(found)
    return ()
