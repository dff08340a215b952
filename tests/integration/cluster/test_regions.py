"""Two regions joined by gateways: a request is answered across, at home first."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from atoll.bus import Bus, Endpoint, Service, connect, publish, read_stream
from atoll.bus.provision import ensure_stream
from atoll.errors import UnreachableError
from atoll.wire.topology_types import Stream
from support.cluster import Site
from support.nats import wait_for

SUBJECT = "region.who"
SHARED = Stream(name="SHARED", subjects=("shared.*",), max_bytes=1 << 20)


def service(bus: Bus, region: bytes) -> Service:
    async def answer(_: bytes, __: Mapping[str, str]) -> bytes:
        return region

    endpoint = Endpoint(name="who", subject=SUBJECT, handler=answer)
    return Service(bus, name="who", version="1.0.0", description="a region", endpoints=[endpoint])


async def test_a_request_is_answered_in_the_other_region_when_nobody_at_home_does(
    tmp_path: Path,
) -> None:
    with Site(tmp_path) as site:
        east, west = await site.regions()
        async with (
            connect(site.config("operator", east)) as at_east,
            connect(site.config("operator", west)) as at_west,
        ):
            async with service(at_west, b"west"):
                reply = await at_east.request(SUBJECT, b"", retry=True, timeout_s=20)
                assert reply.payload == b"west"
                async with service(at_east, b"east"):
                    assert (await at_east.request(SUBJECT, b"")).payload == b"east"
                    assert (await at_west.request(SUBJECT, b"")).payload == b"west"

            # Streams are found from anywhere too.
            await ensure_stream(at_east, SHARED)
            await publish(at_west, "shared.a", b"from afar", timeout_s=20)
            stored = [message.payload async for message in read_stream(at_east, "SHARED", ">")]
            assert stored == [b"from afar"]

            # The other region may be away; home goes on.
            await asyncio.to_thread(west.kill)

            async def nobody() -> bool:
                try:
                    await at_east.request(SUBJECT, b"", timeout_s=2)
                except UnreachableError as error:
                    return error.code == "bus.no_responders"
                return False

            await wait_for(nobody, "east knows that west is gone")
            async with service(at_east, b"east"):
                assert (await at_east.request(SUBJECT, b"")).payload == b"east"
