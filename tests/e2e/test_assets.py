"""`atoll asset` on a running stack: sealed once and sent once, whatever interrupts it."""

import asyncio
import hashlib
import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from atoll.bus import Bus, ObjectStore, publish
from atoll.bus.upload import INDEX_HEADER
from atoll.client.asset_record import AssetKind, AssetRecord, AssetState
from atoll.client.asset_source import Source, survey
from atoll.client.asset_store import AssetStore
from atoll.computation.assets import AssetRef
from atoll.sealing.asset import seal_chunks
from atoll.wire import schema, topology
from atoll_cli.meter import EVERY_S
from support.command import ATOLL, environment
from support.nats import wait_for
from support.stack import Stack

LARGE = 256 << 20
CHUNK = 512 << 10


@pytest.fixture(scope="module")
def home(stack: Stack) -> Stack:
    """The stack, with an identity key."""
    assert stack.atoll("keys", "new", "me").status == 0
    return stack


def assets(stack: Stack) -> AssetStore:
    return AssetStore(stack.home)


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def sealed_digest(record: AssetRecord, path: Path) -> str:
    """SHA-256 of what would have been stored without any interruption."""
    made = record.secrets
    chunks = seal_chunks(
        record.content_key, Source(path).pieces(), asset_id=made.asset_id, prefix=made.prefix
    )
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


async def stored(bus: Bus, upload_id: str) -> tuple[int, int]:
    """Chunks that lie on the bus of this upload, and how many messages the bucket ever took."""
    request = json.dumps({"subjects_filter": f"$O.assets.C.{upload_id}"}).encode()
    reply = await bus.request("$JS.API.STREAM.INFO.OBJ_assets", request)
    state = json.loads(reply.payload)["state"]
    return sum((state.get("subjects") or {}).values()), state["last_seq"]


async def begun(bus: Bus, stack: Stack, name: str) -> bool:
    """Whether some chunks of the asset lie on the bus."""
    record = assets(stack).find(name)
    return record is not None and (await stored(bus, record.upload_id))[0] > 0


async def bytes_digest(bus: Bus, record: AssetRecord) -> str:
    """SHA-256 of what the bus really has."""
    _, chunks = await ObjectStore(bus, topology.ASSETS).get(record.asset_id)
    found = hashlib.sha256()
    async for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


@contextmanager
def putting(stack: Stack, path: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """`atoll asset put` with its standard error on a terminal; that terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*ATOLL, "asset", "put", path],
        env=environment(stack.home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


def read_to(terminal: int, word: str) -> str:
    """What the terminal shows, until `word` is there or nothing more comes."""
    said = ""
    while word not in said:
        try:
            raw = os.read(terminal, 4096)
        except OSError:
            break
        said += raw.decode()
    return said


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
)
async def test_an_interrupted_put_goes_on_and_ends_the_same(
    home: Stack, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    name = f"large-{number.name}"
    path = sparse(tmp_path / name, LARGE)
    async with home.client() as client, home.bus("operator") as bus:
        with putting(home, path) as (process, terminal):
            await wait_for(lambda: begun(bus, home, name), "some of it is stored")
            process.send_signal(signal.SIGSTOP)
            # So that there is something to tell, however fast this machine is.
            await asyncio.sleep(EVERY_S)
            process.send_signal(signal.SIGCONT)
            said = await asyncio.to_thread(read_to, terminal, "stored ")
            process.send_signal(number)
            rest = await asyncio.to_thread(read_to, terminal, "there is no such word")
            assert process.wait(30) == status, said + rest
    assert " of 256.0 MiB, " in said + rest
    assert "Traceback" not in said + rest
    record = assets(home).load(name)
    assert record.state is AssetState.UPLOADING
    (row,) = [
        each
        for each in home.atoll("asset", "list", "--json").document()["assets"]
        if each["name"] == name
    ]
    assert row["state"] == "uploading"

    async with home.client() as client, home.bus("operator") as bus:
        before, seq = await stored(bus, record.upload_id)
        chunks = -(-record.sealed_size // CHUNK)
        assert 0 < before < chunks
        assert await client.asset(record.asset_id) is None

        # Another content under the same key is refused, and nothing of it goes out.
        with path.open("r+b") as file:
            file.seek(LARGE // 2)
            file.write(b"x")
        refused = home.atoll("asset", "put", path, "--json")
        assert (refused.status, refused.document()["error"]["code"]) == (1, "asset.changed")
        assert await stored(bus, record.upload_id) == (before, seq)

        with path.open("r+b") as file:
            file.seek(LARGE // 2)
            file.write(b"\0")
        document = home.atoll("asset", "put", path, "--json").document()
        assert document["outcome"] == "continued"
        assert document["kept_bytes"] == before * CHUNK
        assert document["sent_bytes"] == record.sealed_size - before * CHUNK
        after, last = await stored(bus, record.upload_id)
        # Each missing chunk once, and the metadata.
        assert (after, last - seq) == (chunks, chunks - before + 1)
        assert await bytes_digest(bus, record) == sealed_digest(record, path)

        again = home.atoll("asset", "put", path, "--json")
        assert (again.status, again.document()["outcome"]) == (0, "present")
        assert await stored(bus, record.upload_id) == (after, last)
    assert home.atoll("asset", "delete", name, "--yes").status == 0


def test_a_directory_is_one_asset_whatever_order_it_was_made_in(
    home: Stack, tmp_path: Path
) -> None:
    for folder, names in (("one", "ab"), ("other", "ba")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(name)
    first = home.atoll("asset", "put", tmp_path / "one", "--name", "tree", "--json").document()
    again = home.atoll("asset", "put", tmp_path / "other", "--name", "tree", "--json").document()
    assert (first["kind"], first["outcome"], again["outcome"]) == (
        "directory",
        "uploaded",
        "present",
    )
    checksum = home.atoll("checksum", tmp_path / "one", "--json").document()["checksums"][0]
    assert (first["sha256"], first["size"]) == (checksum["sha256"], checksum["size"])


def test_an_empty_file_is_an_asset_too(home: Stack, tmp_path: Path) -> None:
    said = home.atoll("asset", "put", sparse(tmp_path / "empty", 0), "--json")
    assert (said.status, said.document()["size"], said.document()["sent_bytes"]) == (0, 0, 55)


async def test_is_shown_with_its_card_replaced_and_deleted(home: Stack, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("first")
    assert home.atoll("asset", "put", path).status == 0
    old = assets(home).load("notes")
    shown = home.atoll("asset", "show", "notes", "--card", tmp_path / "card", "--json").document()
    card: Any = json.loads((tmp_path / "card").read_bytes())
    assert schema.from_plain(AssetRef, card, json=True) == old.ref
    assert shown["card"] == card
    assert "sha256" not in card

    path.write_text("second")
    said = home.atoll("asset", "put", path, "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "asset.exists")
    assert assets(home).load("notes") == old
    said = home.atoll("asset", "put", path, "--replace", "--public-digest", "--json")
    assert (said.status, said.document()["outcome"]) == (0, "uploaded")
    new = assets(home).load("notes")
    assert new.asset_id != old.asset_id
    assert new.content_key != old.content_key
    assert new.card["sha256"] == hashlib.sha256(b"second").hexdigest()
    async with home.client() as client, home.bus("operator") as bus:
        assert await client.asset(old.asset_id) is None
        assert await stored(bus, old.upload_id) == (0, (await stored(bus, "x"))[1])
        assert await client.asset(new.asset_id) is not None

        said = home.atoll("asset", "delete", "notes", "--json")
        assert (said.status, said.document()["error"]["code"]) == (2, "usage")
        said = home.atoll("asset", "delete", "notes", "--yes", "--json")
        assert said.status == 0
        assert said.document()["deleted_there"] is True
        assert await client.asset(new.asset_id) is None
    assert assets(home).find("notes") is None
    said = home.atoll("asset", "delete", "notes", "--yes", "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "asset.not_found")


async def test_what_the_bus_lost_is_put_back_under_the_same_id(home: Stack, tmp_path: Path) -> None:
    path = sparse(tmp_path / "lost", 3 * CHUNK)
    assert home.atoll("asset", "put", path).status == 0
    record = assets(home).load("lost")
    async with home.client() as client, home.bus("operator") as bus:
        before = await bytes_digest(bus, record)
        assert await client.delete_asset(record.asset_id, record.upload_id)
        said = home.atoll("asset", "put", path, "--json")
        assert (said.status, said.document()["outcome"]) == (0, "uploaded")
        assert await bytes_digest(bus, record) == before


async def test_chunks_out_of_order_are_erased_by_a_client_s_login(
    home: Stack, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "astray", 4 * CHUNK)
    known = survey(Source(path).pieces())
    record = AssetRecord.new(
        name="astray",
        provider="me",
        kind=AssetKind.FILE,
        size=known.size,
        sha256=known.sha256,
        public_digest=False,
        remote="",
        created_ms=0,
    )
    assets(home).save(record)
    async with home.bus("operator") as bus:
        # As a connection leaves them that was lost before chunk 0 arrived.
        for index in (1, 2):
            subject = f"$O.assets.C.{record.upload_id}"
            await publish(bus, subject, b"x", headers={INDEX_HEADER: str(index)})
        said = home.atoll("asset", "put", path, "--json")
        assert (said.status, said.document()["outcome"]) == (0, "uploaded"), said
        assert await bytes_digest(bus, record) == sealed_digest(record, path)


async def test_two_at_once_do_not_mix(home: Stack, tmp_path: Path) -> None:
    path = sparse(tmp_path / "twice", 64 << 20)
    with putting(home, path) as (process, _):
        lock = home.home / "assets" / "twice.lock"
        await wait_for(lock.exists, "the first has begun")
        await asyncio.sleep(0.1)
        said = home.atoll("asset", "put", path, "--json")
        assert process.wait(60) == 0
    codes = {"asset.busy"} if said.status else {said.document()["outcome"]}
    assert codes <= {"asset.busy", "present"}
    if said.status:
        assert said.document()["error"]["code"] == "asset.busy"


def test_bad_input_is_refused_and_the_stack_still_serves(home: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "damaged").write_text("x")
    assert home.atoll("asset", "put", tmp_path / "damaged").status == 0
    assets(home).path("damaged").write_bytes(b"{}")
    cases = [
        (("put", tmp_path / "gone"), 2, "usage"),
        (("put", tmp_path / "damaged", "--name", "a/b"), 2, "usage"),
        (("put", tmp_path / "damaged", "--key", "nobody"), 1, "key.not_found"),
        (("put", tmp_path / "damaged"), 1, "asset.malformed"),
        (("put", folder), 1, "archive.kind"),
        (("put", tmp_path / "pipe"), 1, "file.not_regular"),
        (("put", "/dev/null"), 1, "file.not_regular"),
        (("show", "damaged"), 1, "asset.malformed"),
        (("show", "nothing"), 1, "asset.not_found"),
        (("delete", "damaged", "--yes"), 1, "asset.malformed"),
    ]
    for arguments, status, code in cases:
        said = home.atoll("asset", *arguments, "--json")
        assert (said.status, said.document()["error"]["code"]) == (status, code), arguments
    assert home.atoll("asset", "list").status == 1
    assert home.atoll("asset", "delete", "damaged", "--yes", "--local").status == 0
    assert home.atoll("asset", "list").status == 0
    assert home.atoll("asset", "put", tmp_path / "damaged").status == 0
