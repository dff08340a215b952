"""The interface of a body: the keeper starts it, asks it to end, ends it and knows how it ended."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from atoll.errors import RefusedError
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.processes import ProcessId

if TYPE_CHECKING:
    from atoll.simulated.report import SimulatedGuest

Begin = Callable[[Coroutine[Any, Any, None]], None]
"""Starts a task of the keeper's, which ends with the enclave."""
Ask = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Asks the driver that ordered the enclave for something, once, while it is started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a body is made of."""

    spec: EnclaveSpec
    settings: Mapping[str, str]
    """The agent's, but for what it is told of its job."""
    body: Mapping[str, Any]
    """What the driver says of this kind of body."""
    guest: Callable[[], "SimulatedGuest"] | None
    """The simulated processor's side, made when it is first needed; None: there is none."""


class Body(Protocol):
    """One enclave between its start and its end."""

    @property
    def main(self) -> ProcessId:
        """The process with which it ends."""
        ...

    async def start(self, ask: Ask) -> None:
        """Raises: RefusedError `enclave.start`, with the reason for people; nothing stays then."""
        ...

    def serve(self, begin: Begin) -> None:
        """Begin what it needs of its host while it runs."""
        ...

    async def ready(self) -> None:
        """Until it can be told a job."""
        ...

    def lease(self, spec: EnclaveSpec) -> bool:
        """Tell an enclave without a job its job; whether it was told."""
        ...

    def ask_to_end(self) -> None:
        """SIGTERM, or what is like it. At any time, also after its end."""
        ...

    def kill(self) -> None:
        """End it and all that it left behind, at once. At any time, also after its end."""
        ...

    async def status(self) -> int:
        """How it ended, once `main` did: exit status, or the signal, negative. Nothing of it is
        left on this host when this returns."""
        ...


def told(spec: EnclaveSpec) -> dict[str, str]:
    """What an agent must know of itself."""
    return {
        "ENCLAVE_ID": spec.enclave_id,
        "JOB_ID": spec.job_id,
        "ATTEMPT": str(spec.attempt),
        "MANIFEST_DIGEST": spec.manifest_digest,
        "TRACEPARENT": spec.traceparent,
    }


def settings_of(order: Order) -> dict[str, str]:
    """An agent's whole environment, with its job if it has one already."""
    job = {} if order.spec.is_warm else told(order.spec)
    return {**order.settings, **{f"ATOLL_AGENT_{name}": text for name, text in job.items()}}


def refused(reason: str | None) -> RefusedError:
    return RefusedError(reason or "no reason given", code="enclave.start")
