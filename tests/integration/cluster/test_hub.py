"""Three servers with three replicas: what they acknowledged survives any one of them."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.bus import connect, ensure_stream, publish, read_stream
from atoll.bus.provision import copies, wait_replicated
from atoll.errors import ConflictError
from atoll.wire import topology
from atoll.wire.durability import EXPENDABLE
from atoll.wire.topology_types import Stream
from atoll_cli.commands.provision import stream_names
from integration.cluster.conftest import SETTLING_S, Hub
from support.cluster import private
from support.command import atoll
from support.load import PACE_S, STREAMS, Load
from support.logins import IDENTITIES

GROWING = Stream(name="GROWING", subjects=("growing.*",), max_bytes=64 << 20)


async def test_nothing_is_lost_when_the_leader_and_then_all_are_killed_under_load(hub: Hub) -> None:
    config = hub.site.config("operator", *hub.servers)
    async with connect(config) as bus:
        async with Load([config]) as load:
            await load.advance()
            leader = hub.named((await copies(bus, topology.EVENTS.name)).leader)
            await asyncio.to_thread(leader.kill)
            await load.advance()
            assert (await copies(bus, topology.EVENTS.name)).leader != leader.name
            await hub.site.start([leader])
            for name in STREAMS:
                await wait_replicated(bus, name, timeout_s=SETTLING_S)
            await load.advance()

            # And all of them at once.
            for server in hub.servers:
                await asyncio.to_thread(server.kill)
            await hub.site.start(hub.servers)
            await load.advance()
        await load.require_nothing_lost(bus)
    # Every server has all of it, not only the majority that acknowledged.
    for server in hub.servers:
        async with connect(hub.site.config("operator", server)) as one:
            await load.require_nothing_lost(one)


async def test_replicas_are_added_to_a_stream_in_use_and_taken_away_only_when_asked(
    hub: Hub,
) -> None:
    async with connect(hub.site.config("operator", *hub.servers)) as bus:
        await ensure_stream(bus, GROWING)
        growing = asyncio.Event()
        stored = 0

        async def use() -> None:
            nonlocal stored
            while not growing.is_set() or stored < 50:
                await publish(bus, "growing.a", b"%d" % stored)
                stored += 1
                await asyncio.sleep(PACE_S)

        async with asyncio.TaskGroup() as group:
            group.create_task(use())
            await ensure_stream(bus, replace(GROWING, replicas=3))
            found = await wait_replicated(bus, GROWING.name, timeout_s=SETTLING_S)
            growing.set()
        assert (found.replicas, found.current) == (3, 3)
        kept = [message.payload async for message in read_stream(bus, GROWING.name, "growing.*")]
        assert kept == [b"%d" % number for number in range(stored)]

        with pytest.raises(ConflictError, match="3 replicas, 1 were asked") as caught:
            await ensure_stream(bus, GROWING)
        assert caught.value.code == "bus.incompatible"
        await ensure_stream(bus, GROWING, fewer_replicas=True)
        assert (await copies(bus, GROWING.name)).replicas == 1


async def test_the_command_provisions_a_cluster_and_does_no_harm_again(
    hub: Hub, tmp_path: Path
) -> None:
    site = hub.site
    creds = IDENTITIES.credentials("operator", now=int(time.time()))
    private(tmp_path / "operator.creds", creds.text.encode())
    said = await asyncio.to_thread(
        atoll,
        tmp_path / "home",
        *("provision", "--nats", ",".join(server.url for server in hub.servers)),
        *("--creds", tmp_path / "operator.creds", "--ca", site.root / "ca.pem", "--json"),
    )
    assert said.status == 0, said
    found = {row["stream"]: row for row in json.loads(said.out)["streams"]}
    assert set(found) == set(stream_names())
    for name, row in found.items():
        wanted = 1 if name in EXPENDABLE else 3
        assert (row["replicas"], row["current"]) == (wanted, wanted), name
    one = await asyncio.to_thread(
        atoll,
        tmp_path / "home",
        *("provision", "--nats", hub.servers[0].url, "--replicas", "1"),
        *("--creds", tmp_path / "operator.creds", "--ca", site.root / "ca.pem", "--json"),
    )
    assert (one.status, one.document()["error"]["code"]) == (1, "bus.incompatible")
