"""The bus as a client sees it."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TypeVar

from atoll.bus import (
    Bus,
    BusConfig,
    KeyValue,
    Signed,
    connect,
    in_force,
    last_message,
    read_stream,
    require_jetstream,
)
from atoll.bus.jetstream import api
from atoll.bus.objects import CLEAN_UP_S
from atoll.bus.upload import Told
from atoll.client.profile import Profile
from atoll.client.stored_assets import StoredAssets
from atoll.credentials.creds import Credentials
from atoll.errors import AtollError, ConflictError, MessageError, NotFoundError, RefusedError
from atoll.sealing.release import KeyRelease
from atoll.telemetry import otlp, wiring
from atoll.telemetry.span import Span
from atoll.telemetry.tracing import Tracer
from atoll.wire import cloudevents, endpoints, level, schema, subjects, tenancy, topology
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.assets import AssetView
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
from atoll.wire.reading import (
    ChunkRequest,
    EvidenceRequest,
    OutcomeRequest,
    ReleaseRequest,
    ResultRequest,
    ResultView,
)

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

TIMEOUT_S = 10.0


class AtollClient:
    """Every call raises UnreachableError when nobody answers, and what the other side refused
    as the error it was refused with."""

    def __init__(self, bus: Bus, tracer: Tracer, tenant: str = DEFAULT_TENANT) -> None:
        self.bus = bus
        self.tracer = tracer
        self.is_house = tenant == tenancy.HOUSE
        """Whether ours is the operator's own tenant, which sees more than its jobs."""
        self.history = topology.events_of(tenant).name
        """The stream of our tenant's events."""
        self._assets = StoredAssets(bus, self.ask)

    async def submit(
        self, agreed: AgreedManifest, idempotency_key: str, *, guests: tuple[str, ...] = ()
    ) -> JobView:
        """Submit; safe to repeat with the same key. The tenants `guests` may take part."""
        request = SubmitRequest(agreed=agreed, idempotency_key=idempotency_key, guests=guests)
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
        messages = read_stream(self.bus, self.history, pattern, follow=follow)
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
        messages = read_stream(self.bus, self.history, pattern, start_seq=after + 1, follow=True)
        async with aclosing(messages):
            async for item in messages:
                try:
                    yield item.seq, cloudevents.read_job(item.headers, item.payload)
                except MessageError:
                    yield item.seq, None

    async def newest_event(self) -> int:
        """The place of the newest event of a job; 0: there is none."""
        newest = await last_message(self.bus, self.history, subjects.EVENT.under("job"))
        return 0 if newest is None else newest.seq

    async def evidence(self, enclave_id: str) -> EvidenceRecord:
        """Raises: NotFoundError `evidence.not_found`."""
        return await self.ask(endpoints.EVIDENCE, EvidenceRequest(enclave_id=enclave_id))

    async def manifest(self, job_id: str) -> AgreedManifest:
        """Raises: NotFoundError `job.not_found`, `manifest.not_found`."""
        return await self.ask(endpoints.MANIFEST, JobRequest(job_id=job_id))

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
        try:
            record = await self.ask(
                endpoints.OUTCOME, OutcomeRequest(job_id=job_id, attempt=attempt)
            )
        except NotFoundError as error:
            if error.code != "outcome.not_found":
                raise
            raise no_result(job_id) from error
        if digest is not None and schema.sha256_hex(schema.encode(record)) != digest:
            raise ConflictError(
                f"what is stored as the result of job {job_id} is not what the ledger names",
                code="result.other_outcome",
                hint="it is of an enclave that was given up; the job's own result is lost",
            )
        return record

    async def release(self, enclave_id: str, release: KeyRelease) -> None:
        """Send a key release to an enclave; durable when this returns."""
        request = ReleaseRequest(enclave_id=enclave_id, release=schema.encode(release))
        await self.ask(endpoints.RELEASE, request)

    async def upload(self, asset_id: str, chunks: Iterable[bytes]) -> AssetView:
        """Store a sealed asset; of what fails, nothing stays."""
        upload_id = secrets.token_hex(32)
        try:
            return await self._assets.put(asset_id, chunks, upload_id=upload_id, resumable=False)
        except BaseException:
            with suppress(AtollError, TimeoutError):
                async with asyncio.timeout(CLEAN_UP_S):
                    await self._assets.erase(asset_id, upload_id)
            raise

    async def upload_resumable(
        self, asset_id: str, upload_id: str, chunks: Iterable[bytes], told: Told
    ) -> AssetView:
        """Store what is not stored yet of a sealed asset; only its owner knows the upload id."""
        return await self._assets.put(
            asset_id, chunks, upload_id=upload_id, resumable=True, told=told
        )

    async def asset(self, asset_id: str) -> AssetView | None:
        """What the bus says of a sealed asset of ours, or None when it has none of that id."""
        return await self._assets.get(asset_id)

    async def delete_asset(self, asset_id: str, upload_id: str | None = None) -> bool:
        """Erase a sealed asset, or what is stored of it; whether it was there as a whole."""
        return await self._assets.erase(asset_id, upload_id)

    async def result(
        self, job_id: str, result_id: str
    ) -> tuple[ResultView, AsyncGenerator[bytes, None]]:
        """The sealed result, in order. Use `aclosing`.

        Raises:
            NotFoundError: `result.not_found`, also from the iterator.
        """
        view = await self.ask(endpoints.RESULT, ResultRequest(job_id=job_id, result_id=result_id))
        return view, self._chunks(job_id, result_id, view.chunks)

    async def _chunks(self, job_id: str, result_id: str, count: int) -> AsyncGenerator[bytes, None]:
        after = 0
        for _ in range(count):
            request = ChunkRequest(job_id=job_id, result_id=result_id, after=after)
            chunk = await self.ask(endpoints.RESULT_CHUNK, request)
            after = chunk.place
            yield chunk.content

    async def hosts(self) -> tuple[HostRecord, ...]:
        """The hosts that have announced themselves in the last half minute.

        Raises:
            RefusedError: `tenant.not_house`; so do those below.
        """
        self.require_house("hosts")
        entries = await KeyValue(self.bus, topology.HOSTS.name).entries()
        return tuple(
            schema.decode(HostRecord, entry.value) for entry in entries if entry.value is not None
        )

    async def host_orders(self) -> dict[str, HostOrder]:
        """What operators want, by host; nothing stands here for a host that nobody drained."""
        self.require_house("hosts")
        entries = await KeyValue(self.bus, topology.HOST_ORDERS.name).entries()
        orders = (schema.decode(HostOrder, entry.value) for entry in entries if entry.value)
        return {order.host_id: order for order in orders}

    async def spans(self, trace_id: str) -> tuple[Span, ...]:
        """Every span of a trace that has arrived so far."""
        self.require_house("traces")
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
        self.require_house("dead letters")
        info = await api(self.bus, f"STREAM.INFO.{topology.DEAD.name}")
        state = info.get("state")
        count = state.get("messages") if isinstance(state, dict) else None
        if type(count) is not int:
            raise MessageError("not the state of a stream", code="bus.reply")
        return count

    def require_house(self, what: str) -> None:
        """Raises: RefusedError `tenant.not_house`."""
        if not self.is_house:
            raise RefusedError(
                f"{what} are for the tenant {tenancy.HOUSE!r}, the operator's own",
                code="tenant.not_house",
            )

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
        domain=tenancy.DOMAIN,
    )
    history = topology.events_of(profile.tenant).name
    async with connect(config) as bus:
        await require_jetstream(bus, f"STREAM.INFO.{history}")
        level.take_part((await in_force(bus)).level)
        yield AtollClient(bus, tracer, profile.tenant)
