"""A real bus, attestor and gateway without a host: who starts the hosts is the benchmark.

As `atoll up` starts them, but that the ledger may be filled before the first gateway comes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from atoll.bus import BusConfig, connect, login_from
from atoll.bus.provision import provision_all
from atoll.client.profile import ProfileFile
from atoll.wire import topology
from atoll.wire.durability import layout
from atoll.wire.endpoints import Role
from atoll_cli.deployment.folder import server_section
from atoll_cli.nats_server import EmbeddedNats
from atoll_cli.stack.layout import Plan
from atoll_cli.stack.material import Material
from atoll_cli.stack.policies import activate_installed
from atoll_cli.stack.service import ServiceProcess, start
from bench.machine import cpu_of

LOOPBACK: Final = ("127.0.0.1", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What runs, and where its files are."""

    home: Path
    material: Material
    nats: EmbeddedNats
    services: Mapping[str, ServiceProcess]
    gateway_start_s: float
    """From its start to its word that it serves."""

    def login(self, role: Role) -> BusConfig:
        """How one of that role connects."""
        return BusConfig(
            url=self.nats.url,
            name=f"bench {role}",
            login=login_from(self.material.bus.creds(role), role),
            inbox_prefix=topology.inbox(role),
        )

    def pids(self) -> dict[str, int]:
        """The processes of the control plane by role."""
        pids = {name: service.pid for name, service in self.services.items()}
        return {"nats-server": self.nats.pid or 0, **pids}

    def cpu(self) -> dict[str, float]:
        """Processor seconds that each of them took so far."""
        return {role: cpu_of(pid) for role, pid in self.pids().items()}


@asynccontextmanager
async def deployed(
    directory: Path, fill: Callable[[BusConfig], Awaitable[None]]
) -> AsyncIterator[Deployment]:
    """All of it, while the block runs.

    Args:
        directory: is made; holds everything.
        fill: stores what is to be there before the first gateway starts, as a gateway may.
    """
    material = await asyncio.to_thread(Material.prepare, directory / "data")
    store = material.data_dir / "nats"
    trust = server_section(material.identities, store / "jwt", now=int(time.time()))
    async with AsyncExitStack() as stack:
        nats = EmbeddedNats(store, trust=trust, host=LOOPBACK[0], port=0, sync="2m")
        await stack.enter_async_context(nats)
        plan = Plan(
            material=material, nats_url=nats.url, http=LOOPBACK, slots=1, host_id="bench", env={}
        )
        services: dict[str, ServiceProcess] = {}
        made = Deployment(
            home=directory / "home",
            material=material,
            nats=nats,
            services=services,
            gateway_start_s=0.0,
        )
        async with connect(made.login("operator")) as bus:
            await provision_all(bus, layout(1))
        await fill(made.login("gateway"))
        services["attestor"] = await start(plan.attestor())
        stack.push_async_callback(services["attestor"].stop)
        async with connect(made.login("operator")) as bus:
            await activate_installed(bus, material)
        began = time.perf_counter()
        services["gateway"] = await start(plan.gateway())
        took = time.perf_counter() - began
        stack.push_async_callback(services["gateway"].stop)
        profile = material.profile(nats.url, str(services["gateway"].facts["http"]))
        ProfileFile(made.home).save(profile)
        yield replace(made, gateway_start_s=took)
