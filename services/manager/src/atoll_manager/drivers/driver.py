"""The interface of a driver: start an enclave, wait for its end, end it, find it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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


class Driver(Protocol):
    async def start(self, spec: EnclaveSpec) -> RunningEnclave:
        """Raises: RefusedError `enclave.start` when this host cannot."""
        ...


class WarmDriver(Driver, Protocol):
    """A driver that can start enclaves in advance."""

    async def prepare(self) -> WarmEnclave:
        """Raises: RefusedError `enclave.start`."""
        ...
