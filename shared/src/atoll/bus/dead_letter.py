"""Dead letters: messages of a work queue that nobody can ever process, kept with the reason.

Format: `docs/formats/dead-letter.md`. The payload is kept as it was; everything else about
the message stands in headers. A letter is identified by its sequence in the stream of dead
letters, and what it is about by queue, sequence and time, so that however many processes
bury the same message, one letter is made.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol, Self

from atoll.ascii_text import printable
from atoll.bus.connection import RETRY_PAUSE_S, Bus
from atoll.bus.jetstream import erase, last_message, message_at, publish
from atoll.bus.message import StreamMessage, parse_time
from atoll.bus.stream import Reading, read
from atoll.bus.subjects import MAX_SUBJECT, require_headers
from atoll.errors import AtollError, ConflictError, InputError, MessageError
from atoll.wire import subjects, topology
from atoll.wire.names import is_code

MAX_TEXT: Final = 256
"""Characters of a reason's text."""

HEADROOM: Final = 16 << 10
"""Bytes of the largest message that are left to a letter's own headers."""

MAX_KEPT_HEADERS: Final = 32
MAX_KEPT_HEADER_BYTES: Final = 4 << 10

WHOLE: Final = "whole"
CUT: Final = "cut"
"""The message was as large as the server allows: only its beginning is kept."""
LOST: Final = "lost"
"""Somebody terminated the message before it was kept."""

_MARK: Final = "atoll-"
_KEPT: Final = "atoll-was-"
_MSG_ID: Final = "Nats-Msg-Id"
_SIZE: Final = "Nats-Msg-Size"
_MAX_DIGITS: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead message and why it is dead."""

    stream: str
    """The queue it was in."""
    subject: str
    sequence: int
    """Its number in that queue."""
    deliveries: int
    """How often somebody tried; 0: unknown."""
    code: str
    """Why it is dead: a stable code."""
    text: str = ""
    """The same for people; one line of printable ASCII."""
    stored: datetime
    """When the queue stored it."""
    message_id: str = ""
    headers: Mapping[str, str]
    """Of the original, without those that were meant for the server."""
    payload: bytes
    """Empty when it was read for a list."""
    size: int
    """Bytes of the payload that is kept."""
    state: str = WHOLE
    """`whole`, `cut` or `lost`."""
    id: int = 0
    """The letter's own number; 0: not kept yet."""
    buried: datetime | None = None
    """When it was kept."""

    @classmethod
    def about(
        cls, message: StreamMessage, *, stream: str, code: str, text: str, deliveries: int
    ) -> Self:
        """A letter about a message that still lies in `stream`."""
        return cls(
            stream=stream,
            subject=message.subject,
            sequence=message.seq,
            deliveries=deliveries,
            code=code,
            text=one_line(text),
            stored=message.time,
            message_id=one_line(message.headers.get(_MSG_ID, "")),
            headers=_kept(message.headers),
            payload=message.payload,
            size=len(message.payload),
        )

    @classmethod
    def parse(cls, message: StreamMessage) -> Self:
        """Read a letter; the headers are another process's word and are checked.

        Raises:
            MessageError: `dead.malformed`: it is no letter.
        """
        headers = message.headers
        subject = one_line(headers.get("atoll-subject", ""), limit=MAX_SUBJECT)
        state = headers.get("atoll-state", WHOLE)
        try:
            stream, sequence = subjects.DEAD.read(message.subject)
            stored = parse_time(headers.get("atoll-stored", ""))
        except InputError as error:
            raise _malformed(message) from error
        if not subject or state not in {WHOLE, CUT, LOST}:
            raise _malformed(message)
        return cls(
            stream=stream,
            subject=subject,
            sequence=_number(sequence),
            deliveries=_number(headers.get("atoll-deliveries", "")),
            code=_code(headers.get("atoll-reason", "")),
            text=one_line(headers.get("atoll-reason-text", "")),
            stored=stored,
            message_id=one_line(headers.get("atoll-message-id", "")),
            headers=_kept(
                {
                    name.removeprefix(_KEPT): value
                    for name, value in headers.items()
                    if name.startswith(_KEPT)
                }
            ),
            payload=message.payload,
            size=_number(headers.get(_SIZE, "")) or len(message.payload),
            state=state,
            id=message.seq,
            buried=message.time,
        )

    def to_headers(self) -> dict[str, str]:
        """All but the payload."""
        fields = {
            "atoll-subject": one_line(self.subject, limit=MAX_SUBJECT),
            "atoll-deliveries": str(self.deliveries),
            "atoll-reason": self.code,
            "atoll-reason-text": self.text,
            "atoll-stored": self.stored.isoformat(),
            "atoll-message-id": self.message_id,
            "atoll-state": self.state,
            **{_KEPT + name: value for name, value in self.headers.items()},
        }
        return {name: value for name, value in fields.items() if value}


class Doomed(Protocol):
    """What is needed of a `Delivery`."""

    @property
    def payload(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def subject(self) -> str: ...
    @property
    def stream_seq(self) -> int: ...
    @property
    def num_delivered(self) -> int: ...
    @property
    def stored(self) -> datetime: ...
    async def term(self, reason: str) -> None: ...


async def bury(bus: Bus, delivery: Doomed, *, stream: str, error: AtollError) -> None:
    """Keep a message of `stream` with the reason, then end its delivery.

    Repeating it does no harm.

    Raises:
        UnreachableError: the bus did not take it; it stays in the queue.
        RefusedError: `bus.full`: no room for another letter; it stays in the queue.
    """
    letter = Letter(
        stream=stream,
        subject=delivery.subject,
        sequence=delivery.stream_seq,
        deliveries=delivery.num_delivered,
        code=error.code,
        text=one_line(error.message),
        stored=delivery.stored,
        message_id=one_line(delivery.headers.get(_MSG_ID, "")),
        headers=_kept(delivery.headers),
        payload=delivery.payload,
        size=len(delivery.payload),
    )
    await keep(bus, letter)
    await delivery.term(error.code)


async def keep(bus: Bus, letter: Letter) -> bool:
    """Store `letter` unless there is one about this message; whether this call stored it.

    Raises:
        UnreachableError: the bus did not take it.
        RefusedError: `bus.full`.
    """
    subject = subjects.DEAD.of(letter.stream, str(letter.sequence))
    room = bus.max_payload - HEADROOM
    if len(letter.payload) > room:
        letter = replace(letter, payload=letter.payload[:room], state=CUT)
    expected = 0
    while True:
        try:
            ack = await publish(
                bus,
                subject,
                letter.payload,
                msg_id=_name(letter),
                headers=letter.to_headers(),
                expected_last_subject_seq=expected,
                stream=topology.DEAD.name,
            )
        except ConflictError:
            newest = await last_message(bus, topology.DEAD.name, subject)
            if newest is not None and newest.headers.get(_MSG_ID) == _name(letter):
                return False
            # About a message of the same number in a queue that was since made anew, or
            # redriven this moment.
            expected = newest.seq if newest is not None else 0
            # A replica that is read from may lag a moment behind.
            await asyncio.sleep(RETRY_PAUSE_S)
        else:
            return not ack.duplicate


async def about(bus: Bus, stream: str, sequence: int) -> Letter | None:
    """The newest letter about message `sequence` of `stream`.

    Raises:
        MessageError: `dead.malformed`.
    """
    subject = subjects.DEAD.of(stream, str(sequence))
    found = await last_message(bus, topology.DEAD.name, subject)
    return None if found is None else Letter.parse(found)


async def letter_at(bus: Bus, number: int) -> Letter | None:
    """The letter of this number, or None.

    Raises:
        MessageError: `dead.malformed`.
    """
    found = await message_at(bus, topology.DEAD.name, number)
    return None if found is None else Letter.parse(found)


async def letters(
    bus: Bus, *, stream: str | None = None, after: int = 0
) -> AsyncGenerator[Letter | int, None]:
    """Letters by number, without payload; just the number of one that is malformed."""
    pattern = subjects.DEAD.under(stream) if stream else subjects.DEAD.wildcard
    reading = Reading(
        stream=topology.DEAD.name, filter=pattern, start_seq=after + 1, headers_only=True
    )
    async with aclosing(read(bus, reading)) as messages:
        async for message in messages:
            try:
                yield Letter.parse(message)
            except MessageError:
                yield message.seq


async def discard(bus: Bus, number: int) -> None:
    """Erase a letter; nothing happens when it is gone."""
    await erase(bus, topology.DEAD.name, number)


def one_line(text: str, *, limit: int = MAX_TEXT) -> str:
    """`text` as a header can hold it: one line of printable ASCII."""
    return printable(text, limit).strip()


def _name(letter: Letter) -> str:
    moment = int(letter.stored.timestamp() * 1_000_000)
    return f"dead.{letter.stream}.{letter.sequence}.{moment}"


def _malformed(message: StreamMessage) -> MessageError:
    return MessageError(f"message {message.seq} is no dead letter", code="dead.malformed")


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    """What the original told its reader; not what it told the server, and not without end."""
    kept: dict[str, str] = {}
    left = MAX_KEPT_HEADER_BYTES
    for name, value in headers.items():
        if name.lower().startswith(("nats-", _MARK)):
            continue
        left -= len(name) + len(value) + 16
        if left < 0 or len(kept) >= MAX_KEPT_HEADERS:
            break
        if _legal(name, value):
            kept[name] = value
    return kept


def _legal(name: str, value: str) -> bool:
    try:
        require_headers({_KEPT + name: value})
    except InputError:
        return False
    return True


def _code(text: str) -> str:
    return text if is_code(text) else "unknown"


def _number(text: str) -> int:
    legal = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if legal else 0
