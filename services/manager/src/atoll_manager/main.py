"""Entry point: join the parts, announce the host, take work, hand it back on a stop."""

import asyncio
import logging
import os
import socket
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from atoll import process, version
from atoll.bus import BusConfig, Speaker, connect, login_from, require_jetstream
from atoll.errors import ConfigError
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics import wiring as metering
from atoll.telemetry.otel import ServiceTracing
from atoll.wire import level, topology
from atoll.wire.egress import Allowance
from atoll.wire.hosts import HostRecord, HostWish
from atoll.wire.placement import SpawnClass, misfit, plain
from atoll.wire.upgrade import Kind
from atoll_manager import capacity
from atoll_manager.attempt import AttemptRunner, Timing
from atoll_manager.classes import Classes
from atoll_manager.config import PREFIX, ManagerConfig
from atoll_manager.drivers.apart import EGRESS_SETTING
from atoll_manager.drivers.driver import EventKind, HostDriver
from atoll_manager.driving import Driving, prepared
from atoll_manager.duty import Duty
from atoll_manager.keys import AttestorKeys
from atoll_manager.launched import LaunchedImage
from atoll_manager.memory import Room
from atoll_manager.observing import AttemptObserver, followed
from atoll_manager.orders import HostOrders, host_state
from atoll_manager.patience import Patience
from atoll_manager.pool import SlotPool
from atoll_manager.records import Records
from atoll_manager.registry import HostRegistry
from atoll_manager.reservations import Capacity, Reservations
from atoll_manager.simulation import Simulation
from atoll_manager.warm import WarmLimits, WarmPool

_log = logging.getLogger("atoll_manager")

FLUSH_S = 2.0
MAX_MACHINE = 255


async def run(config: ManagerConfig, stop: asyncio.Event) -> None:
    """Serve until told to stop. The composition root: adapters are made here."""
    if config.simulated_dir is None and config.is_simulated:
        raise ConfigError(
            "this host has no TEE to start enclaves in",
            code="manager.no_tee",
            hint=f"set {PREFIX}SIMULATED_DIR to use the simulated one, or {PREFIX}TEE",
        )
    level.limit(config.protocol_newest)
    driving = await asyncio.to_thread(prepared, config)
    launched = driving.launched()
    labels, tenants = capacity.labels(config.labels), capacity.tenants(config.tenants)
    egress = Allowance.parse(config.egress).rules
    log_dir = config.data_dir / "logs"
    try:
        log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{log_dir}: {error.strerror}", code="config.unwritable") from error
    with closing(Records(config.data_dir / "enclaves")) as store:
        parts = _Parts(driving, launched, labels, tenants, egress, log_dir, store)
        await _serve(config, stop, parts)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What was read and opened before the bus is needed."""

    driving: Driving
    launched: Simulation | LaunchedImage
    labels: dict[str, str]
    tenants: tuple[str, ...]
    egress: tuple[str, ...]
    log_dir: Path
    store: Records


async def _serve(config: ManagerConfig, stop: asyncio.Event, parts: _Parts) -> None:
    launched, store = parts.launched, parts.store
    bus_config = BusConfig(
        url=config.nats_url,
        domain=config.nats_domain,
        name=f"manager {config.host_id}",
        login=login_from(config.nats_creds_file, "manager"),
        inbox_prefix=topology.inbox("manager"),
        tls_ca_file=str(config.nats_ca_file) if config.nats_ca_file else None,
    )
    sentinel = _sentinel(config.sentinel_file)
    async with (
        connect(bus_config, logger=_log) as bus,
        metering.exporting(config.metrics_address, table.MANAGER, services=bus) as exported,
        parts.driving.ready(),
        asyncio.TaskGroup() as group,
    ):
        await require_jetstream(bus)
        started_ms = time.time_ns() // 1_000_000
        speaker = Speaker(bus, Kind.MANAGER, config.host_id, started_ms, store.newest_level)
        await speaker.join()
        tracing = ServiceTracing(spans.MANAGER, wiring.bus_publisher(bus), instance=config.host_id)
        exporting = group.create_task(tracing.run())
        driver = parts.driving.driver(
            store,
            settings={
                "ATOLL_AGENT_NATS_URL": config.nats_url,
                "ATOLL_AGENT_NATS_DOMAIN": config.nats_domain,
                "ATOLL_AGENT_NATS_SENTINEL": sentinel,
                "ATOLL_AGENT_HOST_ID": config.host_id,
                **({"ATOLL_AGENT_NATS_CA_FILE": ca} if (ca := bus_config.tls_ca_file) else {}),
                "ATOLL_AGENT_DOCKER_HOST": config.docker_host,
                # Not to an agent of an older release, which does not know it, when it says nothing.
                **({EGRESS_SETTING: ",".join(parts.egress)} if parts.egress else {}),
            },
            launch=launched.launch,
            log_dir=parts.log_dir,
            window_s=config.adoption_window_s,
            grace_s=config.stop_grace_s,
            group=group,
        )

        def tell() -> None:
            registry.poke()

        background = [group.create_task(_note(driver))]

        # It asks only when the pool is there, which asks it for enclaves.
        warm = WarmPool(
            driver,
            launched.state,
            WarmLimits(minimum=config.warm_min, maximum=max(config.warm_min, config.warm_max)),
            lambda: 0 if pool is None else pool.further(plain(parts.driving.tee).needs),
            changed=tell,
        )
        runner = AttemptRunner(
            bus=bus,
            driver=warm,
            host_id=config.host_id,
            keys=AttestorKeys(bus),
            timing=Timing(boot_timeout_s=config.boot_timeout_s, stop_grace_s=config.stop_grace_s),
            tracer=tracing.tracer,
            new_enclave_id=store.new_enclave_id,
            observer=AttemptObserver(exported.meter),
        )
        orders = HostOrders(bus, config.host_id)
        memory = Room(config.reserve_bytes)
        room = Reservations(
            Capacity(
                slots=config.slots,
                memory_bytes=config.memory_bytes or capacity.machine_memory(),
                cpus=config.cpus or capacity.machine_cpus(),
            )
        )
        pool: SlotPool | None = None

        def busy() -> int:
            # Until it is known which of them live, all that are written down may.
            return len(store.ids()) if pool is None else pool.busy

        def describe() -> HostRecord:
            claimed = room if pool is None else pool.claimed()
            return HostRecord(
                host_id=config.host_id,
                instance=store.instance,
                machine=socket.gethostname()[:MAX_MACHINE],
                tees=(parts.driving.tee,),
                state=host_state(HostWish.DRAIN if stop.is_set() else orders.wish, busy()),
                slots=room.capacity.slots,
                busy=busy(),
                cpus=room.capacity.cpus,
                memory_bytes=room.capacity.memory_bytes,
                has_room=memory.there,
                labels=parts.labels,
                tenants=parts.tenants,
                taken_bytes=claimed.memory_bytes,
                taken_cpus=claimed.cpus,
                warm=warm.ready,
                keeps_room_for=None if pool is None else pool.keeps_room_for,
                started_ms=started_ms,
                version=version.VERSION,
                measurement=launched.measurement,
                egress=parts.egress,
            )

        registry = HostRegistry(bus, followed(exported.meter, describe))
        # First, so that a drained host does not say for a moment that it takes jobs.
        await orders.read()
        # Before anything is found again: whoever else has this id may be at work on it.
        await registry.claim()

        def changed(_: int) -> None:
            tell()
            warm.poke()

        def can_start(it: SpawnClass) -> bool:
            return misfit(it.tee, it.needs, describe()) is None

        classes = Classes(bus, can_start, [plain(parts.driving.tee)])
        pool = SlotPool(
            bus,
            runner,
            classes.current,
            room,
            adopted=await driver.adopt(),
            on_change=changed,
            memory=memory,
        )
        patience = Patience(
            bus, config.host_id, pool.overtaken, pool.keep_room_for, shortest_s=config.patience_s
        )
        duty = Duty(pool, orders, registry, stop)
        background += [
            group.create_task(work)
            for work in (
                *(duty.hold_identity(), duty.obey(), speaker.run(stop)),
                *(classes.follow(pool.look_again), patience.run(), warm.run()),
            )
        ]
        working = group.create_task(pool.run())
        if config.supervised:
            background.append(group.create_task(process.wait_for_end_of_input(stop)))
        process.announce_ready(
            host=config.host_id, measurement=launched.measurement.hex(), **exported.facts
        )
        await stop.wait()
        await duty.lame_duck(config.lame_duck_s)
        for task in (working, *background):
            task.cancel()
        await asyncio.wait({working, *background})
        if bus.connected:  # otherwise the entry expires by itself
            await registry.withdraw()
            await speaker.leave()
        exporting.cancel()
        await tracing.flush(FLUSH_S)
    if (error := duty.lost or speaker.refused) is not None:
        raise error


async def _note(driver: HostDriver) -> None:
    """Keep what becomes of enclaves in the log."""
    async for event in driver.events():
        level_ = logging.WARNING if event.kind is EventKind.CRASHED else logging.INFO
        what = (event.enclave_id, event.kind.value, event.job_id or "none", event.reason)
        _log.log(level_, "enclave %s %s, job %s %s", *what)


def _sentinel(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read", code="config.unreadable") from error


def main() -> int:
    return process.run("atoll-manager", ManagerConfig, PREFIX, os.environ, run)


if __name__ == "__main__":
    sys.exit(main())
