"""What a lease hears (events) and orders (commands), as values for `atoll_manager.lease`."""

from dataclasses import dataclass

from atoll.wire.messages import EvidenceRecord, JobRecord, Reason, ReportKind

# Events.


@dataclass(frozen=True, slots=True)
class Done:
    """The command under way had its effect."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The evidence does not admit the enclave; another of its image would be refused as well."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Failed:
    """The command under way may have had no effect; or a watch ended."""

    reason: Reason
    away: bool = False
    """The bus was away: the same again may help."""


@dataclass(frozen=True, slots=True)
class LedgerSays:
    record: JobRecord


@dataclass(frozen=True, slots=True)
class EvidenceSeen:
    record: EvidenceRecord


@dataclass(frozen=True, slots=True)
class Exited:
    status: int
    """0: its last report is durable on the bus. Negative: the signal."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The timer's time is over."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The host is stopping."""


@dataclass(frozen=True, slots=True)
class WatchLost:
    """Nothing will be heard of the ledger or of the evidence any more."""

    reason: Reason


Event = (
    Done | Refused | Failed | LedgerSays | EvidenceSeen | Exited | TimedOut | StopAsked | WatchLost
)


# Commands.


@dataclass(frozen=True, slots=True)
class AskLedger:
    """Read the job, then follow it."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Report to the ledger about this attempt."""

    kind: ReportKind
    reason: Reason | None = None
    evidence: EvidenceRecord | None = None
    """Name its digest."""


@dataclass(frozen=True, slots=True)
class StartEnclave:
    pass


@dataclass(frozen=True, slots=True)
class Judge:
    """Require the attestor's word on this evidence."""

    record: EvidenceRecord


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait until the bus was there for so long on end, for others to have heard of the lease."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Offer:
    """Publish the assignment."""


@dataclass(frozen=True, slots=True)
class StopEnclave:
    """End it; done when nothing of it is left."""


@dataclass(frozen=True, slots=True)
class Ack:
    pass


@dataclass(frozen=True, slots=True)
class Nak:
    delay_s: float


@dataclass(frozen=True, slots=True)
class SetTimer:
    seconds: float | None


Command = (
    AskLedger | Tell | StartEnclave | Judge | Hold | Offer | StopEnclave | Ack | Nak | SetTimer
)
Commands = tuple[Command, ...]
