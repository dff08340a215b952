"""The services on a cluster of three, whose servers are restarted one by one under their jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from atoll.bus import connect
from atoll.bus.provision import provision_all, wait_replicated
from atoll.client.connection import AtollClient, open_client
from atoll.client.profile import Profile
from atoll.wire.durability import layout
from atoll.wire.messages import JobState, Tee
from atoll_cli.commands.provision import stream_names
from atoll_cli.stack.layout import Plan
from atoll_cli.stack.material import Material
from atoll_cli.stack.policies import activate_installed
from atoll_cli.stack.service import start
from support import wat
from support.client import drafted, party, see_through
from support.cluster import Site
from support.nats import wait_for
from support.stack import recorder

SETTLING_S = 60.0


@asynccontextmanager
async def services(root: Path, site: Site) -> AsyncIterator[AtollClient]:
    """Attestor, gateway and manager as processes on the site's hub, and a client."""
    material = await asyncio.to_thread(Material.prepare, root / "data")
    site.identities = material.identities
    await site.hub()
    plan = Plan(
        material=material,
        nats_url=site.url(),
        http=("127.0.0.1", 0),
        slots=2,
        host_id="local",
        env={},
    )
    async with AsyncExitStack() as context:
        bus = await context.enter_async_context(connect(site.config("operator")))
        await provision_all(bus, layout(3))
        attestor = await start(plan.attestor())
        context.push_async_callback(attestor.stop)
        await activate_installed(bus, material)
        for spec in (plan.gateway(), plan.manager()):
            context.push_async_callback((await start(spec)).stop)
        profile = Profile(
            nats_url=site.url(),
            nats_creds=material.bus.tenant_creds("main").read_text(),
            tee=Tee.SIMULATED,
            policy=material.policy.decode(),
            development_root=material.ark_pem.decode(),
        )
        yield await context.enter_async_context(open_client(profile, recorder()))


async def test_jobs_complete_while_servers_are_restarted_one_by_one(tmp_path: Path) -> None:
    with Site(tmp_path / "site", client_tls=False) as site:
        async with services(tmp_path, site) as client:
            draft = await drafted(client, party(), wat.echo(), data={"in": b"kept"})
            for server in site.servers:
                async with asyncio.TaskGroup() as group:
                    job = group.create_task(see_through(client, draft))
                    await asyncio.to_thread(server.stop)
                    events = await job
                # That there are no gaps was seen on the way.
                ends = [event.state for event in events if event.state.terminal]
                assert ends == [JobState.COMPLETED]
                await site.start([server])
                async with connect(site.config("operator")) as bus:
                    for name in stream_names():
                        await wait_replicated(bus, name, timeout_s=SETTLING_S)

            async def all_listed() -> bool:
                return len((await client.list()).jobs) == len(site.servers)

            # The list may trail the ledger.
            await wait_for(all_listed, "every job is listed", within_s=SETTLING_S)
