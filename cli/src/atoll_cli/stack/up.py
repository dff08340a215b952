"""`atoll up`: the embedded stack in the foreground, until SIGINT or SIGTERM."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TextIO

from atoll.bus import BusConfig, connect, in_force, login_from
from atoll.bus.provision import provision_all
from atoll.client.files import read_private, write_private
from atoll.client.keystore import KeyStore
from atoll.client.profile import ProfileFile
from atoll.errors import AtollError, InputError, NotFoundError, RefusedError
from atoll.wire import level
from atoll.wire.durability import layout
from atoll.wire.messages import Tee
from atoll_cli.deployment.folder import server_section
from atoll_cli.deployment.identities import OPERATOR as OPERATOR_LOGIN
from atoll_cli.nats_server import EmbeddedNats
from atoll_cli.session import HOST_TPM
from atoll_cli.stack import address
from atoll_cli.stack.enclaves import Enclaves
from atoll_cli.stack.layout import Plan
from atoll_cli.stack.material import OPERATOR, PROCESSES, Material
from atoll_cli.stack.policies import activate_installed
from atoll_cli.stack.service import ServiceProcess, ServiceSpec, start
from atoll_cli.upgrading import raise_level

RESTART_DELAY_S: Final = 1.0
BANNER: Final = "SIMULATED TEE: for development; nothing here protects against this host"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What `atoll up` was asked for. Addresses are HOST:PORT; None: a free port on loopback,
    the same one again at the next start if it is free."""

    home: Path
    data_dir: Path
    http: str | None
    nats: str | None
    slots: int
    as_json: bool
    sync: str
    """When streams are forced to the disk; see `EmbeddedNats`."""
    http_cert: Path | None = None
    http_key: Path | None = None
    http_ca: str = ""
    http_insecure: bool = False
    warm: int = 0
    """Enclaves that wait for jobs."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What to say of this host."""
    egress: tuple[str, ...] = ()
    """Where jobs may connect to."""
    docker: str | None = None
    """The container engine's socket; None: where engines have it."""
    enclaves: Enclaves = PROCESSES


def run_up(options: UpOptions, env: Mapping[str, str]) -> int:
    """Run until told to stop; the exit status.

    Raises:
        AtollError: the stack could not start; what had started is stopped.
    """
    asyncio.run(_up(options, env))
    return 0


async def _up(options: UpOptions, env: Mapping[str, str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    _talk(f"preparing {options.data_dir}")
    material = await asyncio.to_thread(
        Material.prepare, options.data_dir.absolute(), enclaves=options.enclaves
    )
    ports = _Ports(material.data_dir / "ports.json")
    host, port = ports.choose("nats", options.nats)
    async with AsyncExitStack() as stack:
        data_dir = material.data_dir / "nats"
        trust = server_section(material.identities, data_dir / "jwt", now=int(time.time()))
        nats = EmbeddedNats(data_dir, trust=trust, host=host, port=port, sync=options.sync)
        await stack.enter_async_context(nats)
        await _provision(nats.url, material)
        plan = Plan(
            material=material,
            nats_url=nats.url,
            http=ports.choose("http", options.http),
            http_cert=options.http_cert,
            http_key=options.http_key,
            http_insecure=options.http_insecure,
            slots=options.slots,
            warm=options.warm,
            labels=options.labels,
            egress=options.egress,
            host_id="local",
            env=env,
            docker=options.docker,
        )
        supervisor = _Supervisor(stop)
        stack.push_async_callback(supervisor.stop)
        await supervisor.add(plan.attestor)
        await _activate_policy(nats.url, material)
        gateway = await supervisor.add(plan.gateway)
        http_url = str(gateway.facts["http"])
        http_port = int(http_url.rpartition(":")[2])
        # Whoever knows where it is now finds it there again when it was restarted.
        supervisor.remake(gateway, replace(plan, http=(plan.http[0], http_port)).gateway)
        await supervisor.add(plan.manager)
        ports.save(nats=nats.port, http=http_port)
        _share_operator(options.home, material)
        profile = material.profile(nats.url, http_url, http_ca=options.http_ca)
        ProfileFile(options.home).save(profile)
        _ready(options, nats.url, http_url)
        async with asyncio.TaskGroup() as group:
            watching = [
                group.create_task(supervisor.watch()),
                group.create_task(_watch_nats(nats, stop)),
            ]
            await stop.wait()
            _talk("stopping")
            for task in watching:
                task.cancel()


def _as_operator(url: str, material: Material) -> BusConfig:
    return BusConfig(
        url=url,
        name="atoll up",
        login=login_from(material.bus.creds(OPERATOR_LOGIN), OPERATOR_LOGIN),
        inbox_prefix="_INBOX_operator",
    )


async def _activate_policy(url: str, material: Material) -> None:
    async with connect(_as_operator(url, material)) as bus:
        view = await activate_installed(bus, material)
    if view is not None:
        _talk(f"policy {view.name} version {view.enforced} accepts the agent that is installed")


async def _provision(url: str, material: Material) -> None:
    async with connect(_as_operator(url, material)) as bus:
        await provision_all(bus, layout(1, material.identities.tenants))
        if (await in_force(bus)).level == level.newest():
            return
        # What runs here starts anew, all of one release; only from elsewhere may others be here.
        try:
            await raise_level(bus, level.newest())
        except RefusedError as error:
            _talk(f"the protocol level stays as it is: {error.message}; `atoll upgrade finish`")


class _Supervisor:
    """Restarts a service that ended without being asked to."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self._running: list[tuple[Callable[[], ServiceSpec], ServiceProcess]] = []

    async def add(self, make: Callable[[], ServiceSpec]) -> ServiceProcess:
        service = await start(make())
        self._running.append((make, service))
        return service

    def remake(self, running: ServiceProcess, make: Callable[[], ServiceSpec]) -> None:
        """Start `running` by `make` when it must be started again."""
        self._running = [
            (make if service is running else old, service) for old, service in self._running
        ]

    async def watch(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for index in range(len(self._running)):
                group.create_task(self._keep(index))

    async def _keep(self, index: int) -> None:
        while True:
            make, service = self._running[index]
            status = await service.wait()
            if self._stopping.is_set():
                return
            _talk(f"{service.spec.name} ended with status {status}; starting it again")
            await asyncio.sleep(RESTART_DELAY_S)
            try:
                self._running[index] = (make, await start(make()))
            except AtollError as error:
                _talk(f"{service.spec.name} does not start: {error.message}")

    async def stop(self) -> None:
        """Last started, first stopped: the manager hands its jobs back while all else runs."""
        while self._running:
            _, service = self._running.pop()
            await service.stop()


async def _watch_nats(nats: EmbeddedNats, stopping: asyncio.Event) -> None:
    while True:
        status = await nats.wait()
        if stopping.is_set():
            return
        _talk(f"nats-server ended with status {status}; starting it again")
        while nats.pid is None:
            await asyncio.sleep(RESTART_DELAY_S)
            try:
                await nats.start()
            except AtollError as error:
                _talk(f"nats-server does not start: {error.message}")


class _Ports:
    """Remembers the ports of the last start, so that clients find the stack again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            value = json.loads(read_private(path, limit=4096))
            known = dict(value) if isinstance(value, dict) else {}
        except (NotFoundError, InputError, ValueError, RecursionError):
            known = {}
        self._known = {name: port for name, port in known.items() if type(port) is int}

    def choose(self, name: str, wanted: str | None) -> tuple[str, int]:
        """Raises: InputError `address.invalid`."""
        if wanted is not None:
            return address.parse(wanted)
        port = self._known.get(name, 0)
        return address.LOOPBACK, port if address.is_free(address.LOOPBACK, port) else 0

    def save(self, **ports: int) -> None:
        write_private(self._path, json.dumps(ports).encode())


def _share_operator(home: Path, material: Material) -> None:
    """`atoll policy sign --key operator` finds its key in ATOLL_HOME, as any other."""
    keys = KeyStore(home)
    try:
        same = keys.public(material.operator.name).signing_key == material.operator.signing_key
    except NotFoundError:
        write_private(keys.path(material.operator.name), material.operator.to_bytes())
        return
    except InputError:
        same = False
    if not same:
        path = material.data_dir / OPERATOR
        _talk(f"the key 'operator' in {home} is another one than this stack's, {path}")


def _ready(options: UpOptions, nats_url: str, http_url: str) -> None:
    facts: dict[str, Any] = {
        "ready": True,
        "pid": os.getpid(),
        "home": str(options.home),
        "data_dir": str(options.data_dir),
        "nats": nats_url,
        "http": http_url,
        "tee": options.enclaves.tee.value,
        "simulated": True,
    }
    if options.as_json:
        _write(sys.stdout, json.dumps(facts))
        return
    banner = BANNER if options.enclaves.tee is Tee.SIMULATED else HOST_TPM
    _write(sys.stdout, f"{banner}\natoll is up\n  bus   {nats_url}\n  http  {http_url}")
    _write(sys.stdout, f"  data  {options.data_dir}\n  home  {options.home}\nCtrl-C stops it")


def _talk(text: str) -> None:
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()
