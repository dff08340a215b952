"""`atoll asset` at a real bus whose login may do less than a client's."""

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.bus import ObjectStore, connect, provision
from atoll.client.asset_record import AssetState
from atoll.client.asset_store import AssetStore
from atoll.client.keystore import KeyStore
from atoll.client.profile import Profile, ProfileFile
from atoll.credentials.claims import Permissions
from atoll.wire import topology
from atoll.wire.messages import Tee
from atoll_cli.deployment.identities import Identities
from support.assets import record
from support.command import Said, atoll
from support.logins import believing, config, login

READER = Permissions(
    publish=(
        *("$JS.API.INFO", "$JS.API.STREAM.INFO.>", "$JS.API.DIRECT.GET.>"),
        "atoll.v1.telemetry.>",
    ),
    subscribe=(f"{topology.inbox('client')}.>",),
)


ALL = Permissions(publish=(">",), subscribe=(">",))


@pytest.mark.parametrize("verb", ["put", "delete"])
async def test_a_login_that_may_only_read_is_told_so(tmp_path: Path, verb: str) -> None:
    home = tmp_path / "home"
    made = replace(record("one"), state=AssetState.STORED)
    store = AssetStore(home)
    store.save(made)
    KeyStore(home).new("me")
    source = write(tmp_path / "two", b"content")
    async with believing(tmp_path / "nats") as server:
        ProfileFile(home).save(
            Profile(
                nats_url=server.url,
                nats_creds=login(READER).text,
                tee=Tee.SIMULATED,
                policy="{}",
            )
        )
        async with connect(config(server, login(ALL))) as bus:
            await provision(bus, object_buckets=[topology.ASSETS])
            objects = ObjectStore(bus, topology.ASSETS)
            await objects.put(made.asset_id, [b"sealed"])
            if verb == "put":
                said = await command(home, "put", source, "--json")
                assert (said.status, said.document()["error"]["code"]) == (1, "bus.permission")
                assert store.load("two").state is AssetState.UPLOADING
                return
            said = await command(home, "delete", "one", "--yes", "--json")
            assert said.status == 0
            document = said.document()
            assert (document["deleted_here"], document["deleted_there"]) == (True, False)
            assert document["reason"]["code"] == "bus.permission"
            assert store.names() == ()
            assert (await objects.info(made.asset_id)).size == len(b"sealed")


async def test_a_login_that_is_refused_deletes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = AssetStore(home)
    store.save(record("one"))
    stranger = Identities.generate(secrets.token_bytes)
    async with believing(tmp_path / "nats") as server:
        ProfileFile(home).save(
            Profile(
                nats_url=server.url,
                nats_creds=login(READER, of=stranger).text,
                tee=Tee.SIMULATED,
                policy="{}",
            )
        )
        said = await command(home, "delete", "one", "--yes", "--json")
    assert said.status in {1, 3}
    assert "--local" in said.document()["error"]["hint"]
    assert store.names() == ("one",)


def write(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


async def command(home: Path, *arguments: str | Path) -> Said:
    return await asyncio.to_thread(atoll, home, "asset", *arguments)
