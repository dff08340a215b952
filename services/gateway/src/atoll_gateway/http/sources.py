"""The ports of the HTTP operations, on the bus."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import Final

from atoll.bus import Bus, KeyValue, ObjectInfo, ObjectStore, publish, read_stream
from atoll.errors import NotFoundError
from atoll.sealing.release import KeyRelease
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import endpoints, schema, subjects, topology
from atoll.wire.messages import (
    EvidenceRecord,
    JobEvent,
    KeysReply,
    KeysRequest,
    OutcomeRecord,
)
from atoll.wire.topology_types import ObjectBucket
from atoll_gateway.adapters import stored
from atoll_gateway.http.ports import Stored

ASK_S: Final = 5.0


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
        payload = schema.encode(release)
        await publish(
            self._bus,
            subjects.RELEASE.of(enclave_id),
            payload,
            msg_id=f"release.{hashlib.sha256(payload).hexdigest()}",
            headers=wiring.headers(self._tracer),
        )


class BusEvents:
    """Stream `EVENTS`, filtered to one job."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def read(self, job_id: str, *, follow: bool) -> AsyncGenerator[JobEvent, None]:
        subject = subjects.EVENT.under("job", job_id)
        messages = read_stream(self._bus, topology.EVENTS.name, subject, follow=follow)
        async with aclosing(messages):
            async for message in messages:
                yield stored(JobEvent, message.payload)


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

    async def put(self, name: str, chunks: AsyncIterable[bytes]) -> Stored:
        return _describe(await self._store.put(name, chunks))


def _describe(info: ObjectInfo) -> Stored:
    return Stored(size=info.size, sha256=info.digest)
