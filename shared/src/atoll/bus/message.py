"""Messages as the rest of Atoll sees them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from atoll.errors import MessageError

_MAX_DIGITS: Final = 19
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it came, before anybody judged it.

    `status` is the code of a line like `NATS/1.0 408 Request Timeout`, which servers
    send instead of an answer; None for a message of a client.
    """

    subject: str
    reply: str
    payload: bytes
    headers: dict[str, str]
    status: str | None
    description: str

    @classmethod
    def from_nats(cls, raw: Any) -> Self:
        """Copy out of nats-py's message."""
        headers = {str(key): str(value) for key, value in (raw.headers or {}).items()}
        # nats-py files the status line among the headers. A client can send a header of
        # that name too, but not without payload and with three digits by accident.
        status = headers.pop("Status", None) if not raw.data else None
        return cls(
            subject=raw.subject,
            reply=raw.reply or "",
            payload=raw.data,
            headers=headers,
            status=status,
            description=headers.get("Description", "") if status else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A service's answer."""

    payload: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMessage:
    """A message that a stream stores."""

    seq: int
    """Its number in the stream; grows, with gaps where other subjects lie between."""
    subject: str
    headers: dict[str, str]
    payload: bytes
    time: datetime
    """When the server stored it (server's clock)."""
    pending: int
    """How many more matched when the server sent this one; 0: it was the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AckSubject:
    """What the reply subject of a JetStream delivery says (ADR-15, "Message reply subject").

    `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`,
    and since ADR-15 revision 2 with `<domain>.<account hash>` after `ACK` and optional
    further tokens at the end.
    """

    stream: str
    consumer: str
    num_delivered: int
    stream_seq: int
    consumer_seq: int
    time: datetime
    pending: int

    @classmethod
    def parse(cls, subject: str) -> Self:
        """Read a reply subject.

        Raises:
            MessageError: `bus.not_a_delivery`.
        """
        tokens = subject.split(".")
        if tokens[:2] != ["$JS", "ACK"] or not (len(tokens) == 9 or len(tokens) >= 11):  # noqa: PLR2004
            raise MessageError(f"{subject[:80]!r} is no delivery", code="bus.not_a_delivery")
        fields = tokens[2:] if len(tokens) == 9 else tokens[4:]  # noqa: PLR2004
        numbers = fields[2:7]
        if not all(
            text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS for text in numbers
        ):
            raise MessageError(f"{subject[:80]!r} is no delivery", code="bus.not_a_delivery")
        delivered, stream_seq, consumer_seq, nanoseconds, pending = map(int, numbers)
        return cls(
            stream=fields[0],
            consumer=fields[1],
            num_delivered=delivered,
            stream_seq=stream_seq,
            consumer_seq=consumer_seq,
            time=_EPOCH + timedelta(microseconds=nanoseconds // 1000),
            pending=pending,
        )


def parse_time(text: str) -> datetime:
    """RFC 3339 with up to nine digits of fraction, as nats-server writes it.

    Raises:
        MessageError: `bus.time`.
    """
    date, dot, rest = text.partition(".")
    digits = rest.rstrip("Z")
    if dot and digits.isascii() and digits.isdigit():
        text = f"{date}.{digits[:6]:0<6}Z"
    try:
        value = datetime.fromisoformat(text)
        if value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise MessageError(f"{text[:40]!r} is no RFC 3339 time", code="bus.time") from error
    raise MessageError(f"{text[:40]!r} has no time zone", code="bus.time")
