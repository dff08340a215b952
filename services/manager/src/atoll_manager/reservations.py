"""What the jobs of this host have claimed of it, as they asked; pure.

Not what they use: a job that asked for memory gets it whenever it wants it.
"""

from dataclasses import dataclass

from atoll.wire.placement import Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a host has for jobs."""

    slots: int
    memory_bytes: int
    cpus: int


class Reservations:
    """Claims against a capacity. They may exceed it after a restart with less of it."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.slots = 0
        self.memory_bytes = 0
        self.cpus = 0

    def fits(self, needs: Needs, *, without: tuple[Needs, ...] = ()) -> bool:
        """Whether one more can be claimed, when those `without` were given back."""
        return self.slots - len(without) < self.capacity.slots and self.has_size(
            needs, without=without
        )

    def has_size(self, needs: Needs, *, without: tuple[Needs, ...] = ()) -> bool:
        """Whether there are memory and processors for it, slots aside."""
        memory = self.memory_bytes - sum(each.memory_bytes for each in without)
        cpus = self.cpus - sum(each.cpus for each in without)
        return (
            memory + needs.memory_bytes <= self.capacity.memory_bytes
            and cpus + needs.cpus <= self.capacity.cpus
        )

    def take(self, needs: Needs) -> None:
        """Claim a slot with what is needed, whether or not it fits."""
        self.slots += 1
        self.memory_bytes += needs.memory_bytes
        self.cpus += needs.cpus

    def give_back(self, needs: Needs) -> None:
        """The inverse of `take`."""
        self.slots -= 1
        self.memory_bytes -= needs.memory_bytes
        self.cpus -= needs.cpus

    def copy(self) -> "Reservations":
        """The same claims, to be tried with."""
        same = Reservations(self.capacity)
        same.slots, same.memory_bytes, same.cpus = self.slots, self.memory_bytes, self.cpus
        return same
