"""A three-server hub from the files under `infra/nats`, with every stream three times."""

import asyncio
from collections.abc import Iterator

import pytest

from atoll.bus import connect
from atoll.bus.provision import provision_all, wait_replicated
from atoll.wire.durability import layout
from support.cluster import Server, Site
from support.load import STREAMS

SETTLING_S = 30.0


class Hub:
    """Three servers; a test may do to them what it likes, as long as it starts them again."""

    def __init__(self, site: Site, servers: list[Server]) -> None:
        self.site = site
        self.servers = servers

    def named(self, name: str) -> Server:
        """The server of that name."""
        return next(server for server in self.servers if server.name == name)


@pytest.fixture(scope="module")
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Provisioned and empty, for one module, whose `IDENTITIES` it believes if it has some."""
    identities = getattr(request.module, "IDENTITIES", None)
    with Site(tmp_path_factory.mktemp("site"), identities=identities) as site:
        yield asyncio.run(_started(site))


async def _started(site: Site) -> Hub:
    hub = Hub(site, await site.hub())
    async with connect(hub.site.config("operator", *hub.servers)) as bus:
        await provision_all(bus, layout(3))
        for name in STREAMS:
            await wait_replicated(bus, name, timeout_s=SETTLING_S)
    return hub
