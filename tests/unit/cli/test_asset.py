"""`atoll asset` as far as it goes without a bus: what is refused, and what asks nobody."""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.client.asset_record import AssetState
from atoll.client.asset_store import AssetStore
from atoll.client.keystore import KeyStore
from atoll.client.profile import Profile, ProfileFile
from atoll.computation.assets import AssetRef
from atoll.credentials.claims import Permissions
from atoll.wire import schema
from atoll.wire.messages import Tee
from atoll_cli.meter import EVERY_S, Meter
from atoll_cli.session import Session
from support.assets import record
from support.logins import login
from unit.cli.console import Console


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_bytes(b"1,2,3\n")
    return path


@pytest.fixture
def known(console: Console) -> AssetStore:
    """The home has a key, and a profile of a bus that nobody answers for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    profile = Profile(
        nats_url=f"nats://127.0.0.1:{port}",
        nats_creds=login(Permissions()).text,
        tee=Tee.SIMULATED,
        policy="{}",
    )
    ProfileFile(console.home).save(profile)
    KeyStore(console.home).new("me")
    return AssetStore(console.home)


def link(path: Path) -> None:
    (path / "link").symlink_to("/etc/passwd")


def pipe(path: Path) -> None:
    os.mkfifo(path / "pipe")


def broken_name(path: Path) -> None:
    Path(os.fsdecode(os.fsencode(path) + b"/\xff")).write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [(link, "archive.kind"), (pipe, "archive.kind"), (broken_name, "archive.name")],
)
def test_refuses_directories_that_have_no_archive(
    console: Console, known: AssetStore, tmp_path: Path, spoil: Callable[[Path], None], code: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"a")
    spoil(folder)
    said = console("asset", "put", folder, "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, code)
    assert "Traceback" not in said.err
    assert known.names() == ()


def test_refuses_a_pipe_and_a_device(console: Console, known: AssetStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        said = console("asset", "put", path, "--json")
        assert (said.status, said.document()["error"]["code"]) == (1, "file.not_regular")
    assert known.names() == ()


def test_refuses_more_than_an_asset_can_be(
    console: Console, known: AssetStore, tmp_path: Path
) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate((1 << 40) + 1)
    said = console("asset", "put", tmp_path / "large", "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "asset.too_large")
    assert known.names() == ()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("gone",),
        (".", "--name", "a/b"),
        (".", "--name", ".."),
        (".", "--name", ""),
        (".", "--key", "../me"),
        (".", "more"),
        ("/",),
    ],
)
def test_wrong_usage_of_put(
    console: Console, known: AssetStore, arguments: tuple[str, ...]
) -> None:
    said = console("asset", "put", "--json", *arguments)
    assert (said.status, said.document()["error"]["code"]) == (2, "usage")
    assert known.names() == ()


def test_a_file_name_that_is_no_name_asks_for_another(
    console: Console, known: AssetStore, data: Path
) -> None:
    odd = data.with_name("not a name")
    data.rename(odd)
    said = console("asset", "put", odd)
    assert said.status == 2
    assert "--name" in said.err
    assert known.names() == ()


@pytest.mark.parametrize("name", ["../x", "a b", "x" * 65, "\x1b[2J"])
def test_names_are_checked_everywhere(console: Console, known: AssetStore, name: str) -> None:
    assert known.names() == ()
    for verb in (("show",), ("delete", "--yes"), ("delete", "--yes", "--local")):
        said = console("asset", *verb, "--", name)
        assert said.status == 2
        assert "\x1b" not in said.err


def test_without_a_stack_put_says_so(console: Console, data: Path) -> None:
    said = console("asset", "put", data, "--json")
    assert (said.status, said.document()["error"]["code"]) == (3, "profile.missing")


def test_without_the_key_put_says_how_to_make_it(
    console: Console, known: AssetStore, data: Path
) -> None:
    said = console("asset", "put", data, "--key", "bob", "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "key.not_found")
    assert "atoll keys new bob" in said.document()["error"]["hint"]
    assert known.names() == ()


def test_a_bus_that_is_away_leaves_no_record(
    console: Console, known: AssetStore, data: Path
) -> None:
    said = console("asset", "put", data, "--json")
    assert said.status == 3
    assert said.document()["error"]["code"].startswith("bus.")
    assert known.names() == ()


def test_another_content_under_a_taken_name_is_refused_before_anybody_is_asked(
    console: Console, known: AssetStore, data: Path
) -> None:
    known.save(replace(record("data.csv"), state=AssetState.STORED))
    said = console("asset", "put", data, "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "asset.exists")
    known.save(record("data.csv"))
    said = console("asset", "put", data, "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "asset.changed")
    assert "--replace" in said.document()["error"]["hint"]
    assert known.load("data.csv") == record("data.csv")


def test_an_asset_that_another_process_puts_is_left_alone(
    console: Console, known: AssetStore, data: Path
) -> None:
    with known.locked("data.csv"):
        said = console("asset", "put", data, "--json")
        assert (said.status, said.document()["error"]["code"]) == (1, "asset.busy")


def test_lists_and_shows_without_a_secret(console: Console, known: AssetStore) -> None:
    said = console("asset", "list")
    assert (said.status, said.out) == (0, "")
    assert "atoll asset put" in said.err
    made = record("one")
    known.save(made)
    known.save(replace(record("two"), state=AssetState.STORED))
    said = console("asset", "list")
    assert [line.split() for line in said.out.splitlines()] == [
        ["one", "file", "7", "B", "uploading", record("one").asset_id],
        ["two", "file", "7", "B", "stored", record("two").asset_id],
    ]
    document = console("asset", "list", "--json").document()
    assert [each["name"] for each in document["assets"]] == ["one", "two"]
    assert document["damaged"] == []
    plain = schema.to_plain(made, json=True)
    for said in (
        console("asset", "list", "--json"),
        console("asset", "show", "one"),
        console("asset", "show", "one", "--json"),
    ):
        assert said.status == 0
        for secret in ("content_key", "salt"):
            assert plain[secret] not in said.out + said.err
            assert getattr(made, secret).hex() not in said.out + said.err


def test_a_card_goes_into_a_file(console: Console, known: AssetStore, tmp_path: Path) -> None:
    known.save(record("one"))
    said = console("asset", "show", "one", "--card", tmp_path / "card.json", "--json")
    written = json.loads((tmp_path / "card.json").read_bytes())
    assert written == said.document()["card"]
    assert schema.from_plain(AssetRef, written, json=True) == record("one").ref
    for bad in (tmp_path, tmp_path / "card.json" / "below"):
        assert console("asset", "show", "one", "--card", bad).status in {1, 2}


def test_what_is_not_there_is_not_found(console: Console) -> None:
    for verb in (
        ("show", "one"),
        ("delete", "one", "--yes"),
        ("delete", "one", "--yes", "--local"),
    ):
        said = console("asset", *verb, "--json")
        assert (said.status, said.document()["error"]["code"]) == (1, "asset.not_found")


def test_a_damaged_record_is_told_and_hides_no_other(console: Console, known: AssetStore) -> None:
    known.save(record("one"))
    known.save(record("two"))
    known.path("two").write_bytes(b'{"name":"two"}')
    said = console("asset", "list", "--json")
    assert said.status == 1
    assert [each["name"] for each in said.document()["assets"]] == ["one"]
    (damaged,) = said.document()["damaged"]
    assert (damaged["name"], damaged["error"]["code"]) == ("two", "asset.malformed")
    for verb in (("show", "two"), ("delete", "two", "--yes"), ("put", ".", "--name", "two")):
        said = console("asset", *verb, "--json")
        assert (said.status, said.document()["error"]["code"]) == (1, "asset.malformed")
    assert console("asset", "delete", "two", "--yes", "--local").status == 0
    assert known.names() == ("one",)


def test_nothing_is_deleted_without_a_yes(
    console: Console, known: AssetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.save(record("one"))
    said = console("asset", "delete", "one", "--local", "--json")
    assert (said.status, said.document()["error"]["code"]) == (2, "usage")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    said = console("asset", "delete", "one", "--local", "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "asset.kept")
    assert known.names() == ("one",)
    monkeypatch.setattr("click.confirm", lambda *_, **__: True)
    assert console("asset", "delete", "one", "--local").status == 0
    assert known.names() == ()


def test_deleting_with_the_bus_away_deletes_nothing(console: Console, known: AssetStore) -> None:
    known.save(record("one"))
    said = console("asset", "delete", "one", "--yes", "--json")
    assert said.status == 3
    assert "--local" in said.document()["error"]["hint"]
    assert known.names() == ("one",)
    said = console("asset", "delete", "one", "--yes", "--local", "--json")
    document = said.document()
    assert (said.status, document["deleted_here"], document["deleted_there"]) == (0, True, False)
    assert known.names() == ()


def test_progress_is_told_once_a_second_and_to_a_terminal_only(
    console: Console, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def lines(*, terminal: bool, as_json: bool = False) -> list[str]:
        monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
        session = Session(home=console.home, as_json=as_json)
        meter = Meter(session=session, what="stored", total=4096, clock=lambda: now[0])
        for done in (1024, 2048, 3072):
            meter.reached(done)
            now[0] += EVERY_S
            meter.reached(done)
            meter.reached(done)
        return capsys.readouterr().err.splitlines()

    assert [line.strip() for line in lines(terminal=True)] == [
        "stored 1.0 KiB of 4.0 KiB, 25 %",
        "stored 2.0 KiB of 4.0 KiB, 50 %",
        "stored 3.0 KiB of 4.0 KiB, 75 %",
    ]
    assert lines(terminal=False) == []
    assert lines(terminal=True, as_json=True) == []
