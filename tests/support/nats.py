"""Real nats-servers for tests: fixtures to import into a conftest.

nats           one server for the whole session, all users below
nats_server    a fresh server for one test, which it may kill and restart
bus            a connection to `nats` with every permission
"""

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from atoll.bus import Bus, BusConfig, connect
from atoll.wire import tenancy
from atoll.wire.access import DEFAULT_TENANT
from atoll_cli.nats_server import EmbeddedNats, NatsUser

ADMIN = NatsUser(
    name="admin", password="admin secret", publish=(">",), subscribe=(">",), allow_responses=True
)
LIMITED = NatsUser(
    name="limited",
    password="limited secret",
    publish=("allowed.>",),
    subscribe=("_INBOX_limited.>", "allowed.>"),
)


MAPPINGS = {
    offer.local: re.sub(r"\*", "$1", offer.served)
    for offer in tenancy.offers(DEFAULT_TENANT)
    if offer.served.startswith("atoll.v1.tenant.")
}
"""What the import of the default tenant's account does, on a server without accounts."""


def bus_config(server: EmbeddedNats, *, user: NatsUser = ADMIN, **changes: object) -> BusConfig:
    """How `user` connects to `server`."""
    fields: dict[str, object] = {
        "url": server.url,
        "name": f"test-{user.name}",
        "user": user.name,
        "password": user.password,
        "inbox_prefix": f"_INBOX_{user.name}",
        "drain_timeout_s": 2.0,
    }
    return BusConfig(**{**fields, **changes})  # type: ignore[arg-type]


async def kill(server: EmbeddedNats) -> None:
    """End the server without a chance to say goodbye."""
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await server.wait()


async def restart(server: EmbeddedNats) -> None:
    """Kill the server and start it again on the same port and data."""
    await kill(server)
    await server.start()


async def wait_for(
    condition: Callable[[], Awaitable[bool]] | Callable[[], bool], why: str, *, within_s: float = 15
) -> None:
    """Return when `condition` holds; fail with `why` when it does not in time."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                result = condition()
                if result if isinstance(result, bool) else await result:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"not within {within_s} s: {why}")


class _Configured(EmbeddedNats):
    """One with settings that a stack does not offer."""

    def __init__(
        self,
        data_dir: Path,
        users: Sequence[NatsUser],
        extra: Mapping[str, Any],
        *,
        max_file: int,
    ) -> None:
        super().__init__(data_dir, users, max_file=max_file)
        self._extra = extra

    def _config(self) -> bytes:
        config = {**json.loads(super()._config()), **self._extra}
        if not {"operator", "accounts"} & config.keys():
            config["mappings"] = MAPPINGS
        return json.dumps(
            {key: value for key, value in config.items() if value is not None}
        ).encode()


@contextlib.asynccontextmanager
async def running(
    data_dir: Path,
    *,
    users: tuple[NatsUser, ...] = (ADMIN, LIMITED),
    max_file: int = 16 << 30,
    extra: Mapping[str, Any] | None = None,
) -> AsyncIterator[EmbeddedNats]:
    """A server on a free port; `extra` is configuration of its own."""
    async with _Configured(data_dir, users, extra or {}, max_file=max_file) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedNats]:
    """One server for the session. Do not stop it."""
    async with running(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedNats]:
    """A server of one's own, to kill and restart."""
    async with running(tmp_path / "nats") as server:
        yield server


@pytest_asyncio.fixture
async def bus(nats: EmbeddedNats) -> AsyncIterator[Bus]:
    """A connection as administrator to the session's server."""
    async with connect(bus_config(nats)) as connected:
        yield connected
