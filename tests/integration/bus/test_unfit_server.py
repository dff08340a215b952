"""Servers that are too old, or keep no streams: every process says so and refuses to start."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atoll.bus import connect, require_jetstream
from atoll.client.profile import Profile, ProfileFile
from atoll.errors import ConfigError
from atoll.wire.messages import Tee
from atoll_cli.deployment.folder import server_section
from atoll_cli.nats_server import EmbeddedNats
from atoll_cli.stack.layout import Plan
from atoll_cli.stack.material import Material
from support import command
from support.nats import bus_config, running

SERVICES = ("gateway", "attestor", "manager")


@asynccontextmanager
async def pretending(version: object) -> AsyncIterator[str]:
    """A server that says it is of this version, and knows INFO, PING and nothing else."""
    info: dict[str, Any] = {"max_payload": 1 << 20, "headers": True, "jetstream": True}
    if version is not None:
        info["version"] = version

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "version",
    ["2.10.29", "2.9.10", "1.4.1", "0.0.0", "2.2", "2.1.11", "nightly", "", None, "2.x", "-2.11.0"],
)
async def test_a_server_below_the_floor_is_refused(nats: EmbeddedNats, version: object) -> None:
    async with pretending(version) as url:
        with pytest.raises(ConfigError) as caught:
            async with connect(bus_config(nats, url=url)):
                pytest.fail("connected")
    assert caught.value.code == "bus.server_too_old"
    assert "2.11 or newer" in caught.value.message
    assert (str(version) if version else "unknown") in caught.value.message or version == ""


@pytest.mark.parametrize("version", ["2.11.0", "2.11.0-RC.1", "2.15.1", "3.0.0", "10.0.0"])
async def test_a_server_at_or_above_it_is_not(nats: EmbeddedNats, version: str) -> None:
    async with pretending(version) as url, connect(bus_config(nats, url=url)) as bus:
        assert bus.server_version == version


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return Material.prepare(tmp_path_factory.mktemp("data"))


async def run(material: Material, name: str, url: str) -> tuple[int, str]:
    """Start a service as the stack does; its exit status and what it said."""
    plan = Plan(
        material=material,
        nats_url=url,
        http=("127.0.0.1", 0),
        slots=1,
        host_id="local",
        env={},
    )
    spec = {"gateway": plan.gateway, "attestor": plan.attestor, "manager": plan.manager}[name]()

    def ended() -> tuple[int, str]:
        process = subprocess.Popen(
            [sys.executable, "-m", spec.module],
            env={**os.environ, **spec.env},  # noqa: TID251 - a test is its own main
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            # Standard input stays open: nobody asks it to stop.
            assert process.stderr is not None
            said = process.stderr.read()
            return process.wait(60), said

    return await asyncio.to_thread(ended)


def profile(home: Path, material: Material, url: str) -> None:
    ProfileFile(home).save(
        Profile(
            nats_url=url,
            nats_creds=material.bus.tenant_creds("main").read_text(),
            tee=Tee.SIMULATED,
            policy=material.policy.decode(),
        )
    )


async def test_no_process_starts_on_an_old_server(tmp_path: Path, material: Material) -> None:
    async with pretending("2.10.29") as url:
        for name in SERVICES:
            status, said = await run(material, name, url)
            assert status == 2, said
            assert "runs nats-server 2.10.29; 2.11 or newer is needed" in said
            assert "bus.server_too_old" in said
            assert "Traceback" not in said
        profile(tmp_path, material, url)
        done = await asyncio.to_thread(command.atoll, tmp_path, "jobs", "list", "--json")
    assert done.status == 1
    assert done.document()["error"]["code"] == "bus.server_too_old"
    assert "2.10.29" in done.document()["error"]["message"]


async def test_no_process_starts_on_a_server_without_streams(
    tmp_path: Path, material: Material
) -> None:
    trust = server_section(material.identities, tmp_path / "jwt", now=int(time.time()))
    async with running(tmp_path / "nats", extra={**trust, "jetstream": None}) as server:
        for name in SERVICES:
            status, said = await run(material, name, server.url)
            assert status == 2, said
            assert "bus.no_jetstream" in said
            assert "Traceback" not in said
        profile(tmp_path, material, server.url)
        done = await asyncio.to_thread(command.atoll, tmp_path, "jobs", "list", "--json")
    assert done.status == 1
    assert done.document()["error"]["code"] == "bus.no_jetstream"


async def test_a_login_whose_account_has_no_streams_is_told(tmp_path: Path) -> None:
    extra = {
        "authorization": None,
        "accounts": {"BARE": {"users": [{"user": "admin", "password": "admin secret"}]},
                     "RICH": {"jetstream": "enabled", "users": []}},
    }  # fmt: skip
    async with (
        running(tmp_path / "nats", extra=extra) as server,
        connect(bus_config(server)) as bus,
    ):
        with pytest.raises(ConfigError) as caught:
            await require_jetstream(bus)
    assert caught.value.code == "bus.no_jetstream"
