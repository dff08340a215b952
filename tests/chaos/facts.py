"""What a run left behind, as values: all that the judge looks at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.wire.messages import JobEvent, JobView
from chaos.plan import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A job that a gateway accepted: its owner has the answer."""

    job_id: str
    submissions: int
    """How often it was submitted until its owner was content."""
    opened: bool = False
    """Its owner opened the result, found it to be the right one, and verified the receipt."""
    fault: str = ""
    """What its owner could not make sense of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event as the stream has it."""

    time_ms: int
    """When the server stored it."""
    event: JobEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A stored result of an attempt."""

    job_id: str
    attempt: int
    fault: str = ""
    """Why its receipt is not valid; empty: it is, and about this job and attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A content key wrapped to an enclave, as the stream has it."""

    time_ms: int
    job_id: str
    attempt: int
    enclave_id: str
    asset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """An enclave's process, as the machine had it."""

    enclave_id: str
    job_id: str
    attempt: int
    last_ms: int
    """When it was seen alive for the last time: it surely lived until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """A process that got SIGKILL while it was alive."""

    time_ms: int
    target: Target
    pid: int
    job_id: str = ""
    """Whose agent or worker it was."""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A whole run."""

    accepted: tuple[Accepted, ...]
    views: Mapping[str, JobView]
    """The ledger."""
    undone: frozenset[str] = frozenset()
    """Jobs of which the ledger still has something to publish."""
    history: Mapping[str, tuple[Told, ...]]
    """Events by job, in the order of the stream."""
    outcomes: tuple[Outcome, ...] = ()
    releases: tuple[Released, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    kills: tuple[Kill, ...] = ()
    faults: tuple[str, ...] = field(default=())
    """What could not be read, or did not come back: each is a failure."""
