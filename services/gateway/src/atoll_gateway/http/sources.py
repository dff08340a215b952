"""The ports of the HTTP operations, on the bus."""

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final

from atoll.bus import (
    Bus,
    KeyValue,
    ObjectInfo,
    ObjectStore,
    StreamMessage,
    publish,
    read_stream,
)
from atoll.errors import AtollError, MessageError, NotFoundError
from atoll.sealing.release import KeyRelease
from atoll.telemetry import wiring
from atoll.telemetry.context import extract, render
from atoll.telemetry.tracing import Tracer
from atoll.wire import cloudevents, endpoints, schema, subjects, topology
from atoll.wire.cloudevents import Event
from atoll.wire.messages import (
    EvidenceRecord,
    JobEvent,
    KeysReply,
    KeysRequest,
    OutcomeRecord,
)
from atoll.wire.topology_types import ObjectBucket
from atoll_gateway.adapters import stored
from atoll_gateway.assets import TENANT_HEADER, tenant_of
from atoll_gateway.http.ports import Stored, Told

ASK_S: Final = 5.0

_log = logging.getLogger(__name__)


class BusEvidence:
    """Bucket `evidence`, key: enclave id."""

    def __init__(self, bus: Bus) -> None:
        self._kv = KeyValue(bus, topology.EVIDENCE)

    async def get(self, enclave_id: str) -> EvidenceRecord | None:
        entry = await self._kv.get(enclave_id)
        if entry is None or entry.value is None:
            return None
        return stored(EvidenceRecord, entry.value)


class BusOutcomes:
    """Bucket `outcomes`, key: `<job id>.<attempt>`."""

    def __init__(self, bus: Bus) -> None:
        self._kv = KeyValue(bus, topology.OUTCOMES)

    async def get(self, job_id: str, attempt: int) -> OutcomeRecord | None:
        entry = await self._kv.get(f"{job_id}.{attempt}")
        if entry is None or entry.value is None:
            return None
        return stored(OutcomeRecord, entry.value)


class BusAttestorKeys:
    """Endpoint `atoll.v1.attest.keys`."""

    def __init__(self, bus: Bus, tracer: Tracer) -> None:
        self._bus = bus
        self._tracer = tracer

    async def jwks(self) -> str:
        reply = await self._bus.request(
            endpoints.KEYS.subject.of(),
            schema.encode(KeysRequest()),
            timeout_s=ASK_S,
            headers=wiring.headers(self._tracer),
        )
        return stored(KeysReply, reply.payload).jwks


class BusReleases:
    """Subject `atoll.v1.enclave.<id>.release`; the same release twice is stored once."""

    def __init__(self, bus: Bus, tracer: Tracer) -> None:
        self._bus = bus
        self._tracer = tracer

    async def publish(self, enclave_id: str, release: KeyRelease) -> None:
        await publish_release(
            self._bus, enclave_id, schema.encode(release), wiring.headers(self._tracer)
        )


async def publish_release(
    bus: Bus, enclave_id: str, release: bytes, headers: Mapping[str, str]
) -> None:
    """Send an encoded release to an enclave; durable when this returns."""
    await publish(
        bus,
        subjects.RELEASE.of(enclave_id),
        release,
        msg_id=f"release.{enclave_id}.{hashlib.sha256(release).hexdigest()}",
        headers=headers,
    )


class BusEvents:
    """Stream `EVENTS`: of one job, or all of it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def of_job(self, job_id: str, *, after: int, follow: bool) -> AsyncGenerator[Told, None]:
        # A job has a few dozen events: reading over the first ones is cheaper than an index.
        subject = subjects.HISTORY.under(None, cloudevents.JOB, job_id)
        messages = read_stream(self._bus, topology.EVENTS.name, subject, follow=follow)
        async with aclosing(messages):
            async for message in messages:
                event = _event(message)
                if isinstance(event, JobEvent) and event.seq > after:
                    after = event.seq
                    yield _told(message, event, event.seq)

    async def of_all(self, *, after: int, follow: bool) -> AsyncGenerator[Told, None]:
        messages = read_stream(
            self._bus,
            topology.EVENTS.name,
            subjects.HISTORY.wildcard,
            start_seq=after + 1,
            follow=follow,
        )
        async with aclosing(messages):
            async for message in messages:
                try:
                    event = _event(message)
                except AtollError as error:
                    # One unreadable entry must not hide all others.
                    _log.error("event %d is unreadable: %s", message.seq, error.message)
                    continue
                yield _told(message, event, message.seq)


def _event(message: StreamMessage) -> Event:
    try:
        return cloudevents.read(message.subject, message.headers, message.payload)
    except MessageError as error:
        raise AtollError(f"stored event: {error.message}") from error


def _told(message: StreamMessage, event: Event, number: int) -> Told:
    context = extract(message.headers)
    return Told(
        number=number,
        place=message.seq,
        event=event,
        traceparent=render(context) if context else "",
        tenant=cloudevents.tenant_of(message.subject),
    )


class BusObjects:
    """One object bucket."""

    def __init__(self, bus: Bus, bucket: ObjectBucket) -> None:
        self._store = ObjectStore(bus, bucket)

    async def info(self, name: str) -> Stored | None:
        try:
            return _describe(await self._store.info(name))
        except NotFoundError:
            return None

    async def get(self, name: str) -> tuple[Stored, AsyncIterator[bytes]] | None:
        try:
            info, chunks = await self._store.get(name)
        except NotFoundError:
            return None
        return _describe(info), chunks

    async def put(self, name: str, chunks: AsyncIterable[bytes], tenant: str) -> Stored:
        return _describe(await self._store.put(name, chunks, headers={TENANT_HEADER: tenant}))


def _describe(info: ObjectInfo) -> Stored:
    return Stored(size=info.size, sha256=info.digest, tenant=tenant_of(info))
