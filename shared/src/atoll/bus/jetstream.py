"""JetStream's request subjects: the API (ADR-1), publishing, direct get (ADR-31).

Written on `Bus.call` instead of nats-py's context because every call here survives a
reconnect, and because the subjects one needs permission for can be read off:

    publish        the subject itself
    last_message   `$JS.API.DIRECT.GET.<stream>.<subject>`; with wildcards, or for a
                   sequence, `$JS.API.DIRECT.GET.<stream>`
    leaders_message  on a cluster `$JS.API.STREAM.MSG.GET.<stream>`, else as `last_message`
    api            `$JS.API.<verb>`

In a cluster a stream has no leader for the seconds of an election. What the server says then,
or leaves unanswered, is a reason to ask again, not an answer.
"""

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from atoll.bus import faults
from atoll.bus.connection import RETRY_PAUSE_S, Bus
from atoll.bus.message import Message, StreamMessage, parse_time
from atoll.bus.subjects import require_filter, require_subject
from atoll.errors import (
    ConfigError,
    ConflictError,
    MessageError,
    NotFoundError,
    UnreachableError,
)
from atoll.wire.names import require_token

API_TIMEOUT_S: Final = 10.0
PUBLISH_TIMEOUT_S: Final = 10.0
START_TIMEOUT_S: Final = 5.0
"""How long a server that has just started may take to open its streams."""

CONFIRMED_S: Final = 5.0
"""How long a message that a leader has may take until most of the copies have it."""

MAX_API_REPLY: Final = 1 << 20
"""Bytes of the largest API reply that is decoded."""

MAX_STORED_REPLY: Final = 2 << 20
"""The same of a reply that holds a message: base64 of up to 1 MiB."""

T = TypeVar("T")

_MSG_ID: Final = "Nats-Msg-Id"
_NOT_OURS: Final = ("Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class PubAck:
    """The server's word that a stream stores the message."""

    stream: str
    seq: int
    duplicate: bool
    """The message id was stored before; `seq` is the first copy's."""


async def api(
    bus: Bus, verb: str, body: Any = None, *, timeout_s: float = API_TIMEOUT_S
) -> dict[str, Any]:
    """Call `$JS.API.<verb>`; repeated after a lost connection and while there is no leader,
    so it must be idempotent.

    Raises:
        UnreachableError: no JetStream within `timeout_s`.
        AtollError: what `faults.from_api` makes of the server's refusal.
    """
    payload = b"" if body is None else json.dumps(body).encode()
    subject = f"{bus.config.api}.{verb}"
    return await _answer(
        bus, subject, payload, lambda reply: _object(reply.payload, verb), timeout_s=timeout_s
    )


async def require_jetstream(bus: Bus, verb: str = "INFO") -> None:
    """Return if streams can be used; to be asked once, at the start.

    Needs permission for `$JS.API.INFO`, or for whatever other `verb` is asked.

    Raises:
        ConfigError: `bus.no_jetstream`: the server or this login's account has none.
        UnreachableError: no answer.
    """
    hint = "nats-server keeps streams only with a `jetstream` block in its configuration"
    try:
        await api(bus, verb, timeout_s=START_TIMEOUT_S)
    except UnreachableError as error:
        if error.code != "bus.no_responders":
            raise
        raise ConfigError(
            "the NATS server keeps no streams: JetStream is off",
            code="bus.no_jetstream",
            hint=hint,
        ) from error
    except ConfigError as error:
        raise ConfigError(
            f"the NATS server keeps no streams for this login ({error.message})",
            code="bus.no_jetstream",
            hint=hint,
        ) from error


async def publish(
    bus: Bus,
    subject: str,
    payload: bytes,
    *,
    msg_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    expected_last_subject_seq: int | None = None,
    stream: str | None = None,
    stored_on: str | None = None,
    timeout_s: float = PUBLISH_TIMEOUT_S,
) -> PubAck:
    """Store a message in the stream that takes `subject`.

    Sent again with the same message id until it is acknowledged, so one call stores one
    message as long as `timeout_s` is below the stream's duplicate window.

    Args:
        bus: the connection.
        subject: where to.
        payload: what.
        msg_id: makes the whole call idempotent for the caller too; random by default.
        headers: further headers.
        expected_last_subject_seq: store only if this is the newest sequence on the
            subject (0: none yet).
        stream: the stream that takes `subject`. With it, a conflict is looked into: an
            attempt whose acknowledgement was lost is what the next one conflicts with,
            when the server does not remember its message id.
        stored_on: the subject in the stream, when it is another one than `subject`.
        timeout_s: for all attempts together, including waiting for a connection.

    Raises:
        ConflictError: `bus.conflict`: `expected_last_subject_seq` is not the newest. Where the
            server forgot our message id and another's message has replaced ours, this is said of
            a message that was stored: to the caller it is as if it came second.
        RefusedError: `bus.full`: the stream is full; nothing was stored.
        InputError: `bus.too_large`.
        UnreachableError: no acknowledgement in time; it may have been stored.
    """
    own_id = msg_id or secrets.token_hex(12)
    fields = {**(headers or {}), _MSG_ID: own_id}
    if expected_last_subject_seq is not None:
        fields["Nats-Expected-Last-Subject-Sequence"] = str(expected_last_subject_seq)
    try:
        return await _answer(
            bus,
            require_subject(subject),
            payload,
            lambda reply: pub_ack(reply, subject),
            headers=fields,
            timeout_s=timeout_s,
        )
    except ConflictError:
        if stream is None or expected_last_subject_seq is None:
            raise
        last = await newer_message(bus, stream, stored_on or subject, expected_last_subject_seq)
        if last is None or last.headers.get(_MSG_ID) != own_id:
            raise
        return PubAck(stream=stream, seq=last.seq, duplicate=True)


async def _answer(
    bus: Bus,
    subject: str,
    payload: bytes,
    read: Callable[[Message], T],
    *,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = API_TIMEOUT_S,
) -> T:
    """What `read` makes of the reply; asked again while it makes it an `UnreachableError`."""
    deadline = bus.now() + timeout_s
    while True:
        left = max(deadline - bus.now(), 0.001)
        reply = await bus.call(subject, payload, headers=headers, timeout_s=left, retry=True)
        try:
            return read(reply)
        except UnreachableError:
            if deadline - bus.now() <= RETRY_PAUSE_S:
                raise
        await bus.pause(RETRY_PAUSE_S)


async def newer_message(bus: Bus, stream: str, subject: str, than: int) -> StreamMessage | None:
    """What a conflict is with: the newest message, which came after `than` (0: none).

    On a cluster a leader counts what its followers have not yet confirmed, perhaps our own
    first attempt, and a new one may not have everything yet: until something newer shows, the
    conflict says nothing about who won.

    Raises:
        UnreachableError: `bus.unconfirmed`: it does not show within `CONFIRMED_S`.
    """
    deadline = bus.now() + CONFIRMED_S
    while True:
        last = await leaders_message(bus, stream, subject)
        if not bus.clustered or (last is not None and last.seq > than):
            return last
        if bus.now() >= deadline:
            raise UnreachableError(
                f"stream {stream}: a change of {subject} is not confirmed by the other servers",
                code="bus.unconfirmed",
            )
        await bus.pause(RETRY_PAUSE_S)


def pub_ack(reply: Message, subject: str) -> PubAck:
    """Read the server's answer to a publish."""
    fields = _object(reply.payload, subject)
    stream, seq = fields.get("stream"), fields.get("seq")
    if not isinstance(stream, str) or not isinstance(seq, int):
        raise MessageError(f"{subject}: not a publish acknowledgement", code="bus.reply")
    return PubAck(stream=stream, seq=seq, duplicate=fields.get("duplicate") is True)


async def last_message(bus: Bus, stream: str, subject: str) -> StreamMessage | None:
    """The newest message of `stream` on `subject` (or matching it), or None.

    Read from any replica that allows direct get (every stream made by `provision`
    does): with several replicas it may lag behind the newest by a moment.

    Raises:
        UnreachableError: no answer, or no such stream.
    """
    require_token(stream, "stream")
    require_filter(subject)
    if "*" in subject or ">" in subject:
        return await _direct(bus, stream, {"last_by_subj": subject})
    reply = await bus.call(
        f"{bus.config.api}.DIRECT.GET.{stream}.{subject}", b"", timeout_s=API_TIMEOUT_S, retry=True
    )
    return _stored(reply, stream)


async def leaders_message(bus: Bus, stream: str, subject: str) -> StreamMessage | None:
    """`last_message`, and it sees every message whose acknowledgement came before the call:
    on a cluster the stream's leader answers instead of any replica.

    Not so for the moments around an election, in which a leader that was cut off does not know
    that it is none any more, or a new one does not have everything yet; but nothing can be
    stored by way of what they say, a compare-and-set included.

    Raises:
        UnreachableError: no answer: no such stream, or no leader.
    """
    if not bus.clustered:
        return await last_message(bus, stream, subject)
    require_token(stream, "stream")
    return await _leaders(bus, stream, {"last_by_subj": require_filter(subject)})


async def message_at(bus: Bus, stream: str, seq: int) -> StreamMessage | None:
    """The message with this sequence, or None when it is gone (dead letters, audits).

    On a cluster the leader answers: a replica may not have it yet, or have it still.
    """
    require_token(stream, "stream")
    if bus.clustered:
        return await _leaders(bus, stream, {"seq": seq})
    return await _direct(bus, stream, {"seq": seq})


async def _leaders(bus: Bus, stream: str, body: dict[str, Any]) -> StreamMessage | None:
    verb = f"STREAM.MSG.GET.{stream}"

    def read(reply: Message) -> StreamMessage | None:
        try:
            fields = _object(reply.payload, verb, limit=MAX_STORED_REPLY)
        except NotFoundError as error:
            if error.code == "bus.no_message":
                return None
            raise UnreachableError(str(error), code="bus.unreachable") from error
        return _told(fields.get("message"), stream)

    return await _answer(bus, f"{bus.config.api}.{verb}", json.dumps(body).encode(), read)


def _told(value: Any, stream: str) -> StreamMessage:
    """A message as the leader's answer has it: JSON with base64 (API `STREAM.MSG.GET`)."""
    try:
        head = base64.b64decode(value.get("hdrs", ""), validate=True).decode()
        first, *lines = head.rstrip("\r\n").split("\r\n")
        if first not in ("", "NATS/1.0"):
            raise ValueError(first)
        pairs = [line.partition(":") for line in lines]
        return StreamMessage(
            seq=int(value["seq"]),
            subject=str(value["subject"]),
            headers={key: text.strip() for key, _, text in pairs},
            payload=base64.b64decode(value.get("data", ""), validate=True),
            time=parse_time(str(value["time"])),
            pending=0,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MessageError(f"stream {stream}: not a stored message", code="bus.reply") from error


async def message_after(bus: Bus, stream: str, seq: int, subject: str) -> StreamMessage | None:
    """The first message on `subject` (or matching it) with this sequence or a later one."""
    body = {"seq": seq, "next_by_subj": require_filter(subject)}
    return await _direct(bus, require_token(stream, "stream"), body)


async def _direct(bus: Bus, stream: str, body: dict[str, Any]) -> StreamMessage | None:
    reply = await bus.call(
        f"{bus.config.api}.DIRECT.GET.{stream}",
        json.dumps(body).encode(),
        timeout_s=API_TIMEOUT_S,
        retry=True,
    )
    return _stored(reply, stream)


def _stored(reply: Message, stream: str) -> StreamMessage | None:
    if reply.status == "404":
        return None
    if reply.status is not None:
        raise UnreachableError(
            f"stream {stream}: {reply.status} {reply.description}", code="bus.unreachable"
        )
    headers = reply.headers
    seq = headers.get("Nats-Sequence", "")
    if not (seq.isascii() and seq.isdigit()) or "Nats-Subject" not in headers:
        raise MessageError(f"stream {stream}: not a direct get reply", code="bus.reply")
    return StreamMessage(
        seq=int(seq),
        subject=headers["Nats-Subject"],
        headers={key: value for key, value in headers.items() if key not in _NOT_OURS},
        payload=reply.payload,
        time=parse_time(headers.get("Nats-Time-Stamp", "")),
        pending=0,
    )


async def purge(bus: Bus, stream: str, subject: str) -> None:
    """Erase every message of `stream` on `subject`."""
    await api(bus, f"STREAM.PURGE.{require_token(stream, 'stream')}", {"filter": subject})


async def erase(bus: Bus, stream: str, seq: int) -> None:
    """Erase one message; nothing happens when it is already gone."""
    verb = f"STREAM.MSG.DELETE.{require_token(stream, 'stream')}"
    try:
        await api(bus, verb, {"seq": seq, "no_erase": False})
    except NotFoundError:
        return


def _object(raw: bytes, what: str, *, limit: int = MAX_API_REPLY) -> dict[str, Any]:
    if len(raw) > limit:
        raise MessageError(f"{what}: reply of {len(raw)} bytes", code="bus.reply")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{what}: reply is not JSON", code="bus.reply") from error
    if not isinstance(value, dict):
        raise MessageError(f"{what}: reply is not an object", code="bus.reply")
    if "error" in value:
        raise faults.from_api(value["error"], what)
    return value
