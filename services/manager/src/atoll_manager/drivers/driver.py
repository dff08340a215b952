"""The interface of a driver: start an enclave, wait for its end, end it, find it again."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The unacknowledged spawn request that an enclave runs for, as the queue handed it out.

    Whoever has it can go on to hold the request and settle it, over another connection too.
    """

    reply: str
    """Where acknowledgements go."""
    subject: str
    payload: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveSpec:
    """What an enclave is started with. All of it is visible to the host, none is secret
    from it; what shapes the run is bound by the evidence, not by this."""

    enclave_id: str
    job_id: str
    """Empty: there is no job yet."""
    attempt: int
    manifest_digest: str
    traceparent: str = field(default="")
    expires_ms: int = 0
    """When it is ended whatever happens, in milliseconds since the epoch; 0: never."""
    claim: Claim | None = None
    """None: nothing of it is found again by a manager that starts later."""

    @property
    def is_warm(self) -> bool:
        """Whether it is started in advance of a job."""
        return not self.job_id


class EventKind(Enum):
    STARTED = "started"
    ENDED = "ended"
    """By itself, or because it was told to."""
    CRASHED = "crashed"
    """It was killed, or its keeper was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveEvent:
    """What became of an enclave."""

    kind: EventKind
    enclave_id: str
    job_id: str
    status: int | None = None
    """How it ended; None for a start."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEnclave:
    """An enclave of this host, as it is written down."""

    enclave_id: str
    job_id: str
    kind: str
    """Of its body."""
    pid: int | None
    """Of its main process, once it was started."""
    status: int | None
    """How it ended; None: it lives, as far as is known."""


class RunningEnclave(Protocol):
    """One enclave between its start and its end."""

    @property
    def enclave_id(self) -> str: ...

    async def wait(self) -> int:
        """Until it ended; its exit status (negative: the signal)."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Ask it to erase and end, then end it. Returns when nothing of it is left."""
        ...


class WarmEnclave(RunningEnclave, Protocol):
    """One that was started in advance, and waits for its only job."""

    async def lease(self, spec: EnclaveSpec) -> bool:
        """Let it be what `spec` says, as if it had been started so; whether it is.

        Raises: RefusedError `enclave.start`: nobody can say. Stop it.
        """
        ...


class AdoptedEnclave(RunningEnclave, Protocol):
    """One that an earlier manager started."""

    @property
    def spec(self) -> EnclaveSpec: ...


class Driver(Protocol):
    async def start(self, spec: EnclaveSpec) -> RunningEnclave:
        """Raises: RefusedError `enclave.start` when this host cannot."""
        ...


class WarmDriver(Driver, Protocol):
    """A driver that can start enclaves in advance."""

    async def prepare(self) -> WarmEnclave:
        """Raises: RefusedError `enclave.start`."""
        ...


class HostDriver(WarmDriver, Protocol):
    """All that a manager needs of one; `tests/integration/manager/drivers` holds all to it."""

    async def adopt(self) -> Sequence[AdoptedEnclave]:
        """What an earlier manager of this directory left: found again, or cleared away.

        Once, before the first `start`. Whoever gets an enclave here must see to its end.
        """
        ...

    async def list(self) -> Sequence[ListedEnclave]:
        """The enclaves that are written down."""
        ...

    def events(self) -> AsyncIterator[EnclaveEvent]:
        """What happens from now on; who reads too slowly misses the oldest."""
        ...
