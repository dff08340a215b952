"""Entry point: join ledger, API, HTTP and the loops, serve until told to stop."""

import asyncio
import logging
import os
import secrets
import sys
import time
from functools import partial

from atoll import process
from atoll.audit import AuditWriter
from atoll.bus import Bus, BusConfig, Speaker, connect, login_from, require_jetstream
from atoll.errors import ConfigError
from atoll.telemetry import forward, wiring
from atoll.telemetry import names as spans
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics import wiring as metering
from atoll.telemetry.otel import ServiceTracing
from atoll.wire import level, topology
from atoll.wire.messages import Tee
from atoll.wire.upgrade import Kind
from atoll_gateway.adapters import BusOutlet, KvJobs, KvManifests, KvTokens, KvWithdrawals
from atoll_gateway.api import GatewayApi
from atoll_gateway.assets import AssetDesk
from atoll_gateway.audited import AuditedHosts, AuditedJobs, AuditedLetters, AuditedTokens, Recorder
from atoll_gateway.config import PREFIX, GatewayConfig
from atoll_gateway.forwarder import TraceForwarder
from atoll_gateway.hosts import HostOrders, living
from atoll_gateway.http.app import make_app
from atoll_gateway.http.gate import Gate
from atoll_gateway.http.server import HttpServer
from atoll_gateway.http.sources import (
    BusAttestorKeys,
    BusEvents,
    BusEvidence,
    BusObjects,
    BusOutcomes,
    BusReleases,
)
from atoll_gateway.http.tls import Certificates
from atoll_gateway.index import JobIndex
from atoll_gateway.intake import IntakeWorker
from atoll_gateway.ledger import Ledger
from atoll_gateway.letters import LetterDesk
from atoll_gateway.placing import Placing
from atoll_gateway.reading import JobReader
from atoll_gateway.refusals import Refusals, has_room
from atoll_gateway.reports import ReportWorker
from atoll_gateway.service import gateway_service
from atoll_gateway.survey import surveying
from atoll_gateway.sweeper import Sweeper
from atoll_gateway.tending import Tending
from atoll_gateway.tokens import TokenDesk, TokenDirectory
from atoll_gateway.undertaker import Undertaker
from atoll_gateway.webhooks.address import AddressRules, networks
from atoll_gateway.webhooks.wired import Webhooks

_log = logging.getLogger("atoll_gateway")

FLUSH_S = 2.0


async def run(config: GatewayConfig, stop: asyncio.Event) -> None:
    """Serve until told to stop. The composition root: adapters are made here."""
    level.limit(config.protocol_newest)
    tees = _tees(config)
    first_token, limits, tls = config.first_token(), config.limits(), config.tls_files()
    certificates = None if tls is None else Certificates(tls)
    otlp = forward.from_env(os.environ)
    bus_config = BusConfig(
        url=config.nats_url,
        name=f"gateway {config.instance}",
        login=login_from(config.nats_creds_file, "gateway"),
        inbox_prefix=topology.inbox("gateway"),
        tls_ca_file=str(config.nats_ca_file) if config.nats_ca_file else None,
    )
    async with (
        connect(bus_config, logger=_log) as bus,
        metering.exporting(config.metrics_address, table.GATEWAY, services=bus) as exported,
        asyncio.TaskGroup() as group,
    ):
        await require_jetstream(bus)
        run_id = secrets.token_hex(8)
        speaker = Speaker(bus, Kind.GATEWAY, run_id, _now_ms())
        await speaker.join()
        tracing = ServiceTracing(spans.GATEWAY, wiring.bus_publisher(bus), instance=config.instance)
        jobs, manifests = KvJobs(bus), KvManifests(bus)
        refuses = config.unplaceable == "refuse"
        places = Placing(bus, manifests, _now_ms, partial(living, bus), refuses=refuses)
        outlet = BusOutlet(bus, places)
        ledger = Ledger(jobs, outlet, _now_ms, exported.meter)
        index = JobIndex()
        directory, tokens = TokenDirectory(), KvTokens(bus)
        desk = TokenDesk(tokens, directory, _now_ms)
        await desk.require(first_token)
        writer = AuditWriter(bus, f"gateway-{run_id}", _now_ms)
        recorder = Recorder(writer, tracing.tracer.current)
        api = GatewayApi(
            ledger=ledger,
            manifests_store=manifests,
            withdrawals=KvWithdrawals(bus),
            index=index,
            clock=_now_ms,
            tees=tees,
            places=places,
            context=tracing.tracer.current,
            meter=exported.meter,
        )
        webhooks = _webhooks(config, bus)
        refusals = Refusals(recorder, monotonic=time.monotonic, has_room=partial(has_room, bus))
        loops = [
            tracing.run(),
            refusals.run(),
            speaker.run(stop),
            index.follow(jobs),
            ReportWorker(bus, ledger, tracing.tracer).run(),
            *(webhooks.loops() if webhooks else ()),
            IntakeWorker(bus, api.submit, outlet, _now_ms, tracing.tracer).run(),
            Sweeper(ledger, index, _now_ms).run(),
            directory.follow(tokens),
            desk.run(),
            Undertaker(bus, ledger, places.consumers).run(),
            places.follow(),
            Tending(bus, places, jobs, _now_ms).run(),
            *surveying(exported, bus, index, places.consumers, _now_ms),
        ]
        if otlp is not None:
            loops.append(TraceForwarder(bus, otlp).run())
        if config.supervised:
            loops.append(process.wait_for_end_of_input(stop))
        tasks = [group.create_task(loop) for loop in loops]
        gate = Gate(
            directory, limits, clock=_now_ms, monotonic=time.monotonic, refused=refusals.note
        )
        audited, audited_tokens = AuditedJobs(api, recorder), AuditedTokens(desk, recorder)
        hosts = AuditedHosts(HostOrders(bus, _now_ms), recorder)
        app = make_app(
            gate=gate,
            jobs=audited,
            tokens=audited_tokens,
            hosts=hosts,
            manifests=manifests,
            evidence=BusEvidence(bus),
            outcomes=BusOutcomes(bus),
            attestor_keys=BusAttestorKeys(bus, tracing.tracer),
            releases=BusReleases(bus, tracing.tracer),
            assets=BusObjects(bus, topology.ASSETS),
            results=BusObjects(bus, topology.RESULTS),
            events=BusEvents(bus),
            webhooks=webhooks.api if webhooks else None,
            tracer=tracing.tracer,
            meter=exported.meter,
            max_asset=config.max_asset_bytes,
        )
        server = HttpServer(
            config.http_host,
            config.http_port,
            app,
            limits=limits,
            certificates=certificates,
            insecure=config.http_insecure,
        )
        # Until every token is known, a revoked one is not known as such.
        await directory.current.wait()
        service = gateway_service(
            bus,
            audited,
            JobReader(bus, audited, tracing.tracer),
            AssetDesk(bus),
            audited_tokens,
            AuditedLetters(LetterDesk(bus, ledger), recorder),
            hosts,
            tracing.tracer,
            webhooks.api if webhooks else None,
            exported.meter,
        )
        async with service, server:
            process.announce_ready(http=server.url, **exported.facts)
            await stop.wait()
        for task in tasks:
            task.cancel()
        await refusals.end(FLUSH_S)
        await speaker.leave()
        await tracing.flush(FLUSH_S)
    if speaker.refused is not None:
        raise speaker.refused


def _webhooks(config: GatewayConfig, bus: Bus) -> Webhooks | None:
    if config.webhook_key_file is None:
        return None
    try:
        key = config.webhook_key_file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{config.webhook_key_file} cannot be read as a key", code="config.unreadable"
        ) from error
    rules = AddressRules(
        loopback=config.webhook_loopback, networks=networks(config.webhook_networks)
    )
    return Webhooks(bus, events=BusEvents(bus), key=key, rules=rules, clock=_now_ms)


def _tees(config: GatewayConfig) -> frozenset[Tee]:
    try:
        return frozenset(Tee(name) for name in config.tees)
    except ValueError as error:
        raise ConfigError(f"{PREFIX}TEES: {error}", code="config.invalid") from error


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    return process.run("atoll-gateway", GatewayConfig, PREFIX, os.environ, run)


if __name__ == "__main__":
    sys.exit(main())
