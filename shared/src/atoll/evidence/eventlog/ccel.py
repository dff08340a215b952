"""The firmware's event log: TCG PC Client Platform Firmware Profile 1.06, section 10.

First a TCG_PCR_EVENT, which names the hash algorithms of all others:

| register u32 | type u32 = 3 | SHA-1 digest, zero | size u32 | TCG_EfiSpecIDEvent       |
TCG_EfiSpecIDEvent:
| "Spec ID Event03\\0" | class u32 | minor, major, errata, uintn size u8 | algorithms u32 |
| { algorithm u16, digest size u16 } ... | vendor info size u8 | vendor info             |

then TCG_PCR_EVENT2 until the end, or until padding that is all FF or all 00:

| register u32 | type u32 | digests u32 | { algorithm u16, digest } ... | size u32 | data  |

Little-endian. In a CCEL log the register field is 1 for RTMR0 to 4 for RTMR3, and 0 for
MRTD, which no log can extend (UEFI 2.10, section 38.4.1). EV_NO_ACTION is never extended.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Final, Self

from atoll.errors import MalformedEvidenceError, UnsupportedEvidenceError
from atoll.evidence._cursor import Cursor
from atoll.evidence.eventlog import registers
from atoll.evidence.eventlog.registers import Registers

MAX_LOG: Final = 1 << 20
MAX_EVENTS: Final = 8192
MAX_DATA: Final = 256 << 10
MAX_ALGORITHMS: Final = 8
EV_NO_ACTION: Final = 3
SHA384: Final = 0x000C

_STRUCTURE: Final = "CCEL log"
_SIGNATURE: Final = b"Spec ID Event03\x00"
_DIGEST_SIZES: Final = {0x0004: 20, 0x000B: 32, SHA384: 48, 0x000D: 64, 0x0012: 32}
"""SHA-1, SHA-256, SHA-384, SHA-512, SM3-256 (TCG algorithm registry)."""
_PADDING: Final = tuple(filler * size for filler in (b"\xff", b"\x00") for size in (1, 2, 3, 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `digest` is believed once the log replays; `data` never (`proven_data`)."""

    register: int
    """As in the log: 1 for RTMR0 to 4 for RTMR3, 0 for MRTD."""
    type: int
    digest: bytes
    """SHA-384."""
    data: bytes = field(repr=False)

    @property
    def extends(self) -> bool:
        """Whether the firmware extended a register with it."""
        return self.type != EV_NO_ACTION

    @property
    def proven_data(self) -> bytes | None:
        """`data` if the digest is SHA-384 of it, else None.

        For many types the digest is of something else, as the image that was loaded: then
        `data` is only what the host or guest wrote beside it and says nothing.
        """
        return self.data if hashlib.sha384(self.data).digest() == self.digest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLog:
    """A parsed log, in order."""

    events: tuple[Event, ...]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one log.

        Does not check: anything about what events mean, nor whether it replays.

        Raises:
            MalformedEvidenceError: a part is cut, over a limit, repeats an algorithm or
                names one that the first event does not; a register outside 0 to 4; an
                extending event for MRTD; padding that is not uniform.
            UnsupportedEvidenceError: no SHA-384, or an algorithm not known here.
        """
        if len(raw) > MAX_LOG:
            raise MalformedEvidenceError(_STRUCTURE, 0, f"is {len(raw)} bytes, at most {MAX_LOG}")
        cursor = Cursor(bytes(raw), structure=_STRUCTURE)
        algorithms = _first_event(cursor)
        events: list[Event] = []
        while cursor.left and not _padding(cursor):
            if len(events) == MAX_EVENTS:
                raise cursor.fail(f"has over {MAX_EVENTS} events")
            events.append(_event(cursor, algorithms))
        return cls(events=tuple(events))

    def replay(self) -> Registers:
        """RTMR0 to RTMR3 as the log explains them."""
        return registers.replay(
            (event.register - 1, event.digest) for event in self.events if event.extends
        )


def _first_event(cursor: Cursor) -> dict[int, int]:
    """The algorithms of the log, with the sizes of their digests."""
    cursor.uint(4)  # every firmware writes another register here; nothing is extended
    if cursor.uint(4) != EV_NO_ACTION or any(cursor.octets(20)):
        raise cursor.fail("does not start with an EV_NO_ACTION event")
    body = Cursor(cursor.block(4, limit=MAX_DATA), structure=f"{_STRUCTURE} first event")
    if body.octets(16) != _SIGNATURE:
        raise body.fail("is not 'Spec ID Event03'")
    body.octets(8)  # platform class, version, size of UINTN
    count = body.uint(4)
    if not 1 <= count <= MAX_ALGORITHMS:
        raise body.fail(f"names {count} algorithms, want 1 to {MAX_ALGORITHMS}")
    algorithms: dict[int, int] = {}
    for _ in range(count):
        algorithm, size = body.uint(2), body.uint(2)
        if algorithm not in _DIGEST_SIZES:
            raise UnsupportedEvidenceError(f"{_STRUCTURE}: hash algorithm 0x{algorithm:04x}")
        if size != _DIGEST_SIZES[algorithm] or algorithm in algorithms:
            raise body.fail(f"has a wrong size for, or repeats, algorithm 0x{algorithm:04x}")
        algorithms[algorithm] = size
    body.block(1, limit=255)
    body.finish()
    if SHA384 not in algorithms:
        raise UnsupportedEvidenceError(f"{_STRUCTURE}: has no SHA-384 digests")
    return algorithms


def _padding(cursor: Cursor) -> bool:
    """Whether padding follows, and nothing else.

    All FF is no register, all 00 would be an event of type 0 for MRTD, so no event is lost.
    """
    if cursor.peek(4) not in _PADDING:
        return False
    rest = cursor.rest()
    return rest in (b"\xff" * len(rest), bytes(len(rest)))


def _event(cursor: Cursor, algorithms: dict[int, int]) -> Event:
    register, kind, count = cursor.uint(4), cursor.uint(4), cursor.uint(4)
    if register > registers.COUNT:
        raise cursor.fail(f"has an event for register {register}, want 0 to {registers.COUNT}")
    if register == 0 and kind != EV_NO_ACTION:
        raise cursor.fail("has an event that would extend MRTD")
    if count != len(algorithms):
        raise cursor.fail(f"has an event with {count} digests, want {len(algorithms)}")
    digests: dict[int, bytes] = {}
    for _ in range(count):
        algorithm = cursor.uint(2)
        if algorithm not in algorithms or algorithm in digests:
            raise cursor.fail(f"has an unannounced or repeated digest 0x{algorithm:04x}")
        digests[algorithm] = cursor.octets(algorithms[algorithm])
    data = cursor.block(4, limit=MAX_DATA)
    return Event(register=register, type=kind, digest=digests[SHA384], data=data)
