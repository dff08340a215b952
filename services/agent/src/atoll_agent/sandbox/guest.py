"""What every kind of sandbox gives the runner: something that runs, can be killed, and ends."""

import socket
from types import TracebackType
from typing import Protocol, Self

from atoll_agent.sandbox.exchange import Answer
from atoll_agent.sandbox.outcome import Kind


class Egress(Protocol):
    """Whoever serves a guest's way out, where it has one."""

    async def serve(self, listening: socket.socket) -> None:
        """Serve who connects, until cancelled; takes over the socket, which listens where the
        guest alone can connect to it."""
        ...


class Guest(Protocol):
    """A running workload with its whole process tree.

    Entering starts it. Leaving the context kills whatever is left and waits until all of
    it is gone, also when the runner is cancelled or fails.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def ended(self, timeout_s: float) -> bool:
        """Wait until the guest has ended, at most `timeout_s`."""
        ...

    async def kill(self) -> None:
        """End the whole tree at once. Doing it twice does nothing."""
        ...

    def resident_bytes(self) -> int:
        """Resident memory of the whole tree now; 0 if it cannot be told."""
        ...

    def unlinked_bytes(self) -> int:
        """Bytes of files without a name that the guest holds open in its workspace."""
        ...

    def cpu_ms(self) -> int:
        """CPU time of the whole tree so far, in milliseconds; 0 if it cannot be told."""
        ...

    def problem(self) -> Kind | None:
        """A limit that the sandbox itself saw passed, such as its cgroup's; else None."""
        ...

    async def answer(self) -> Answer:
        """After the end: how it ended by itself, as far as the sandbox can believe."""
        ...
