"""The bus as a client sees it."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

from atoll.bus import (
    Bus,
    BusConfig,
    KeyValue,
    ObjectInfo,
    ObjectStore,
    Signed,
    connect,
    in_force,
    last_message,
    publish,
    read_stream,
    require_jetstream,
)
from atoll.bus.jetstream import api
from atoll.client.profile import Profile
from atoll.credentials.creds import Credentials
from atoll.errors import ConflictError, MessageError, NotFoundError
from atoll.sealing.release import KeyRelease
from atoll.telemetry import otlp, wiring
from atoll.telemetry.span import Span
from atoll.telemetry.tracing import Tracer
from atoll.wire import cloudevents, endpoints, level, schema, subjects, topology
from atoll.wire.endpoints import Endpoint
from atoll.wire.hosts import HostOrder, HostRecord
from atoll.wire.messages import (
    AgreedManifest,
    EvidenceRecord,
    JobEvent,
    JobList,
    JobListRequest,
    JobRequest,
    JobState,
    JobView,
    OutcomeRecord,
    SubmitRequest,
    Withdrawal,
    WithdrawRequest,
)

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

TIMEOUT_S = 10.0


class AtollClient:
    """Every call raises UnreachableError when nobody answers, and what the other side refused
    as the error it was refused with."""

    def __init__(self, bus: Bus, tracer: Tracer) -> None:
        self.bus = bus
        self.tracer = tracer
        self._assets = ObjectStore(bus, topology.ASSETS.name)
        self._results = ObjectStore(bus, topology.RESULTS.name)

    async def submit(self, agreed: AgreedManifest, idempotency_key: str) -> JobView:
        """Submit; safe to repeat with the same key."""
        request = SubmitRequest(agreed=agreed, idempotency_key=idempotency_key)
        return await self.ask(endpoints.SUBMIT, request)

    async def get(self, job_id: str) -> JobView:
        return await self.ask(endpoints.GET, JobRequest(job_id=job_id))

    async def list(self, *, state: JobState | None = None, limit: int = 100) -> JobList:
        return await self.ask(endpoints.LIST, JobListRequest(state=state, limit=limit))

    async def cancel(self, job_id: str) -> JobView:
        return await self.ask(endpoints.CANCEL, JobRequest(job_id=job_id))

    async def withdraw(self, withdrawal: Withdrawal) -> tuple[str, ...]:
        """Take a consent back; the jobs that ended for it."""
        reply = await self.ask(endpoints.WITHDRAW, WithdrawRequest(withdrawal=withdrawal))
        return reply.ended

    async def events(self, job_id: str | None, *, follow: bool) -> AsyncGenerator[JobEvent, None]:
        """A job's events (or all jobs') from the first on, in order, each once.

        With `follow` it waits for more; the caller stops when it has seen enough.
        """
        pattern = subjects.EVENT.under("job", job_id) if job_id else subjects.EVENT.under("job")
        messages = read_stream(self.bus, topology.EVENTS.name, pattern, follow=follow)
        seen = 0
        async with aclosing(messages):
            async for item in messages:
                event = cloudevents.read_job(item.headers, item.payload)
                if job_id is not None:
                    if event.seq <= seen:
                        continue
                    seen = event.seq
                yield event

    async def event_log(self, *, after: int) -> AsyncGenerator[tuple[int, JobEvent | None], None]:
        """All jobs' events behind the place `after` of their stream, each with its own place.

        It waits for more, also while the bus is away. What is no event comes as None.
        """
        pattern = subjects.EVENT.under("job")
        messages = read_stream(
            self.bus, topology.EVENTS.name, pattern, start_seq=after + 1, follow=True
        )
        async with aclosing(messages):
            async for item in messages:
                try:
                    yield item.seq, cloudevents.read_job(item.headers, item.payload)
                except MessageError:
                    yield item.seq, None

    async def evidence(self, enclave_id: str) -> EvidenceRecord:
        """Raises: NotFoundError `evidence.not_found`."""
        raw = await self._value(topology.EVIDENCE.name, enclave_id)
        if raw is None:
            raise NotFoundError(
                f"there is no evidence of enclave {enclave_id!r}", code="evidence.not_found"
            )
        return schema.decode(EvidenceRecord, raw)

    async def manifest(self, digest: str) -> AgreedManifest:
        """Raises: NotFoundError `manifest.not_found`."""
        raw = await self._value(topology.MANIFESTS.name, digest)
        if raw is None:
            raise NotFoundError(f"there is no manifest {digest}", code="manifest.not_found")
        return schema.decode(AgreedManifest, raw)

    async def outcome(
        self, job_id: str, attempt: int, *, digest: str | None = None
    ) -> OutcomeRecord:
        """What an attempt left.

        Args:
            job_id: the job.
            attempt: which attempt at it.
            digest: the outcome's, if it must be the one that the ledger names.

        Raises:
            NotFoundError: `result.not_found`.
            ConflictError: `result.other_outcome`: it is not the one of this digest.
        """
        raw = await self._value(topology.OUTCOMES.name, f"{job_id}.{attempt}")
        if raw is None:
            raise no_result(job_id)
        if digest is not None and schema.sha256_hex(raw) != digest:
            raise ConflictError(
                f"what is stored as the result of job {job_id} is not what the ledger names",
                code="result.other_outcome",
                hint="it is of an enclave that was given up; the job's own result is lost",
            )
        return schema.decode(OutcomeRecord, raw)

    async def release(self, enclave_id: str, release: KeyRelease) -> None:
        """Send a key release to an enclave; durable when this returns."""
        await publish(
            self.bus,
            subjects.RELEASE.of(enclave_id),
            schema.encode(release),
            msg_id=f"release.{enclave_id}.{release.asset_name}.{release.signature[:8].hex()}",
            headers=wiring.headers(self.tracer),
        )

    async def upload(self, asset_id: str, chunks: Iterator[bytes]) -> ObjectInfo:
        return await self._assets.put(asset_id, chunks)

    async def upload_resumable(
        self, asset_id: str, chunks: Iterable[bytes], told: Callable[[int, int], None]
    ) -> ObjectInfo:
        """Store what is not stored yet of a sealed asset, which has its id as upload id."""
        return await self._assets.put_resumable(asset_id, chunks, upload_id=asset_id, told=told)

    async def asset(self, asset_id: str) -> ObjectInfo | None:
        """What the bus says of a sealed asset, or None when it has none of that id."""
        try:
            return await self._assets.info(asset_id)
        except NotFoundError:
            return None

    async def delete_asset(self, asset_id: str) -> bool:
        """Erase a sealed asset, or what is stored of it; whether it was there as a whole."""
        try:
            await self._assets.delete(asset_id)
        except NotFoundError:
            await self._assets.abandon(asset_id)
            return False
        return True

    async def result(self, asset_id: str) -> tuple[ObjectInfo, AsyncGenerator[bytes, None]]:
        """The sealed result, in order. Use `aclosing`."""
        return await self._results.get(asset_id)

    async def hosts(self) -> tuple[HostRecord, ...]:
        """The hosts that have announced themselves in the last half minute."""
        entries = await KeyValue(self.bus, topology.HOSTS.name).entries()
        return tuple(
            schema.decode(HostRecord, entry.value) for entry in entries if entry.value is not None
        )

    async def host_orders(self) -> dict[str, HostOrder]:
        """What operators want, by host; nothing stands here for a host that nobody drained."""
        entries = await KeyValue(self.bus, topology.HOST_ORDERS.name).entries()
        orders = (schema.decode(HostOrder, entry.value) for entry in entries if entry.value)
        return {order.host_id: order for order in orders}

    async def spans(self, trace_id: str) -> tuple[Span, ...]:
        """Every span of a trace that has arrived so far."""
        subject = subjects.TELEMETRY_TRACES.of(trace_id)
        if await last_message(self.bus, topology.TELEMETRY.name, subject) is None:
            return ()
        found: list[Span] = []
        messages = read_stream(self.bus, topology.TELEMETRY.name, subject, follow=False)
        async with aclosing(messages):
            async for item in messages:
                try:
                    found.extend(otlp.decode_spans(item.payload))
                except MessageError:
                    continue  # one bad batch does not hide the others
        return tuple(found)

    async def dead_letters(self) -> int:
        """How many messages nobody could process; only the operator may see them."""
        info = await api(self.bus, f"STREAM.INFO.{topology.DEAD.name}")
        state = info.get("state")
        count = state.get("messages") if isinstance(state, dict) else None
        if type(count) is not int:
            raise MessageError("not the state of a stream", code="bus.reply")
        return count

    async def ask(
        self, endpoint: Endpoint[RequestT, ReplyT], request: RequestT, *, retry: bool = True
    ) -> ReplyT:
        """Any request of the table; without `retry` one that must not be repeated."""
        reply = await self.bus.request(
            endpoint.subject.of(),
            schema.encode(request),
            timeout_s=TIMEOUT_S,
            headers=wiring.headers(self.tracer),
            retry=retry,
        )
        return schema.decode(endpoint.reply, reply.payload)

    async def _value(self, bucket: str, key: str) -> bytes | None:
        entry = await KeyValue(self.bus, bucket).get(key)
        return None if entry is None else entry.value


def no_result(job_id: str) -> NotFoundError:
    """The job left no result."""
    return NotFoundError(
        f"job {job_id} has no result",
        code="result.not_found",
        hint="`atoll jobs show` says in which state it is and why",
    )


@asynccontextmanager
async def open_client(profile: Profile, tracer: Tracer) -> AsyncIterator[AtollClient]:
    """Connect by a profile.

    Raises:
        UnreachableError: nobody answers there.
        RefusedError: the login is not accepted.
        InputError: `creds.invalid`: there is no login in the profile.
        ConfigError: `bus.server_too_old`, `bus.no_jetstream`; `protocol.too_old`,
            `protocol.too_new`: this release does not speak the level in force.
    """
    credentials = Credentials.from_text(profile.nats_creds)
    config = BusConfig(
        url=profile.nats_url,
        name="atoll client",
        login=Signed("client", lambda: credentials),
        inbox_prefix=topology.inbox("client"),
        connect_timeout_s=5.0,
        tls_ca=profile.ca,
    )
    async with connect(config) as bus:
        await require_jetstream(bus)
        level.take_part((await in_force(bus)).level)
        yield AtollClient(bus, tracer)
