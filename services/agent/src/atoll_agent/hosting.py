"""What an enclave without a network has of its host: four services over a channel.

    bus, bus.1, ...   streams to the servers of the bus, in the order of the setting
    device            the simulated guest device, where there is one
    egress            connections to the destinations of a manifest (`atoll.egress.words`)
    status            lines of JSON: `{"status": n}` from us, once, before we end; from the host
                      `{"lease": {...}}`, once, to one that was started before there was a job, and
                `{"stop": true}`: we are to end, and say how

The status stream is there from the first moment. Its end is the host's: the enclave ends too.
What comes over it is as little believed as the environment (`atoll_agent.config`).
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from atoll.bus.transport import Dial
from atoll.channel.address import Address
from atoll.channel.dialer import Dialer, dialing
from atoll.channel.pumping import Ends
from atoll.errors import AtollError, ConfigError, UnreachableError
from atoll_agent import leasing
from atoll_agent.config import PREFIX
from atoll_agent.egress.way import ByChannel, Way
from atoll_agent.evidence.simulated import SimulatedDevice

SETTING: Final = f"{PREFIX}CHANNEL"
STOP: Final = {"stop": True}
FAREWELL_S: Final = 2.0
"""How long the host may take to hear our last word."""


class Host:
    """The other end of the channel; made by `hosted`."""

    def __init__(self, dialer: Dialer, status: Ends) -> None:
        self._dialer = dialer
        self._reader, self._writer = status

    async def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """The settings, when there is a job: at once, or when we are told.

        Raises:
            ConfigError: `config.invalid`: the host told something else.
            UnreachableError: `enclave.unused`: it is gone.
        """
        if f"{PREFIX}JOB_ID" in env:
            return dict(env)
        try:
            line = await self._reader.readuntil()
        except (OSError, asyncio.IncompleteReadError) as error:
            raise UnreachableError("no job came", code="enclave.unused") from error
        except asyncio.LimitOverrunError:
            line = b""
        try:
            word = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError("what the host told is no JSON", code="config.invalid") from error
        if word == STOP:
            raise UnreachableError("no job came", code="enclave.unused")
        if not isinstance(word, dict) or word.keys() != {"lease"}:
            raise ConfigError("the host told something else than a job", code="config.invalid")
        return dict(env) | leasing.settings(word["lease"])

    async def device(self) -> SimulatedDevice:
        """The simulated device; at its end at once where the host has none."""
        return SimulatedDevice(*await self._dialer.open("device"))

    def way(self) -> Way:
        """How a workload's connections leave the enclave."""
        return ByChannel(self._dialer.open)

    def dial(self, urls: list[str]) -> Dial:
        """How to reach these servers of the bus, which the host knows by their place."""
        places: dict[tuple[str, int], str] = {}
        for place, url in enumerate(urls):
            try:
                parts = urlsplit(url)
                where = (parts.hostname or "", parts.port or 0)
            except ValueError as error:
                raise ConfigError(f"{url!r} is no server", code="config.invalid") from error
            places.setdefault(where, f"bus.{place}" if place else "bus")

        async def open_it(host: str, port: int) -> Ends:
            service = places.get((host, port))
            if service is None:
                raise ConnectionRefusedError(f"{host}:{port} is not in our settings")
            try:
                return await self._dialer.open(service)
            except AtollError as error:
                raise ConnectionResetError(error.message) from error

        return open_it

    async def gone(self) -> None:
        """Until the host is, or says another word: then it wants us to end."""
        with contextlib.suppress(OSError):
            await self._reader.read(1)

    async def farewell(self, status: int) -> None:
        """Say how we ended, and wait until that was heard."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                self._writer.write(json.dumps({"status": status}).encode() + b"\n")
                self._writer.write_eof()
                while await self._reader.read(leasing.MAX_LINE):
                    pass


@contextlib.asynccontextmanager
async def hosted(channel: str) -> AsyncIterator[Host]:
    """Our host over this channel.

    Raises:
        ConfigError: `channel.address`.
        UnreachableError: `channel.gone`, `channel.no_port`.
        MessageError: the host broke the protocol.
    """
    async with dialing(Address.parse(channel)) as dialer:
        status = await dialer.open("status")
        try:
            yield Host(dialer, status)
        finally:
            status[1].close()
