"""Entry point: join the parts, announce the host, take work, hand it back on a stop."""

import asyncio
import logging
import os
import sys
import time
from contextlib import closing
from pathlib import Path

from atoll import process, version
from atoll.bus import BusConfig, connect, login_from, require_jetstream
from atoll.errors import ConfigError
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.otel import ServiceTracing
from atoll.wire import topology
from atoll.wire.messages import HostRecord, Tee
from atoll_manager import simulation
from atoll_manager.attempt import AttemptRunner, Timing
from atoll_manager.config import PREFIX, ManagerConfig
from atoll_manager.drivers.process import ProcessDriver
from atoll_manager.keys import AttestorKeys
from atoll_manager.pool import SlotPool
from atoll_manager.records import Records
from atoll_manager.registry import HostRegistry

_log = logging.getLogger("atoll_manager")

FLUSH_S = 2.0


async def run(config: ManagerConfig, stop: asyncio.Event) -> None:
    """Serve until told to stop. The composition root: adapters are made here."""
    if config.simulated_dir is None:
        raise ConfigError(
            "this host has no TEE to start enclaves in",
            code="manager.no_tee",
            hint=f"set {PREFIX}SIMULATED_DIR to use the simulated one",
        )
    simulated = simulation.load(config.simulated_dir)
    log_dir = config.data_dir / "logs"
    try:
        log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{log_dir}: {error.strerror}", code="config.unwritable") from error
    with closing(Records(config.data_dir / "enclaves")) as store:
        await _serve(config, stop, simulated, log_dir, store)


async def _serve(
    config: ManagerConfig,
    stop: asyncio.Event,
    simulated: simulation.Simulation,
    log_dir: Path,
    store: Records,
) -> None:
    bus_config = BusConfig(
        url=config.nats_url,
        domain=config.nats_domain,
        name=f"manager {config.host_id}",
        login=login_from(config.nats_creds_file, "manager"),
        inbox_prefix=topology.inbox("manager"),
        tls_ca_file=str(config.nats_ca_file) if config.nats_ca_file else None,
    )
    sentinel = _sentinel(config.sentinel_file)
    async with connect(bus_config, logger=_log) as bus, asyncio.TaskGroup() as group:
        await require_jetstream(bus)
        tracing = ServiceTracing(spans.MANAGER, wiring.bus_publisher(bus), instance=config.host_id)
        exporting = group.create_task(tracing.run())
        driver = ProcessDriver(
            python=config.python,
            settings={
                "ATOLL_AGENT_NATS_URL": config.nats_url,
                "ATOLL_AGENT_NATS_DOMAIN": config.nats_domain,
                "ATOLL_AGENT_NATS_SENTINEL": sentinel,
                "ATOLL_AGENT_HOST_ID": config.host_id,
                **({"ATOLL_AGENT_NATS_CA_FILE": ca} if (ca := bus_config.tls_ca_file) else {}),
                "ATOLL_AGENT_DOCKER_HOST": config.docker_host,
            },
            launch=simulated.launch,
            log_dir=log_dir,
            store=store,
            window_s=config.adoption_window_s,
            grace_s=config.stop_grace_s,
            group=group,
        )
        runner = AttemptRunner(
            bus=bus,
            driver=driver,
            host_id=config.host_id,
            keys=AttestorKeys(bus),
            timing=Timing(boot_timeout_s=config.boot_timeout_s, stop_grace_s=config.stop_grace_s),
            tracer=tracing.tracer,
            new_enclave_id=store.new_enclave_id,
        )
        adopted = await driver.adopt()
        queue = topology.spawn_consumer(Tee.SIMULATED)
        pool = SlotPool(bus, queue, runner, config.slots, adopted)
        started_ms = time.time_ns() // 1_000_000

        def describe() -> HostRecord:
            return HostRecord(
                host_id=config.host_id,
                tees=(Tee.SIMULATED,),
                slots=config.slots,
                busy=pool.busy,
                started_ms=started_ms,
                version=version.VERSION,
                measurement=simulated.measurement,
            )

        registry = HostRegistry(bus, describe)
        await registry.announce()
        tasks = [group.create_task(registry.run()), group.create_task(pool.run())]
        if config.supervised:
            tasks.append(group.create_task(process.wait_for_end_of_input(stop)))
        process.announce_ready(host=config.host_id, measurement=simulated.measurement.hex())
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if bus.connected:  # otherwise the entry expires by itself
            await registry.withdraw()
        exporting.cancel()
        await tracing.flush(FLUSH_S)


def _sentinel(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read", code="config.unreadable") from error


def main() -> int:
    return process.run("atoll-manager", ManagerConfig, PREFIX, os.environ, run)


if __name__ == "__main__":
    sys.exit(main())
