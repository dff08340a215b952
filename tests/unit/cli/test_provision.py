"""`atoll provision`: what it refuses before it asks anybody."""

import socket
from pathlib import Path

import pytest

from atoll.credentials.claims import Permissions
from atoll_cli.commands.provision import stream_names
from support.logins import login
from unit.cli.console import Console


@pytest.fixture
def creds(tmp_path: Path) -> Path:
    """A login."""
    path = tmp_path / "operator.creds"
    path.write_text(login(Permissions()).text)
    path.chmod(0o600)
    return path


def test_says_that_nobody_answers(console: Console, creds: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        url = f"nats://127.0.0.1:{held.getsockname()[1]}"
        said = console("provision", "--nats", url, "--creds", str(creds), "--json")
    assert said.status == 3
    assert said.document()["error"]["code"] == "bus.unreachable"


@pytest.mark.parametrize("content", [b"", b"\n", b"a password\n"])
def test_refuses_a_file_that_is_no_login(console: Console, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "operator.creds"
    path.write_bytes(content)
    said = console("provision", "--nats", "nats://x:1", "--creds", str(path), "--json")
    assert said.status in {1, 2}
    assert said.document()["error"]["code"] == "creds.invalid"


@pytest.mark.parametrize("url", ["", "nats://a:1,tls://b:1"])
def test_refuses_what_is_no_list_of_servers(console: Console, creds: Path, url: str) -> None:
    said = console("provision", "--nats", url, "--creds", str(creds), "--json")
    assert said.status in {1, 2}
    assert said.document()["error"]["code"] == "config.invalid"


@pytest.mark.parametrize("replicas", ["2", "0", "many"])
def test_refuses_an_even_number_of_copies(console: Console, creds: Path, replicas: str) -> None:
    given = ("provision", "--nats", "nats://x:1", "--creds", str(creds))
    assert console(*given, "--replicas", replicas).status == 2


def test_knows_the_streams_below_buckets() -> None:
    assert {"SPAWN", "KV_jobs", "OBJ_assets"} <= set(stream_names())
