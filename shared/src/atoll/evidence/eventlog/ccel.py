"""The firmware's event log of a TD: a crypto-agile log (`tcg`) of its run-time registers.

The register field is 1 for RTMR0 to 4 for RTMR3, and 0 for MRTD, which no log can extend
(UEFI 2.10, section 38.4.1). What is read is SHA-384. After the last event there may be padding
that is all FF or all 00.
"""

from dataclasses import dataclass
from typing import Final, Self

from atoll.evidence._cursor import Cursor
from atoll.evidence.eventlog import registers, tcg
from atoll.evidence.eventlog.registers import Registers
from atoll.evidence.eventlog.tcg import (
    EV_NO_ACTION,
    MAX_ALGORITHMS,
    MAX_DATA,
    MAX_EVENTS,
    SHA384,
    Event,
)

__all__ = [
    "EV_NO_ACTION",
    "MAX_ALGORITHMS",
    "MAX_DATA",
    "MAX_EVENTS",
    "MAX_LOG",
    "SHA384",
    "Event",
    "EventLog",
]

MAX_LOG: Final = 1 << 20

_PADDING: Final = tuple(filler * size for filler in (b"\xff", b"\x00") for size in (1, 2, 3, 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLog:
    """A parsed log, in order."""

    events: tuple[Event, ...]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one log.

        Does not check: anything about what events mean, nor whether it replays.

        Raises:
            MalformedEvidenceError: as `tcg.parse` does; a register outside 0 to 4; an
                extending event for MRTD; padding that is not uniform.
            UnsupportedEvidenceError: no SHA-384, or an algorithm not known here.
        """
        return cls(events=tcg.parse(raw, _KIND))

    def replay(self) -> Registers:
        """RTMR0 to RTMR3 as the log explains them."""
        return registers.replay(
            (event.register - 1, event.digest) for event in self.events if event.extends
        )


def _padding(cursor: Cursor) -> bool:
    """Whether padding follows, and nothing else.

    All FF is no register, all 00 would be an event of type 0 for MRTD, so no event is lost.
    """
    if cursor.peek(4) not in _PADDING:
        return False
    rest = cursor.rest()
    return rest in (b"\xff" * len(rest), bytes(len(rest)))


def _check(cursor: Cursor, register: int, kind: int) -> None:
    if register > registers.COUNT:
        raise cursor.fail(f"has an event for register {register}, want 0 to {registers.COUNT}")
    if register == 0 and kind != EV_NO_ACTION:
        raise cursor.fail("has an event that would extend MRTD")


_KIND: Final = tcg.Kind(
    structure="CCEL log", algorithm=SHA384, limit=MAX_LOG, check=_check, ends=_padding
)
