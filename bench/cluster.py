"""Three nats-servers on this machine that make one cluster, or one that makes none."""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from atoll_cli.nats_server import find_binary

USER: Final = "bench"
SIZE: Final = 3
STOP_S: Final = 10.0


@asynccontextmanager
async def servers(scratch: Path, count: int, sync: str) -> AsyncIterator[dict[str, str]]:
    """`count` servers that force to the disk as `sync` says; how to connect to them."""
    password = secrets.token_urlsafe(16)
    clients, routes = _free_ports(count), _free_ports(count)
    running: list[asyncio.subprocess.Process] = []
    try:
        for index in range(count):
            folder = scratch / f"{count}-{sync}-{index}"
            folder.mkdir(parents=True)
            config = _config(folder, index, clients, routes, sync=sync, password=password)
            path = folder / "nats.conf"
            path.touch(mode=0o600)
            path.write_text(json.dumps(config))
            with (folder / "log").open("wb") as log:
                running.append(
                    await asyncio.create_subprocess_exec(
                        str(find_binary()), "-c", str(path), stdout=log, stderr=log
                    )
                )
        urls = ",".join(f"nats://127.0.0.1:{port}" for port in clients)
        yield {"url": urls, "user": USER, "password": password}
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                process.terminate()
        for process in running:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _config(
    folder: Path, index: int, clients: list[int], routes: list[int], *, sync: str, password: str
) -> dict[str, Any]:
    config: dict[str, Any] = {
        "server_name": f"bench-{index}",
        "host": "127.0.0.1",
        "port": clients[index],
        "jetstream": {"store_dir": str(folder / "store"), "sync_interval": sync},
        "accounts": {
            "BENCH": {"jetstream": "enabled", "users": [{"user": USER, "password": password}]},
            "SYS": {"users": []},
        },
        "system_account": "SYS",
    }
    if len(clients) > 1:
        config["cluster"] = {
            "name": "bench",
            "host": "127.0.0.1",
            "port": routes[index],
            "routes": [f"nats-route://127.0.0.1:{port}" for port in routes],
        }
    return config


def _free_ports(count: int) -> list[int]:
    held = []
    for _ in range(count):
        one = socket.socket()
        one.bind(("127.0.0.1", 0))
        held.append(one)
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
