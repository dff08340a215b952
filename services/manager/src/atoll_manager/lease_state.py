"""What is known of one lease: where it is, of which job and attempt, and how it is to end."""

from dataclasses import dataclass
from enum import Enum

from atoll.wire.messages import EvidenceRecord, Reason
from atoll.wire.topology import MAX_ATTEMPTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    boot_timeout_s: float
    stop_grace_s: float


class Phase(Enum):
    ASKING = "asking"
    LEASING = "leasing"
    STARTING = "starting"
    BOOTING = "booting"
    JUDGING = "judging"
    HOLDING = "holding"
    """Admitted; an earlier enclave may still have keys."""
    OFFERING = "offering"
    ADMITTING = "admitting"
    WORKING = "working"
    FINISHING = "finishing"
    """The enclave ended well; the ledger has still to say so."""
    LINGERING = "lingering"
    """The job ended by its enclave's word; it may send its spans and erase by itself."""
    STOPPING = "stopping"
    TELLING = "telling"
    SETTLING = "settling"
    OVER = "over"


class Ending(Enum):
    """How the spawn request is settled when nothing of the enclave is left."""

    ACK = "ack"
    HAND_BACK = "hand_back"
    LET_GO = "let_go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What we know of one delivery of a spawn request."""

    job_id: str
    enclave_id: str
    spawn_seq: int
    delivered: int
    is_last: bool
    """The queue will not deliver it again: never nak this one, it would stay there."""
    timing: Timing
    phase: Phase = Phase.ASKING
    attempt: int = 0
    evidence: EvidenceRecord | None = None
    ending: Ending | None = None
    reason: Reason | None = None
    """Why it is handed back."""
    given_up: bool = False
    """The ledger is told that nobody gets it: then nobody may."""
    stopping: bool = False
    listed: bool = False
    """The ledger has this lease: whoever was overtaken by it hears of that."""
    holders: tuple[str, ...] = ()
    """Earlier enclaves that may have keys, as the ledger last said."""
    adopted: bool = False
    """Its enclave is already there, by an earlier manager of this host."""

    @property
    def last(self) -> bool:
        """Whether there will be no further attempt."""
        return self.is_last or self.attempt >= MAX_ATTEMPTS

    @property
    def works(self) -> bool:
        """Whether its end is not decided yet."""
        return self.ending is None and self.phase is not Phase.OVER
