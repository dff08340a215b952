"""A gateway over a real nats-server, with HTTP on a free port."""

import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio

from atoll.bus import Bus, Endpoint, Service, connect, provision
from atoll.telemetry.span import Recorder
from atoll.wire import endpoints, schema, topology
from atoll.wire.messages import KeysReply, KeysRequest, Tee, VerificationKey
from atoll_gateway.adapters import BusOutlet, KvJobs, KvManifests, KvWithdrawals
from atoll_gateway.api import GatewayApi
from atoll_gateway.http import sources
from atoll_gateway.http.app import make_app
from atoll_gateway.http.server import HttpServer
from atoll_gateway.index import JobIndex
from atoll_gateway.ledger import Ledger
from atoll_gateway.service import gateway_service
from integration.gateway.client import TOKEN, Gateway
from support.nats import bus_config, running

KEYS = KeysReply(keys=(VerificationKey(kid="k1", public_key=bytes(32)),), jwks='{"keys":[]}')


def attestor(bus: Bus) -> Service:
    """Answers what its keys are, and nothing else."""

    async def answer(payload: bytes, _: Mapping[str, str]) -> bytes:
        schema.decode(KeysRequest, payload)
        return schema.encode(KEYS)

    row = endpoints.KEYS
    served = [Endpoint(name=row.name, subject=row.subject.template, handler=answer)]
    return Service(bus, name="attestor", version="0.0.0", description="a test", endpoints=served)


@pytest_asyncio.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """Everything of a gateway but its background work."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running(tmp_path / "nats"))
        bus = await stack.enter_async_context(connect(bus_config(server)))
        await provision(
            bus,
            streams=topology.STREAMS,
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
        ledger = Ledger(KvJobs(bus), BusOutlet(bus), lambda: time.time_ns() // 1_000_000)
        manifests, index = KvManifests(bus), JobIndex()
        api = GatewayApi(
            ledger=ledger,
            manifests_store=manifests,
            withdrawals=KvWithdrawals(bus),
            index=index,
            clock=lambda: time.time_ns() // 1_000_000,
            tees=frozenset({Tee.SIMULATED}),
            context=tracer.current,
        )
        app = make_app(
            token=TOKEN,
            jobs=api,
            manifests=manifests,
            evidence=sources.BusEvidence(bus),
            outcomes=sources.BusOutcomes(bus),
            attestor_keys=sources.BusAttestorKeys(bus, tracer),
            releases=sources.BusReleases(bus, tracer),
            assets=sources.BusObjects(bus, topology.ASSETS),
            results=sources.BusObjects(bus, topology.RESULTS),
            events=sources.BusEvents(bus),
            tracer=tracer,
            max_asset=16 << 20,
            idle_s=0.5,
        )
        await stack.enter_async_context(gateway_service(bus, api, tracer))
        http = await stack.enter_async_context(HttpServer("127.0.0.1", 0, app, grace_s=1.0))
        yield Gateway(bus=bus, ledger=ledger, index=index, http=http, nats=server)
