"""Key-value buckets (ADR-8) on the subjects `$KV.<bucket>.<key>`.

Own code instead of nats-py's, for three things: a compare-and-set that is repeated after
a lost connection recognises its own first attempt and does not conflict with it; a watch goes
on after a reconnect without missing the newest value; an expired key shows as deleted.

Needs permission: read `$JS.API.DIRECT.GET.KV_<bucket>.$KV.<bucket>.<key>` and, on a cluster,
`$JS.API.STREAM.MSG.GET.KV_<bucket>`; write `$KV.<bucket>.<key>` (through a leaf node with a domain
of its own `$JS.<domain>.API.$KV.<bucket>.<key>`); watch, keys and entries what
`atoll.bus.stream` names.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from atoll.bus import jetstream
from atoll.bus.connection import Bus
from atoll.bus.message import StreamMessage
from atoll.bus.stream import Reading, read
from atoll.bus.subjects import require_key, require_key_pattern
from atoll.errors import ConflictError
from atoll.wire.names import require_token
from atoll.wire.topology_types import Bucket

_OPERATION: Final = "KV-Operation"
_MARKER: Final = "Nats-Marker-Reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a key held at a revision."""

    key: str
    value: bytes | None
    """None: deleted or expired."""
    revision: int
    created: datetime
    """When the server stored it (server's clock)."""
    pending: int
    """In a watch: how many more waited; 0: the watch is up to date."""


class KeyValue:
    """One bucket."""

    def __init__(self, bus: Bus, bucket: Bucket | str) -> None:
        name = bucket if isinstance(bucket, str) else bucket.name
        self._bus = bus
        self._stream = f"KV_{require_token(name, 'bucket')}"
        self._prefix = f"$KV.{name}."
        # A leaf node with a domain of its own lets `$KV` pass only below the API.
        self._writing = f"{bus.config.api}.{self._prefix}" if bus.config.domain else self._prefix

    async def get(self, key: str) -> Entry | None:
        """What `key` holds, or None when it holds nothing. Sees every change that was
        acknowledged before, also on a cluster (`jetstream.leaders_message`).

        Raises:
            UnreachableError: no answer, or no such bucket.
        """
        subject = self._prefix + require_key(key)
        message = await jetstream.leaders_message(self._bus, self._stream, subject)
        entry = None if message is None else self._entry(message)
        return entry if entry is not None and entry.value is not None else None

    async def create(self, key: str, value: bytes) -> int:
        """Set `key`, which must hold nothing; returns the revision.

        Raises:
            ConflictError: `bus.conflict`: it holds something.
        """
        try:
            return await self._set(key, value, revision=0)
        except ConflictError:
            subject = self._prefix + require_key(key)
            message = await jetstream.newer_message(self._bus, self._stream, subject, 0)
            last = None if message is None else self._entry(message)
            if last is None or last.value is not None:
                raise
        # What is there is the mark of a deletion; replace exactly that.
        return await self._set(key, value, revision=last.revision)

    async def update(self, key: str, value: bytes, *, revision: int) -> int:
        """Set `key`, whose newest revision must be `revision`; returns the new one.

        Raises:
            ConflictError: `bus.conflict`: it changed in between; at worst to what we set and then
                to what another made of that (`jetstream.publish`).
        """
        return await self._set(key, value, revision=revision)

    async def put(self, key: str, value: bytes) -> int:
        """Set `key`, whatever it holds; returns the revision."""
        return await self._set(key, value, revision=None)

    async def delete(self, key: str, *, revision: int | None = None) -> None:
        """Leave a mark that `key` holds nothing; older revisions stay in the history.

        Raises:
            ConflictError: `bus.conflict`: `revision` is given and is not the newest.
        """
        await jetstream.publish(
            self._bus,
            self._writing + require_key(key),
            b"",
            headers={_OPERATION: "DEL"},
            expected_last_subject_seq=revision,
            stream=self._stream,
            stored_on=self._prefix + key,
        )

    async def is_empty(self) -> bool:
        """Whether no key holds anything, nor the mark of a deletion."""
        first = await jetstream.message_after(self._bus, self._stream, 1, f"{self._prefix}>")
        return first is None

    async def keys(self, pattern: str = ">") -> list[str]:
        """The keys that hold something, sorted. Reads the whole bucket: for small ones."""
        newest = await self._newest(pattern, headers_only=True)
        return [entry.key for entry in newest]

    async def entries(self, pattern: str = ">") -> list[Entry]:
        """What the keys hold, sorted by key. Reads the whole bucket: for small ones."""
        return await self._newest(pattern, headers_only=False)

    async def watch(
        self, pattern: str = ">", *, after_revision: int | None = None
    ) -> AsyncGenerator[Entry, None]:
        """The newest entry of each key, then every change, for ever, in order.

        Deletions too. After a reconnect it goes on after the last revision seen;
        a change that was already replaced (beyond the bucket's history) is skipped. Use
        `contextlib.aclosing` when leaving the loop early.

        Args:
            pattern: keys, with wildcards.
            after_revision: start after this revision instead of with the newest entries.
        """
        reading = Reading(
            stream=self._stream,
            filter=self._prefix + require_key_pattern(pattern),
            follow=True,
            deliver="last_per_subject" if after_revision is None else "all",
            start_seq=1 if after_revision is None else after_revision + 1,
        )
        messages = read(self._bus, reading)
        try:
            async for message in messages:
                yield self._entry(message)
        finally:
            await messages.aclose()

    async def _newest(self, pattern: str, *, headers_only: bool) -> list[Entry]:
        reading = Reading(
            stream=self._stream,
            filter=self._prefix + require_key_pattern(pattern),
            deliver="last_per_subject",
            headers_only=headers_only,
        )
        newest: dict[str, Entry] = {}
        async for message in read(self._bus, reading):
            entry = self._entry(message)
            newest[entry.key] = entry
        return [newest[key] for key in sorted(newest) if newest[key].value is not None]

    async def _set(self, key: str, value: bytes, *, revision: int | None) -> int:
        ack = await jetstream.publish(
            self._bus,
            self._writing + require_key(key),
            value,
            expected_last_subject_seq=revision,
            stream=self._stream,
            stored_on=self._prefix + key,
        )
        return ack.seq

    def _entry(self, message: StreamMessage) -> Entry:
        gone = _OPERATION in message.headers or _MARKER in message.headers
        return Entry(
            key=message.subject.removeprefix(self._prefix),
            value=None if gone else message.payload,
            revision=message.seq,
            created=message.time,
            pending=message.pending,
        )
