"""A connection to the stack of the profile, with the command's own spans going out over it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from atoll.bus import Bus
from atoll.client.connection import AtollClient, open_client
from atoll.client.profile import Profile, ProfileFile
from atoll.telemetry import names
from atoll.telemetry.otel import ServiceTracing
from atoll.telemetry.wiring import bus_publisher
from atoll_cli.session import Session
from atoll_cli.stopping import checkpoint

if TYPE_CHECKING:
    from atoll.telemetry.export import Publish

FLUSH_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    profile: Profile
    client: AtollClient


@asynccontextmanager
async def connected(session: Session) -> AsyncIterator[Remote]:
    """Connect; when the block ends, whichever way, send the spans that are left.

    Raises:
        NotFoundError: `profile.missing`.
        AtollError: the profile is unusable, nobody answers, or the login is refused.
    """
    profile = ProfileFile(session.home).load()
    outlet = _Outlet()
    tracing = ServiceTracing(names.CLI, outlet.publish, instance=f"cli-{secrets.token_hex(4)}")
    async with open_client(profile, tracing.tracer) as client:
        outlet.attach(client.bus)
        exporting = asyncio.get_running_loop().create_task(tracing.run())
        try:
            checkpoint()
            yield Remote(profile=profile, client=client)
        finally:
            exporting.cancel()
            await asyncio.wait([exporting])
            if client.bus.connected:
                await tracing.flush(FLUSH_S)


class _Outlet:
    """Where spans go: a tracer is needed to connect, and a connection to publish."""

    def __init__(self) -> None:
        self._publish: Publish | None = None

    def attach(self, bus: Bus) -> None:
        self._publish = bus_publisher(bus)

    async def publish(self, trace_id: str, raw: bytes) -> None:
        if self._publish is None:
            raise RuntimeError("spans before the connection")
        await self._publish(trace_id, raw)
