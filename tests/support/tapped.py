"""A stack all of whose traffic is recorded: proxies in front of the bus and of HTTP.

It is what `atoll up` starts, put together from the same parts, with other addresses.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from atoll.bus import Bus, BusConfig, Message, connect, login_from
from atoll.bus.provision import provision
from atoll.client.profile import Profile, ProfileFile
from atoll.wire import topology
from atoll.wire.messages import Tee
from atoll_cli.deployment.folder import server_section
from atoll_cli.nats_server import EmbeddedNats
from atoll_cli.stack.layout import Plan
from atoll_cli.stack.material import Material
from atoll_cli.stack.policies import activate_installed
from atoll_cli.stack.service import start
from support.wiretap import Wiretap


@dataclass(slots=True, kw_only=True)
class Tapped:
    """A running stack, and everything that passed by."""

    material: Material
    profile: Profile
    bus_tap: Wiretap
    http_tap: Wiretap
    http_port: int
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    """What a subscriber to `>` heard: subject, and headers with payload."""

    def traffic(self) -> Iterator[tuple[str, bytes]]:
        """Every byte that was sent, with where."""
        for kind, tap in (("bus", self.bus_tap), ("HTTP", self.http_tap)):
            for number, stream in enumerate(tap.streams):
                yield f"{kind} stream {number}", bytes(stream)
        for subject, content in self.heard:
            yield f"message on {subject}", content

    async def hear(self, message: Message) -> None:
        headers = "".join(f"{key}: {value}\n" for key, value in message.headers.items())
        self.heard.append((message.subject, headers.encode() + b"\n" + message.payload))


@contextlib.asynccontextmanager
async def tapped_stack(home: Path, data_dir: Path) -> AsyncIterator[Tapped]:
    """Gateway, attestor and manager, which know the bus only by its tapped address."""
    material = await asyncio.to_thread(Material.prepare, data_dir)
    async with contextlib.AsyncExitStack() as stack:
        trust = server_section(material.identities, data_dir / "nats/jwt", now=int(time.time()))
        nats = await stack.enter_async_context(EmbeddedNats(data_dir / "nats", trust=trust))
        bus_tap = await stack.enter_async_context(Wiretap("127.0.0.1", nats.port))
        url = f"nats://127.0.0.1:{bus_tap.port}"
        operator = await stack.enter_async_context(as_operator(nats.url, material))
        await provision(
            operator,
            streams=topology.STREAMS,
            consumers=topology.CONSUMERS,
            buckets=topology.BUCKETS,
            object_buckets=topology.OBJECT_BUCKETS,
        )
        plan = Plan(
            material=material,
            nats_url=url,
            http=("127.0.0.1", 0),
            slots=2,
            host_id="tapped",
            env={},
        )
        ports: dict[str, int] = {}
        for spec in (plan.attestor(), plan.gateway(), plan.manager()):
            service = await start(spec)
            stack.push_async_callback(service.stop)
            if spec.name == "attestor":
                await activate_installed(operator, material)
            if "http" in service.facts:
                ports["http"] = int(str(service.facts["http"]).rpartition(":")[2])
        http_tap = await stack.enter_async_context(Wiretap("127.0.0.1", ports["http"]))
        profile = Profile(
            nats_url=url,
            nats_creds=material.bus.tenant_creds("main").read_text(),
            http_url=f"http://127.0.0.1:{http_tap.port}",
            http_token=material.http_token,
            tee=Tee.SIMULATED,
            policy=material.policy.decode(),
            development_root=material.ark_pem.decode(),
        )
        ProfileFile(home).save(profile)
        tapped = Tapped(
            material=material,
            profile=profile,
            bus_tap=bus_tap,
            http_tap=http_tap,
            http_port=ports["http"],
        )
        await operator.subscribe(">", tapped.hear)
        yield tapped


@contextlib.asynccontextmanager
async def as_operator(url: str, material: Material) -> AsyncIterator[Bus]:
    """The one login that may do everything."""
    config = BusConfig(
        url=url,
        name="operator",
        login=login_from(material.bus.creds("operator"), "operator"),
        inbox_prefix="_INBOX_operator",
    )
    async with connect(config) as bus:
        yield bus
