"""A gateway over a real nats-server, with HTTP on a free port."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest_asyncio

from atoll.audit import AuditWriter
from atoll.bus import Bus, Endpoint, Service, connect, provision
from atoll.telemetry.span import Recorder
from atoll.wire import endpoints, schema, topology
from atoll.wire.messages import KeysReply, KeysRequest, Tee, VerificationKey
from atoll.wire.topology_types import Stream
from atoll_cli.nats_server import EmbeddedNats
from atoll_gateway.adapters import BusOutlet, KvJobs, KvManifests, KvTokens, KvWithdrawals
from atoll_gateway.api import GatewayApi
from atoll_gateway.assets import AssetDesk
from atoll_gateway.audited import AuditedHosts, AuditedJobs, AuditedLetters, AuditedTokens
from atoll_gateway.audited import Recorder as AuditRecorder
from atoll_gateway.hosts import HostOrders
from atoll_gateway.http import sources
from atoll_gateway.http.app import make_app
from atoll_gateway.http.gate import Gate
from atoll_gateway.http.limits import Limits, Rate
from atoll_gateway.http.server import HttpServer
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.letters import LetterDesk
from atoll_gateway.placing import Placing
from atoll_gateway.reading import JobReader
from atoll_gateway.service import gateway_service
from atoll_gateway.tokens import TokenDesk, TokenDirectory
from atoll_gateway.webhooks.address import AddressRules
from atoll_gateway.webhooks.wired import Webhooks
from integration.gateway.client import Gateway
from support.access import records
from support.nats import bus_config, running

KEYS = KeysReply(keys=(VerificationKey(kid="k1", public_key=bytes(32)),), jwks='{"keys":[]}')


PLENTY = Rate(burst=100_000, per_s=100_000)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def attestor(bus: Bus) -> Service:
    """Answers what its keys are, and nothing else."""

    async def answer(payload: bytes, _: Mapping[str, str]) -> bytes:
        schema.decode(KeysRequest, payload)
        return schema.encode(KEYS)

    row = endpoints.KEYS
    served = [Endpoint(name=row.name, subject=row.subject.template, handler=answer)]
    return Service(bus, name="attestor", version="0.0.0", description="a test", endpoints=served)


@asynccontextmanager
async def gateway_on(
    server: EmbeddedNats, *, streams: Sequence[Stream] = topology.STREAMS
) -> AsyncIterator[Gateway]:
    """Everything of a gateway but its background work."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(bus_config(server)))
        await provision(
            bus,
            streams=streams,
            consumers=topology.CONSUMERS,
            buckets=topology.BUCKETS,
            object_buckets=topology.OBJECT_BUCKETS,
        )
        await stack.enter_async_context(attestor(bus))
        counter = itertools.count(1)
        tracer = Recorder(
            "atoll-gateway",
            instance="test",
            clock=time.time_ns,
            random=lambda size: next(counter).to_bytes(size, "big"),
        )
        manifests, index = KvManifests(bus), JobIndex()
        index.caught_up()
        places = Placing(bus, manifests, now_ms)
        ledger = Ledger(KvJobs(bus), BusOutlet(bus, places), now_ms)
        api = GatewayApi(
            ledger=ledger,
            manifests_store=manifests,
            withdrawals=KvWithdrawals(bus),
            index=index,
            clock=now_ms,
            tees=frozenset({Tee.SIMULATED}),
            places=places,
            context=tracer.current,
        )
        directory, store = TokenDirectory(), KvTokens(bus)
        desk = TokenDesk(store, directory, now_ms)
        for record in records(now_ms()):
            await store.create(record)
        recorder = AuditRecorder(AuditWriter(bus, "gateway-test", now_ms), tracer.current)
        audited, audited_tokens = AuditedJobs(api, recorder), AuditedTokens(desk, recorder)
        hosts = AuditedHosts(HostOrders(bus, now_ms), recorder)
        limits = Limits(address=PLENTY, token=PLENTY, failures=PLENTY, head_s=1.0)
        app = make_app(
            gate=Gate(directory, limits, clock=now_ms, monotonic=time.monotonic),
            jobs=audited,
            tokens=audited_tokens,
            hosts=hosts,
            manifests=manifests,
            evidence=sources.BusEvidence(bus),
            outcomes=sources.BusOutcomes(bus),
            attestor_keys=sources.BusAttestorKeys(bus, tracer),
            releases=sources.BusReleases(bus, tracer),
            assets=sources.BusObjects(bus, topology.ASSETS),
            results=sources.BusObjects(bus, topology.RESULTS),
            events=sources.BusEvents(bus),
            webhooks=Webhooks(
                bus,
                events=sources.BusEvents(bus),
                key=bytes(32),
                rules=AddressRules(),
                clock=lambda: time.time_ns() // 1_000_000,
            ).api,
            tracer=tracer,
            max_asset=16 << 20,
            idle_s=0.5,
        )
        await stack.enter_async_context(
            gateway_service(
                bus,
                audited,
                JobReader(bus, audited, tracer),
                AssetDesk(bus),
                audited_tokens,
                AuditedLetters(LetterDesk(bus, ledger), recorder),
                hosts,
                tracer,
            )
        )
        listening = HttpServer("127.0.0.1", 0, app, grace_s=1.0, limits=limits)
        http = await stack.enter_async_context(listening)
        following = asyncio.get_running_loop().create_task(directory.follow(store))
        await directory.current.wait()
        yield Gateway(
            bus=bus,
            ledger=ledger,
            index=index,
            http=http,
            nats=server,
            directory=directory,
            desk=desk,
        )
        following.cancel()
        await asyncio.wait([following])


@pytest_asyncio.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """One on a server of its own."""
    async with running(tmp_path / "nats") as server, gateway_on(server) as here:
        yield here
