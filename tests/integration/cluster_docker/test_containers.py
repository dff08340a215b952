"""Three servers in containers, three replicas: kill, cut off, restart one by one, under load."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll.bus import Bus, connect
from atoll.bus.provision import copies, provision_all, wait_replicated
from atoll.errors import UnreachableError
from atoll.wire import topology
from atoll.wire.durability import layout
from support.containers import ContainedServer, ContainedSite, contained
from support.dockerd import Dockerd
from support.load import STREAMS, Load
from support.nats import wait_for

SETTLING_S = 60.0
LEDGER = f"KV_{topology.JOBS.name}"


@pytest.fixture
def site(tmp_path: Path, dockerd: Dockerd) -> Iterator[ContainedSite]:
    """The network and the image; no server yet."""
    with contained(tmp_path, dockerd) as made:
        yield made


async def settled(bus: Bus) -> None:
    """Every copy of what the load goes to has everything."""
    for name in STREAMS:
        await wait_replicated(bus, name, timeout_s=SETTLING_S)


async def led_by_another(bus: Bus, name: str) -> bool:
    """Whether somebody else leads the ledger; we may still hang on the one that was cut off."""
    try:
        return (await copies(bus, LEDGER)).leader not in {"", name}
    except UnreachableError:
        return False


async def test_nothing_is_lost_through_a_kill_a_cut_and_a_rolling_restart(
    site: ContainedSite,
) -> None:
    hub = {server.name: server for server in await site.hub()}
    config = site.config("operator")
    async with connect(config) as bus:
        await provision_all(bus, layout(3))
        await settled(bus)
        async with Load([config]) as load:
            await load.advance()

            # The leader of the ledger is killed.
            leader = hub[(await copies(bus, LEDGER)).leader]
            await asyncio.to_thread(leader.kill)
            await load.advance()
            assert (await copies(bus, LEDGER)).leader != leader.name
            await site.start([leader])
            await settled(bus)

            # It is cut off the network with all that was connected to it, and comes back.
            cut = hub[(await copies(bus, LEDGER)).leader]
            assert isinstance(cut, ContainedServer)
            await asyncio.to_thread(cut.cut)
            await load.advance()
            await wait_for(lambda: led_by_another(bus, cut.name), "another leads", within_s=30)
            await asyncio.to_thread(cut.rejoin)
            await asyncio.to_thread(cut.wait_ready)
            await settled(bus)
            await load.advance()

            # One after the other is restarted in an orderly way.
            for server in hub.values():
                await asyncio.to_thread(server.lame_duck)
                await load.advance()
                await site.start([server])
                await settled(bus)
        await load.require_nothing_lost(bus)
    for server in hub.values():
        async with connect(site.config("operator", server)) as one:
            await load.require_nothing_lost(one)
