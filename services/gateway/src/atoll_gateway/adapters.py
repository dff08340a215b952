"""The gateway's ports on the bus."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

from atoll.bus import Bus, KeyValue, StreamMessage, leaders_message, publish
from atoll.bus.kv import Entry
from atoll.errors import AtollError, ConflictError, MessageError, RefusedError
from atoll.wire import cloudevents, level, schema, subjects, topology
from atoll.wire.access import TokenRecord
from atoll.wire.cloudevents import Event
from atoll.wire.messages import (
    AgreedManifest,
    JobEvent,
    JobRecord,
    SpawnRequest,
    Withdrawal,
)
from atoll.wire.submission import SubmissionEvent
from atoll_gateway.placing import AnyPlace
from atoll_gateway.ports import Places

T = TypeVar("T")

_log = logging.getLogger(__name__)


def stored(cls: type[T], raw: bytes) -> T:
    """A message that a peer left on the bus; if it is none, that is not our caller's fault.

    Raises:
        AtollError: `internal`.
    """
    try:
        return schema.decode(cls, raw)
    except MessageError as error:
        raise AtollError(f"stored {cls.__name__}: {error.message}") from error


def to_rewrite(cls: type[T], raw: bytes) -> T:
    """`stored`, of an entry that only gateways write, and that we may write anew: a field of a
    newer level in it says that that level is in force by now, and would be lost otherwise."""
    found = stored(cls, raw)
    level.heard(schema.needed_level(found))
    return found


class KvJobs:
    """Bucket `jobs`, key: job id."""

    def __init__(self, bus: Bus) -> None:
        self._kv = KeyValue(bus, topology.JOBS)

    async def get(self, job_id: str) -> tuple[JobRecord, int] | None:
        entry = await self._kv.get(job_id)
        if entry is None or entry.value is None:
            return None
        return to_rewrite(JobRecord, entry.value), entry.revision

    async def create(self, record: JobRecord) -> int:
        return await self._kv.create(record.view.job_id, schema.encode(record))

    async def update(self, record: JobRecord, revision: int) -> int:
        return await self._kv.update(record.view.job_id, schema.encode(record), revision=revision)

    async def watch(self) -> AsyncGenerator[tuple[str, JobRecord | None, int], None]:
        if await self._kv.is_empty():
            yield "", None, 0
        # With a history of one, all that is stored is the newest: the server need not look for it.
        async with aclosing(self._kv.watch(after_revision=0)) as entries:
            async for entry in entries:
                yield entry.key, self._record(entry), entry.pending

    def _record(self, entry: Entry) -> JobRecord | None:
        if entry.value is None:
            return None
        try:
            return schema.decode(JobRecord, entry.value)
        except MessageError as error:
            # One unreadable entry must not hide all others from the list.
            _log.error("job %s in the ledger is unreadable: %s", entry.key, error.message)
            return None


class KvManifests:
    """Bucket `manifests`, key: manifest digest in hex."""

    def __init__(self, bus: Bus) -> None:
        self._kv = KeyValue(bus, topology.MANIFESTS)

    async def get(self, digest: str) -> AgreedManifest | None:
        entry = await self._kv.get(digest)
        if entry is None or entry.value is None:
            return None
        return stored(AgreedManifest, entry.value)

    async def put(self, digest: str, agreed: AgreedManifest) -> None:
        # The digest is the manifest's; consents to it may have been renewed.
        raw = schema.encode(agreed)
        try:
            await self._kv.put(digest, raw)
        except RefusedError as error:
            entry = await self._kv.get(digest)
            if error.code != "bus.full" or entry is None or entry.value != raw:
                raise


class KvWithdrawals:
    """Bucket `withdrawals`, key: manifest digest in hex."""

    def __init__(self, bus: Bus) -> None:
        self._kv = KeyValue(bus, topology.WITHDRAWALS)

    async def get(self, digest: str) -> Withdrawal | None:
        entry = await self._kv.get(digest)
        if entry is None or entry.value is None:
            return None
        return stored(Withdrawal, entry.value)

    async def put(self, digest: str, withdrawal: Withdrawal) -> None:
        try:
            await self._kv.create(digest, schema.encode(withdrawal))
        except ConflictError:
            return  # somebody withdrew before; one is enough


class KvTokens:
    """Bucket `tokens`, key: token id."""

    def __init__(self, bus: Bus) -> None:
        self._kv = KeyValue(bus, topology.TOKENS)

    async def get(self, token_id: str) -> tuple[TokenRecord, int] | None:
        entry = await self._kv.get(token_id)
        if entry is None or entry.value is None:
            return None
        return to_rewrite(TokenRecord, entry.value), entry.revision

    async def create(self, record: TokenRecord) -> int:
        return await self._kv.create(record.token_id, schema.encode(record))

    async def update(self, record: TokenRecord, revision: int) -> int:
        return await self._kv.update(record.token_id, schema.encode(record), revision=revision)

    async def watch(self) -> AsyncGenerator[tuple[str, TokenRecord | None, int, int], None]:
        async with aclosing(self._kv.watch()) as entries:
            async for entry in entries:
                record = None
                if entry.value is not None:
                    try:
                        record = schema.decode(TokenRecord, entry.value)
                    except MessageError as error:
                        # Unreadable is gone: what cannot be judged opens nothing.
                        _log.error("token %s is unreadable: %s", entry.key, error.message)
                if record is not None and record.token_id != entry.key:
                    _log.error("token %s is stored as %s", record.token_id, entry.key)
                    record = None
                yield entry.key, record, entry.revision, entry.pending


class BusOutlet:
    """Events and spawn requests, each under an id that makes a repetition harmless.

    Without `places` every job goes into the plain queue.
    """

    def __init__(self, bus: Bus, places: Places | None = None) -> None:
        self._bus = bus
        self._places = places or AnyPlace()

    async def event(self, event: JobEvent, record: JobRecord) -> None:
        view = record.view
        for guest in view.guests:
            copies = subjects.GUEST.under(guest, cloudevents.JOB, event.job_id)
            await self._tell_once(event, record, copies, guest)
        history = subjects.HISTORY.under(view.tenant, cloudevents.JOB, event.job_id)
        await self._tell_once(event, record, history, None)

    async def submission(self, event: SubmissionEvent, traceparent: str, tenant: str) -> None:
        subject = cloudevents.subject_of(event, tenant)
        await self._publish(event, traceparent, subject, f"{tenant}.{cloudevents.event_id(event)}")

    async def _tell_once(
        self, event: JobEvent, record: JobRecord, told: str, guest: str | None
    ) -> None:
        # The duplicate window ends, a crash may last longer: look before publishing.
        newest = await leaders_message(self._bus, topology.EVENTS.name, told)
        if newest is not None and _seq(newest) >= event.seq:
            return
        subject = cloudevents.subject_of(
            event, guest or record.view.tenant, guest=guest is not None
        )
        own_id = cloudevents.event_id(event)
        msg_id = own_id if guest is None else f"{guest}.{own_id}"
        await self._publish(event, record.traceparent, subject, msg_id)

    async def _publish(self, event: Event, traceparent: str, subject: str, msg_id: str) -> None:
        headers, payload = cloudevents.binary(event, traceparent)
        await publish(self._bus, subject, payload, msg_id=msg_id, headers=headers)

    async def spawn(self, record: JobRecord) -> None:
        view = record.view
        if view.attempt > 0:
            return  # a manager has had it already
        request = SpawnRequest(
            job_id=view.job_id,
            tee=view.tee,
            manifest_digest=view.manifest_digest,
            expires_ms=view.expires_ms,
        )
        await publish(
            self._bus,
            (await self._places.place(record)).subject,
            schema.encode(request),
            msg_id=f"spawn.{view.job_id}",
            headers={"traceparent": record.traceparent} if record.traceparent else {},
        )


def _seq(message: StreamMessage) -> int:
    try:
        return cloudevents.read_job(message.headers, message.payload).seq
    except MessageError:
        return 0
