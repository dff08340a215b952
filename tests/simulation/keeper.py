"""An enclave's keeper: it outlives the manager, and ends the enclave when none comes back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from simulation.scheduler import Scheduler
from simulation.server import Stored

if TYPE_CHECKING:
    from simulation.enclave import EnclaveProcess

WINDOW_MS: Final = 7000
GRACE_MS: Final = 3000
"""Together what `atoll_manager.config.OUTLIVES_S` allows."""


class Keeper:
    """Keeps one enclave, what it was started for, and how it ended."""

    def __init__(self, scheduler: Scheduler, request: Stored, delivered: int, attempt: int) -> None:
        self.request = request
        self.delivered = delivered
        self.attempt = attempt
        self.enclave: EnclaveProcess | None = None
        self._scheduler = scheduler
        self._status: int | None = None
        self._tell: Callable[[int], None] | None = None
        self._losses = 0

    @property
    def lives(self) -> bool:
        return self.enclave is not None and self.enclave.alive

    def ended(self, status: int) -> None:
        self._status = status
        if self._tell is not None:
            self._tell(status)

    def follow(self, tell: Callable[[int], None]) -> None:
        """The manager is there, perhaps again, and wants to know of the end."""
        self._losses += 1
        self._tell = tell
        if self._status is not None:
            tell(self._status)

    def alone(self) -> None:
        """The manager died."""
        self._losses += 1
        self._tell = None
        self._scheduler.after(WINDOW_MS, self._expire, self._losses)

    def _expire(self, losses: int) -> None:
        if losses == self._losses and self.enclave is not None:
            self._scheduler.after(self._scheduler.rng.randrange(GRACE_MS), self.enclave.exit, -15)
