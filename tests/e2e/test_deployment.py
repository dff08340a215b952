"""`atoll init`, `rotate` and `admission` as an operator uses them, on real servers."""

import ssl
import stat
from pathlib import Path

import pytest

from atoll.bus import BusConfig, connect, login_from
from atoll.errors import RefusedError
from atoll.wire import topology
from atoll.wire.messages import JobState
from atoll_cli.deployment.folder import Folder
from e2e.guests import sleeping
from e2e.inflight import started
from support.client import reached
from support.command import atoll
from support.nats import wait_for
from support.stack import Stack


def here(stack: Stack) -> tuple[str, str]:
    return ("--data-dir", str(stack.data_dir))


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_init_makes_private_files_and_keeps_every_key_the_second_time(tmp_path: Path) -> None:
    one = atoll(tmp_path, "init", tmp_path / "d", "--host", "bus.example", "--json")
    assert one.status == 0
    assert one.document()["nats"] == "tls://bus.example:4222"
    before = files(tmp_path / "d")
    for path in (tmp_path / "d").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert atoll(tmp_path, "init", tmp_path / "d", "--host", "bus.example").status == 0
    after = files(tmp_path / "d")
    kept = {"bus/identities.json", "bus/door.json", "tls/ca.pem", "tls/ca.key", "tls/server.pem"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    # Another name needs another certificate; the authority stays.
    assert atoll(tmp_path, "init", tmp_path / "d", "--host", "other.example").status == 0
    moved = files(tmp_path / "d")
    assert moved["tls/ca.pem"] == before["tls/ca.pem"]
    assert moved["tls/server.pem"] != before["tls/server.pem"]
    context = ssl.create_default_context(cadata=moved["tls/ca.pem"].decode())
    assert context.cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize("name", ["", "a..b", "bad name", "x/y", "-" * 300])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    said = atoll(tmp_path, "init", tmp_path / "d", "--host", name, "--json")
    assert said.status != 0
    assert said.document()["error"]["code"] == "tls.name"


@pytest.mark.parametrize("name", ["bus/identities.json", "tls/ca.key", "tls/server.pem"])
def test_a_damaged_file_is_told_and_not_replaced(tmp_path: Path, name: str) -> None:
    assert atoll(tmp_path, "init", tmp_path / "d").status == 0
    (tmp_path / "d" / name).write_bytes(b"damaged")
    said = atoll(tmp_path, "init", tmp_path / "d", "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] in {"deployment.damaged", "tls.damaged"}
    assert (tmp_path / "d" / name).read_bytes() == b"damaged"


async def test_a_rotated_login_is_cut_and_the_service_goes_on_with_the_new_one(
    stack: Stack, tmp_path: Path
) -> None:
    old = tmp_path / "old.creds"
    old.write_bytes(stack.folder.creds("gateway").read_bytes())

    def as_gateway(path: Path) -> BusConfig:
        return BusConfig(
            url=stack.profile.nats_url,
            name="test",
            login=login_from(path, "gateway"),
            inbox_prefix=topology.inbox("gateway"),
            connect_timeout_s=5.0,
            drain_timeout_s=2.0,
        )

    async with connect(as_gateway(old)) as bus:
        for kind, name in (("login", "gateway"), ("tenant", "main")):
            said = stack.atoll("rotate", kind, name, "--data-dir", str(stack.data_dir), "--json")
            assert said.status == 0, said
            assert said.document() == {"rotated": [name]}
        await wait_for(lambda: not bus.connected, "what was connected by the old login is cut")
    with pytest.raises(RefusedError):
        async with connect(as_gateway(old)):
            pass
    async with connect(as_gateway(stack.folder.creds("gateway"))):
        pass
    # The gateway serves, and this home's profile has the client's new login.
    assert stack.atoll("jobs", "list", "--json").status == 0


def test_rotation_that_servers_cannot_be_told_of_says_so(tmp_path: Path) -> None:
    assert atoll(tmp_path, "init", tmp_path / "d", "--nats-port", "1").status == 0
    (tmp_path / "profile.json").write_bytes((tmp_path / "d" / "profile.json").read_bytes())
    before = Folder(tmp_path / "d" / "bus").creds("gateway").read_bytes()
    said = atoll(tmp_path, "rotate", "login", "gateway", "--data-dir", tmp_path / "d", "--json")
    assert said.status == 3
    error = said.document()["error"]
    assert error["code"] == "rotate.not_told"
    assert "rotate push" in error["hint"]
    assert Folder(tmp_path / "d" / "bus").creds("gateway").read_bytes() != before


async def test_a_running_job_loses_its_enclave_when_its_image_is_revoked(
    stack: Stack, tmp_path: Path
) -> None:
    """And completes in another one after the image was reinstated."""
    module = tmp_path / "sleep.wasm"
    module.write_bytes(sleeping(8000))
    measurement = stack.policy_measurement()
    async with stack.client() as client, started(stack, client, module, tmp_path) as job:
        await job.at(reached(JobState.RUNNING))
        args = ("admission", "revoke", "measurement", measurement, *here(stack))
        said = stack.atoll(*args, "--reason", "a test", "--json")
        assert said.status == 0, said
        assert said.document()["ended"] == 1
        listed = stack.atoll("admission", "list", *here(stack), "--json").document()
        assert [each["id"] for each in listed["revocations"]] == [measurement]
        undo = ("admission", "reinstate", "measurement", measurement, *here(stack))
        assert stack.atoll(*undo, "--json").status == 0
        outcome = await job.completed()
        assert outcome.view.state is JobState.COMPLETED
        assert len(await job.stored_outcomes()) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("revoke", "planet", "x", "--reason", "y"), 2, "usage"),
        (("revoke", "host", "a.b", "--reason", "y"), 2, "usage"),
        (("revoke", "host", "x"), 2, "usage"),
        (("list",), 1, "operator.missing"),
        (("list", "--data-dir", "nowhere"), 2, "usage"),
    ],
)
def test_admission_s_bad_input(
    stack: Stack, arguments: tuple[str, ...], status: int, code: str
) -> None:
    said = stack.atoll("admission", *arguments, "--json")
    assert (said.status, said.document()["error"]["code"]) == (status, code)
