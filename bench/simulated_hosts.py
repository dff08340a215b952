"""Many hosts in one process, as a task of `bench.children`: managers whose enclaves are coroutines.

Of a manager all is real that meets the bus: connection, lease on the host id, orders, pull
requests, attempts, admission by the attestor's word. Of an enclave: its two connections, keys,
evidence by the simulated processor, admission, assignment, releases (opened), reports, outcome.
Left out: its process, its assets, the program, sealing and the receipt, for which random bytes
of its size stand.
"""

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from atoll import version
from atoll.bus import BusConfig, connect, login_from
from atoll.errors import AtollError
from atoll.evidence.document import Tee as EvidenceTee
from atoll.measure.agent import agent_image, agent_measurement
from atoll.measure.installed import installed_agent_files
from atoll.simulated.chain import DevelopmentChain
from atoll.simulated.report import SimulatedGuest, SimulatedProcessor
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.otel import ServiceTracing
from atoll.telemetry.span import Recorder
from atoll.wire import topology
from atoll.wire.hosts import HostRecord
from atoll.wire.messages import ReportKind, Tee
from atoll.wire.placement import plain
from atoll_agent.admission import Standing, require_admission
from atoll_agent.assignment import accept
from atoll_agent.bus_ports import EnclaveBus
from atoll_agent.config import AgentConfig
from atoll_agent.enclave import EnclaveKeys
from atoll_agent.evidence.provider import Quoted
from atoll_agent.releases import ReleaseCollector
from atoll_manager.attempt import AttemptRunner, Timing
from atoll_manager.classes import Classes
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.duty import Duty
from atoll_manager.keys import AttestorKeys
from atoll_manager.orders import HostOrders, host_state
from atoll_manager.pool import SlotPool
from atoll_manager.registry import HostRegistry
from atoll_manager.reservations import Capacity, Reservations
from bench.machine import peak_resident
from bench.report import BenchError

Parameters = dict[str, Any]

RECEIPT: Final = 6 << 10
"""Bytes of a receipt with its evidence."""
BOOTING: Final = 16
"""Enclaves that make keys and ask for admission at a time."""
STARTING: Final = 16
"""Hosts that connect at a time."""
TIMING: Final = Timing(boot_timeout_s=120.0, stop_grace_s=10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the hosts of one process share."""

    url: str
    creds: Path
    sentinel: str
    processor: SimulatedProcessor
    measurement: bytes
    gather: "Gathering"
    booting: asyncio.Semaphore
    """Elsewhere each enclave has a processor to make keys and a quote with; here all share one."""


class Gathering:
    """Enclaves wait here until so many of them are alive at once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._alive = 0
        self._enough = asyncio.Event()
        self.most = 0

    def came(self) -> None:
        self._alive += 1
        self.most = max(self.most, self._alive)
        if self._alive >= self._count:
            self._enough.set()

    def went(self) -> None:
        self._alive -= 1

    async def wait(self) -> None:
        if self._count:
            await self._enough.wait()


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """The processor of a guest in the same process."""

    guest: SimulatedGuest
    certs: tuple[bytes, ...]

    tee: ClassVar[EvidenceTee] = EvidenceTee.SNP

    async def quote(self, report_data: bytes) -> Quoted:
        return Quoted(report=self.guest.attest(report_data, vmpl=0), certs=self.certs)


@dataclass(kw_only=True)
class CoroutineEnclave:
    """An enclave that is a task."""

    site: Site
    spec: EnclaveSpec
    host_id: str
    task: "asyncio.Task[int]" = field(init=False)

    @property
    def enclave_id(self) -> str:
        return self.spec.enclave_id

    async def wait(self) -> int:
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if self.task.cancelled():
                return -15
            raise

    async def stop(self, grace_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await asyncio.wait({self.task})
        self.task.cancel()
        await asyncio.wait({self.task})

    async def live(self) -> int:
        """As `atoll_agent.main`; its exit status."""
        self.site.gather.came()
        try:
            await self._work()
        except AtollError:
            return 1
        finally:
            self.site.gather.went()
        return 0

    async def _work(self) -> None:
        spec, site = self.spec, self.site
        recorder = Recorder(
            spans.AGENT, instance=spec.enclave_id, clock=time.time_ns, random=secrets.token_bytes
        )
        guest = site.processor.launch(
            site.measurement,
            report_id=secrets.token_bytes(32),
            host_data=bytes.fromhex(spec.manifest_digest),
        )
        digest = bytes.fromhex(spec.manifest_digest)
        standing = Standing(
            config=AgentConfig(
                nats_url=site.url,
                nats_sentinel=site.sentinel,
                host_id=self.host_id,
                enclave_id=spec.enclave_id,
                job_id=spec.job_id,
                attempt=spec.attempt,
                manifest_digest=spec.manifest_digest,
                device_fd=-1,
            ),
            manifest_digest=digest,
            provider=LocalDevice(guest, site.processor.chain.certificates),
            tracer=recorder,
            keys=EnclaveKeys.generate(secrets.token_bytes),
        )
        async with site.booting:
            evidence = await require_admission(standing, 60.0)
        async with connect(standing.as_admitted()) as bus:
            keeping = asyncio.get_running_loop().create_task(standing.keep(bus))
            try:
                port = EnclaveBus(
                    bus,
                    recorder,
                    enclave_id=spec.enclave_id,
                    job_id=spec.job_id,
                    attempt=spec.attempt,
                )
                task = accept(
                    await port.assignment(),
                    enclave_id=spec.enclave_id,
                    job_id=spec.job_id,
                    attempt=spec.attempt,
                    manifest_digest=digest,
                    evidence_digest=evidence.digest,
                    now_ms=time.time_ns() // 1_000_000,
                )
                collector = ReleaseCollector(task, standing.keys.hpke)
                async with aclosing(port.releases()) as releases:
                    async for raw in releases:
                        collector.take(raw)
                        if not collector.missing:
                            break
                await port.report(ReportKind.STARTED)
                await site.gather.wait()
                stored = await port.store_outcome({}, secrets.token_bytes(RECEIPT))
                await port.report(ReportKind.FINISHED, outcome_digest=stored)
            finally:
                keeping.cancel()


@dataclass(frozen=True, slots=True)
class CoroutineDriver:
    """Starts them."""

    site: Site
    host_id: str

    async def start(self, spec: EnclaveSpec) -> CoroutineEnclave:
        enclave = CoroutineEnclave(site=self.site, spec=spec, host_id=self.host_id)
        enclave.task = asyncio.get_running_loop().create_task(enclave.live())
        return enclave


class SimulatedHost:
    """A manager as `atoll_manager.main` puts it together, but for its machine."""

    def __init__(self, site: Site, host_id: str, slots: int) -> None:
        self._site = site
        self._host_id = host_id
        self._slots = slots
        self._busy = 0
        self._stop = asyncio.Event()
        self._started_ms = time.time_ns() // 1_000_000
        self._instance = secrets.token_hex(12)

    async def serve(self, gate: asyncio.Semaphore, ready: Callable[[], None]) -> None:
        """Until `stop`, then hand nothing back: all jobs have ended."""
        site = self._site
        config = BusConfig(
            url=site.url,
            name=f"manager {self._host_id}",
            login=login_from(site.creds, "manager"),
            inbox_prefix=topology.inbox("manager"),
        )
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            async with gate:
                bus = await stack.enter_async_context(connect(config))
                tracing = ServiceTracing(
                    spans.MANAGER, wiring.bus_publisher(bus), instance=self._host_id
                )
                runner = AttemptRunner(
                    bus=bus,
                    driver=CoroutineDriver(site, self._host_id),
                    host_id=self._host_id,
                    keys=AttestorKeys(bus),
                    timing=TIMING,
                    tracer=tracing.tracer,
                )
                orders = HostOrders(bus, self._host_id)
                registry = HostRegistry(bus, lambda: self._describe(orders))
                await registry.claim()
                await orders.read()
            jobs = plain(Tee.SIMULATED)
            needed = self._slots * jobs.needs.memory_bytes
            room = Reservations(Capacity(slots=self._slots, memory_bytes=needed, cpus=1))
            classes = Classes(bus, lambda it: room.has_size(it.needs), [jobs])
            pool = SlotPool(
                bus,
                runner,
                classes.current,
                room,
                on_change=lambda busy: self._changed(busy, registry),
            )
            duty = Duty(pool, orders, registry, self._stop)
            work = (
                tracing.run(),
                duty.hold_identity(),
                duty.obey(),
                classes.follow(pool.look_again),
                pool.run(),
            )
            tasks = [group.create_task(one) for one in work]
            ready()
            await self._stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await registry.withdraw()

    def stop(self) -> None:
        self._stop.set()

    def _changed(self, busy: int, registry: HostRegistry) -> None:
        self._busy = busy
        registry.poke()

    def _describe(self, orders: HostOrders) -> HostRecord:
        return HostRecord(
            host_id=self._host_id,
            instance=self._instance,
            machine=socket.gethostname()[:255],
            tees=(Tee.SIMULATED,),
            state=host_state(orders.wish, self._busy),
            slots=self._slots,
            busy=self._busy,
            cpus=2,
            memory_bytes=1 << 34,
            has_room=True,
            labels={},
            started_ms=self._started_ms,
            version=version.VERSION,
            measurement=self._site.measurement,
        )


async def hosts(given: Parameters, go: Callable[[], Awaitable[None]]) -> Parameters:
    """`count` hosts that serve until told to begin, which here means to stop."""
    data = Path(given["data"])
    chain = DevelopmentChain.from_pem((data / "simulated" / "chain.pem").read_bytes())
    gather = Gathering(given["gather"])
    site = Site(
        url=given["url"],
        creds=Path(given["creds"]),
        sentinel=Path(given["sentinel"]).read_text("ascii").strip(),  # noqa: ASYNC240 - at the start
        processor=SimulatedProcessor(chain=chain),
        measurement=agent_measurement(agent_image(installed_agent_files())),
        gather=gather,
        booting=asyncio.Semaphore(BOOTING),
    )
    gate, left, everybody = asyncio.Semaphore(STARTING), given["count"], asyncio.Event()

    def ready() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            everybody.set()

    fleet = [
        SimulatedHost(site, f"{given['name']}-{number}", given["slots"])
        for number in range(given["count"])
    ]
    try:
        async with asyncio.TaskGroup() as group:
            for host in fleet:
                group.create_task(host.serve(gate, ready))
            await everybody.wait()
            await go()
            for host in fleet:
                host.stop()
    except* AtollError as errors:
        raise BenchError(f"a host failed: {errors.exceptions[0]}") from errors
    return {"most": gather.most, "peak": peak_resident()}
