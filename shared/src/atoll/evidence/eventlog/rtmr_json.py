"""The JSON event log of a guest agent that extends RTMR3 itself (format of dstack).

An array of objects with `imr` (0 to 3), `event_type`, `digest` (hexadecimal SHA-384),
`event` (a name) and `event_payload` (hexadecimal). Entries of the firmware have its digests.
A run-time event, of type 0x08000001, has

    digest = SHA-384(le32(event_type) || ":" || event || ":" || event_payload)

so its name and payload are proven by the digest, and the digest by the register. "Lite" logs
leave digests or payloads out; such an event can neither be recomputed nor, without a
digest, be replayed.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, Self

from atoll.errors import MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence.eventlog import registers
from atoll.evidence.eventlog.registers import COUNT, DIGEST_SIZE

MAX_LOG: Final = 1 << 20
MAX_EVENTS: Final = 4096
RUNTIME_EVENT: Final = 0x08000001

_STRUCTURE: Final = "JSON event log"
_MAX_TYPE: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RtmrEvent:
    """One entry. Nothing in it is proven before `RtmrLog.recompute` and `replay`."""

    register: int
    type: int
    digest: bytes | None
    """None where a lite log left it out."""
    name: str
    payload: bytes

    @property
    def recomputed(self) -> bytes:
        """What the digest of a run-time event with this name and payload is."""
        head = self.type.to_bytes(4, "little") + b":" + self.name.encode("utf-8") + b":"
        return hashlib.sha384(head + self.payload).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RtmrLog:
    """A parsed log, in order."""

    events: tuple[RtmrEvent, ...]

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one log. Keys of an entry that are not named above are ignored.

        Raises:
            MalformedEvidenceError: not such an array, a repeated key, over a limit.
        """
        if len(raw) > MAX_LOG:
            raise _malformed(f"is {len(raw)} bytes, at most {MAX_LOG}")
        try:
            value = json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise _malformed(f"is not JSON: {error}"[:200]) from error
        if not isinstance(value, list) or len(value) > MAX_EVENTS:
            raise _malformed(f"is not an array of at most {MAX_EVENTS} events")
        return cls(events=tuple(_event(at, one) for at, one in enumerate(value)))

    def replay(self, number: int) -> bytes:
        """The value of one register as the log explains it.

        Raises:
            RejectedEvidenceError: `evidence.event_digest_mismatch`: an event of this register
                has no digest, so that nothing can be said.
        """
        digests = []
        for at, event in enumerate(self.events):
            if event.register != number:
                continue
            if event.digest is None:
                raise _mismatch(f"event {at} of RTMR{number} has no digest")
            digests.append((number, event.digest))
        return registers.replay(digests)[number]

    def recompute(self, number: int) -> None:
        """Return if every event of this register is a run-time event with its own digest.

        Then the names and payloads are what the register's value stands for.

        Raises:
            RejectedEvidenceError: `evidence.event_digest_mismatch`.
        """
        for at, event in enumerate(self.events):
            if event.register != number:
                continue
            if event.type != RUNTIME_EVENT:
                raise _mismatch(f"event {at} of RTMR{number} is no run-time event")
            if event.digest != event.recomputed:
                raise _mismatch(f"event {at} ({event.name[:40]!r}) does not have this digest")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object repeats a key")
    return value


def _event(at: int, value: Any) -> RtmrEvent:
    if not isinstance(value, dict):
        raise _malformed(f"event {at} is not an object")
    register, kind = value.get("imr"), value.get("event_type")
    if type(register) is not int or not 0 <= register < COUNT:
        raise _malformed(f"event {at}: imr is not 0 to {COUNT - 1}")
    if type(kind) is not int or not 0 <= kind <= _MAX_TYPE:
        raise _malformed(f"event {at}: event_type is not an unsigned 32-bit integer")
    digest = _hex(at, value, "digest")
    if len(digest) not in (0, DIGEST_SIZE):
        raise _malformed(f"event {at}: digest is {len(digest)} bytes, want {DIGEST_SIZE}")
    name = _text(at, value, "event")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _malformed(f"event {at}: the name has a lone surrogate") from error
    return RtmrEvent(
        register=register,
        type=kind,
        digest=digest or None,
        name=name,
        payload=_hex(at, value, "event_payload"),
    )


def _text(at: int, value: dict[str, Any], key: str) -> str:
    text = value.get(key, "")
    if not isinstance(text, str):
        raise _malformed(f"event {at}: {key} is not a string")
    return text


def _hex(at: int, value: dict[str, Any], key: str) -> bytes:
    text = _text(at, value, key)
    try:
        octets = bytes.fromhex(text)
    except ValueError as error:
        raise _malformed(f"event {at}: {key} is not hexadecimal") from error
    if len(octets) * 2 != len(text):
        raise _malformed(f"event {at}: {key} has spaces")
    return octets


def _malformed(reason: str) -> MalformedEvidenceError:
    return MalformedEvidenceError(_STRUCTURE, 0, reason)


def _mismatch(message: str) -> RejectedEvidenceError:
    return RejectedEvidenceError(message, code="evidence.event_digest_mismatch")
