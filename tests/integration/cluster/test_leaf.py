"""A site behind a leaf node: its manager works on the hub's streams through it."""

import asyncio
import json
import urllib.request

import pytest

from atoll.bus import KeyValue, WorkQueue, connect, publish
from atoll.bus.provision import copies, ensure_stream
from atoll.errors import NotFoundError
from atoll.wire import subjects, topology
from atoll.wire.messages import Tee
from atoll.wire.topology_types import Stream
from integration.cluster.conftest import Hub
from support.cluster import Server
from support.load import QUEUE

LOCAL = Stream(name="LOCAL", subjects=("local.*",), max_bytes=1 << 20)
SPAWN = subjects.SPAWN.of(Tee.SIMULATED.value)


def far_end(hub: Hub, leaf: str) -> Server:
    """The hub's server that the leaf node hangs on."""
    for server in hub.servers:
        with urllib.request.urlopen(f"http://{server.host}:8222/leafz", timeout=5) as answer:
            if any(each["name"] == leaf for each in json.load(answer).get("leafs") or ()):
                return server
    raise AssertionError(f"{leaf} hangs on no server")


async def test_a_site_takes_work_from_the_hub_also_after_its_link_was_cut(hub: Hub) -> None:
    leaf = await hub.site.leaf("site-1")
    async with (
        connect(hub.site.config("operator", *hub.servers)) as at_hub,
        connect(hub.site.config("manager", leaf, domain="hub")) as at_site,
        WorkQueue(at_site, QUEUE) as queue,
    ):
        hosts = KeyValue(at_site, topology.HOSTS)
        await publish(at_hub, SPAWN, b"before")
        delivery = await asyncio.wait_for(queue.next(), 20)
        assert delivery.payload == b"before"
        await hosts.create("before", b"busy")
        await delivery.ack()

        # The server that the site hangs on goes, and with it the link and what passed over it.
        held_by = await asyncio.to_thread(far_end, hub, leaf.name)
        waiting = asyncio.create_task(queue.next())  # noqa: TID251 - awaited below
        await asyncio.to_thread(held_by.kill)
        await publish(at_hub, SPAWN, b"after", timeout_s=30)
        delivery = await asyncio.wait_for(waiting, 40)
        assert delivery.payload == b"after"
        await hosts.create("after", b"busy")
        await delivery.ack()
        assert await hosts.get("after") is not None
        assert await KeyValue(at_hub, topology.HOSTS).get("after") is not None
        await hub.site.start([held_by])


async def test_a_site_has_a_jetstream_of_its_own(hub: Hub) -> None:
    leaf = await hub.site.leaf("site-2")
    async with connect(hub.site.config("operator", leaf)) as at_site:
        await ensure_stream(at_site, LOCAL)
        assert (await publish(at_site, "local.a", b"here")).stream == LOCAL.name
    async with connect(hub.site.config("operator", *hub.servers)) as at_hub:
        with pytest.raises(NotFoundError):
            await copies(at_hub, LOCAL.name)
