"""Entry point: read key, policy owners and roots, answer on the bus until told to stop."""

import asyncio
import logging
import os
import secrets
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from atoll import process, version
from atoll.audit import AuditWriter
from atoll.bus import (
    BusConfig,
    Endpoint,
    Service,
    Speaker,
    connect,
    login_from,
    require_jetstream,
)
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics import wiring as metering
from atoll.telemetry.metrics.metric import Meter
from atoll.telemetry.otel import ServiceTracing
from atoll.telemetry.tracing import Tracer
from atoll.wire import endpoints, level, topology
from atoll.wire.admission_messages import RevokedKind
from atoll.wire.messages import NonceReply, NonceRequest
from atoll.wire.upgrade import Kind
from atoll.wire.verification import VerifyReply, VerifyRequest
from atoll_attestor import files, ports
from atoll_attestor.admitting import Admitter
from atoll_attestor.bus_ports import BusArchive, BusEvidence, BusPolicies
from atoll_attestor.collateral.cache import CrlCache
from atoll_attestor.collateral.store import DocumentStore
from atoll_attestor.collateral.supply import Supply
from atoll_attestor.config import PREFIX, AttestorConfig
from atoll_attestor.doorkeeper import BusRevocations, Doorkeeper
from atoll_attestor.judging import Judging
from atoll_attestor.setup import Setup
from atoll_attestor.verifier import Verifier

_log = logging.getLogger("atoll_attestor")

FLUSH_S = 2.0
DOOR_INBOX = "_INBOX_door"


async def run(config: AttestorConfig, stop: asyncio.Event) -> None:
    """Serve until told to stop. The composition root: adapters are made here."""
    level.limit(config.protocol_newest)
    setup = Setup.read(config)
    if setup.trust.has_simulated:
        _log.warning("SIMULATED TEE: evidence under a development root is believed here")
    ca = str(config.nats_ca_file) if config.nats_ca_file else None
    bus_config = BusConfig(
        url=config.nats_url,
        name="attestor",
        login=login_from(config.nats_creds_file, "attestor"),
        inbox_prefix=topology.inbox("attestor"),
        tls_ca_file=ca,
    )
    door_config = replace(
        bus_config,
        name="attestor at the door",
        login=login_from(config.door_creds_file, "door"),
        inbox_prefix=DOOR_INBOX,
    )
    async with (
        connect(bus_config, logger=_log) as bus,
        connect(door_config, logger=_log) as door,
        metering.exporting(
            config.metrics_address, table.ATTESTOR, services=bus, door=door
        ) as exported,
        asyncio.TaskGroup() as group,
    ):
        meter = exported.meter
        await require_jetstream(bus)
        run_id = secrets.token_hex(8)
        speaker = Speaker(bus, Kind.ATTESTOR, run_id, _now_ms())
        await speaker.join()
        kid, _ = setup.keys.active
        tracing = ServiceTracing(spans.ATTESTOR, wiring.bus_publisher(bus), instance=kid)
        writer = AuditWriter(bus, f"attestor-{run_id}", _now_ms)
        policies = BusPolicies(bus, setup.owners, writer)
        await policies.load()
        supply = Supply(
            crls=CrlCache(bus, setup.trust),
            store=DocumentStore(bus, setup.trust),
            fetcher=setup.fetcher,
            sources=setup.sources,
        )
        await supply.load()
        revocations = BusRevocations(bus)
        await revocations.load()
        doorkeeper = Doorkeeper(bus, door, setup.door, policies, revocations, meter=meter)
        follow_rules(meter, policies, revocations)
        loops = [
            speaker.run(stop),
            revocations.follow(),
            doorkeeper.follow(),
            doorkeeper.sweep(),
            doorkeeper.serve(),
            *supply.loops(),
            tracing.run(),
            policies.follow(),
            files.follow(config.key_ring_file, setup.ring, setup.keys.use_bytes),
            files.follow(config.door_keys_file, setup.door_raw, setup.door.use_bytes),
        ]
        if config.supervised:
            loops.append(process.wait_for_end_of_input(stop))
        tasks = [group.create_task(loop) for loop in loops]
        archive, gathering = BusArchive(bus), setup.gathering(supply)
        verifier = setup.verifier(policies, archive, gathering, meter)
        judging = setup.judging(policies, archive, gathering)
        admitter = Admitter(
            verifier=verifier,
            ring=setup.door,
            evidence=BusEvidence(bus),
            revocations=revocations,
            ttl_s=config.admission_ttl_s,
            meter=meter,
        )
        service = Service(
            bus,
            name="atoll-attestor",
            version=version.VERSION,
            description="Appraises evidence and signs what it is worth.",
            endpoints=[
                *rows(verifier, judging, tracing.tracer),
                *admission_rows(admitter, doorkeeper, tracing.tracer),
            ],
            metadata={
                "simulated": str(setup.trust.has_simulated).lower(),
                **level.metadata(),
            },
            answered=metering.requests(meter),
        )
        async with service:
            process.announce_ready(kid=kid, **exported.facts)
            await stop.wait()
        for task in tasks:
            task.cancel()
        await speaker.leave()
        await tracing.flush(FLUSH_S)
    if speaker.refused is not None:
        raise speaker.refused


def follow_rules(meter: Meter, policies: ports.Policies, revocations: ports.Revocations) -> None:
    """What decides about enclaves, as metrics."""

    def of(kind: RevokedKind) -> float:
        return float(sum(each is kind for each, _ in tuple(revocations.now)))

    for kind in RevokedKind:
        meter.follow(table.REVOCATIONS, partial(of, kind), kind=kind.value)
    meter.follow(table.POLICY, lambda: float(policies.in_force is not None))


def rows(verifier: Verifier, judging: Judging, tracer: Tracer) -> list[Endpoint]:
    """The endpoints of `atoll.wire.endpoints` that the attestor owns."""

    async def nonce(request: NonceRequest) -> NonceReply:
        return await verifier.nonce(request, secrets.token_bytes(8))

    async def verify(request: VerifyRequest) -> VerifyReply:
        return await judging.verify(request, now=datetime.now(UTC))

    return [
        wiring.endpoint(endpoints.NONCE, nonce, tracer),
        wiring.endpoint(endpoints.APPRAISE, verifier.appraise, tracer),
        wiring.endpoint(endpoints.KEYS, verifier.published_keys, tracer),
        wiring.endpoint(endpoints.ACTIVATE, verifier.activate, tracer),
        wiring.endpoint(endpoints.VERIFY, verify, tracer),
    ]


def admission_rows(admitter: Admitter, doorkeeper: Doorkeeper, tracer: Tracer) -> list[Endpoint]:
    """Those about who may be on the bus."""
    return [
        wiring.endpoint(endpoints.ADMIT, admitter.admit, tracer),
        wiring.endpoint(endpoints.REVOKE, doorkeeper.revoke, tracer),
        wiring.endpoint(endpoints.REINSTATE, doorkeeper.reinstate, tracer),
        wiring.endpoint(endpoints.REVOCATIONS, doorkeeper.revocations, tracer),
    ]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    return process.run("atoll-attestor", AttestorConfig, PREFIX, os.environ, run)


if __name__ == "__main__":
    sys.exit(main())
