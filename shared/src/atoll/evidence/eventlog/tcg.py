"""Crypto-agile event logs: TCG PC Client Platform Firmware Profile 1.06, section 10.

First a TCG_PCR_EVENT, which names the hash algorithms of all others:

| register u32 | type u32 = 3 | SHA-1 digest, zero | size u32 | TCG_EfiSpecIDEvent       |
TCG_EfiSpecIDEvent:
| "Spec ID Event03\\0" | class u32 | minor, major, errata, uintn size u8 | algorithms u32 |
| { algorithm u16, digest size u16 } ... | vendor info size u8 | vendor info             |

then TCG_PCR_EVENT2 until the end:

| register u32 | type u32 | digests u32 | { algorithm u16, digest } ... | size u32 | data  |

Little-endian. EV_NO_ACTION is never extended. Which registers there are, and what may follow the
last event, is the affair of each kind of log (`ccel`, `pcr_log`).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from atoll.errors import MalformedEvidenceError, UnsupportedEvidenceError
from atoll.evidence._cursor import Cursor

MAX_EVENTS: Final = 8192
MAX_DATA: Final = 256 << 10
MAX_ALGORITHMS: Final = 8
EV_NO_ACTION: Final = 3
SHA256: Final = 0x000B
SHA384: Final = 0x000C

_SIGNATURE: Final = b"Spec ID Event03\x00"
_DIGEST_SIZES: Final = {0x0004: 20, SHA256: 32, SHA384: 48, 0x000D: 64, 0x0012: 32}
"""SHA-1, SHA-256, SHA-384, SHA-512, SM3-256 (TCG algorithm registry)."""
_HASHES: Final = {32: "sha256", 48: "sha384"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `digest` is believed once the log replays; `data` never (`proven_data`)."""

    register: int
    """As in the log."""
    type: int
    digest: bytes
    """Of the algorithm that the log is read for."""
    data: bytes = field(repr=False)

    @property
    def extends(self) -> bool:
        """Whether a register was extended with it."""
        return self.type != EV_NO_ACTION

    @property
    def proven_data(self) -> bytes | None:
        """`data` if the digest is the hash of it, else None.

        For many types the digest is of something else, as the image that was loaded: then
        `data` is only what the host or guest wrote beside it and says nothing.
        """
        hashed = hashlib.new(_HASHES[len(self.digest)], self.data).digest()
        return self.data if hashed == self.digest else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How one kind of log is read."""

    structure: str
    """What errors call it."""
    algorithm: int
    """The one whose digests are kept."""
    limit: int
    """Bytes of a whole log."""
    check: Callable[[Cursor, int, int], None]
    """Raises for an event of this register and type that the log cannot have."""
    ends: Callable[[Cursor], bool] = lambda _: False
    """Whether what follows is no event, and nothing of the log."""


def parse(raw: bytes, kind: Kind) -> tuple[Event, ...]:
    """Every event after the first, in order.

    Does not check: anything about what events mean, nor whether the log replays.

    Raises:
        MalformedEvidenceError: a part is cut, over a limit, repeats an algorithm or names one
            that the first event does not; or `kind.check` does.
        UnsupportedEvidenceError: no digests of the algorithm, or an algorithm not known here.
    """
    if len(raw) > kind.limit:
        size = f"is {len(raw)} bytes, at most {kind.limit}"
        raise MalformedEvidenceError(kind.structure, 0, size)
    cursor = Cursor(bytes(raw), structure=kind.structure)
    algorithms = _first_event(cursor, kind)
    events: list[Event] = []
    while cursor.left and not kind.ends(cursor):
        if len(events) == MAX_EVENTS:
            raise cursor.fail(f"has over {MAX_EVENTS} events")
        events.append(_event(cursor, algorithms, kind))
    return tuple(events)


def _first_event(cursor: Cursor, kind: Kind) -> dict[int, int]:
    """The algorithms of the log, with the sizes of their digests."""
    structure = kind.structure
    cursor.uint(4)  # every firmware writes another register here; nothing is extended
    if cursor.uint(4) != EV_NO_ACTION or any(cursor.octets(20)):
        raise cursor.fail("does not start with an EV_NO_ACTION event")
    body = Cursor(cursor.block(4, limit=MAX_DATA), structure=f"{structure} first event")
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
            raise UnsupportedEvidenceError(f"{structure}: hash algorithm 0x{algorithm:04x}")
        if size != _DIGEST_SIZES[algorithm] or algorithm in algorithms:
            raise body.fail(f"has a wrong size for, or repeats, algorithm 0x{algorithm:04x}")
        algorithms[algorithm] = size
    body.block(1, limit=255)
    body.finish()
    if kind.algorithm not in algorithms:
        name = _HASHES[_DIGEST_SIZES[kind.algorithm]].upper().replace("SHA", "SHA-")
        raise UnsupportedEvidenceError(f"{structure}: has no {name} digests")
    return algorithms


def _event(cursor: Cursor, algorithms: dict[int, int], kind: Kind) -> Event:
    register, type_, count = cursor.uint(4), cursor.uint(4), cursor.uint(4)
    kind.check(cursor, register, type_)
    if count != len(algorithms):
        raise cursor.fail(f"has an event with {count} digests, want {len(algorithms)}")
    digests: dict[int, bytes] = {}
    for _ in range(count):
        algorithm = cursor.uint(2)
        if algorithm not in algorithms or algorithm in digests:
            raise cursor.fail(f"has an unannounced or repeated digest 0x{algorithm:04x}")
        digests[algorithm] = cursor.octets(algorithms[algorithm])
    data = cursor.block(4, limit=MAX_DATA)
    return Event(register=register, type=type_, digest=digests[kind.algorithm], data=data)
