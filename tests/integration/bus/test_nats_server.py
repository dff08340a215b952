"""The embedded nats-server."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from atoll.bus import KeyValue, connect, provision
from atoll.errors import ConfigError
from atoll.wire import topology
from atoll.wire.topology_types import Bucket
from atoll_cli.nats_server import MIN_FILE, EmbeddedNats, NatsUser, file_limit
from support.nats import ADMIN, bus_config, kill, running, wait_for


def test_a_server_without_users_is_not_offered(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs users or trust"):
        EmbeddedNats(tmp_path, ())


@pytest.mark.parametrize(
    ("wanted", "free", "used", "limit"),
    [
        (16 << 30, 100 << 30, 0, 16 << 30),
        (16 << 30, 10 << 30, 0, (10 << 30) // 10 * 9),
        (16 << 30, 2 << 30, 8 << 30, (10 << 30) // 10 * 9),
        (16 << 30, 1 << 30, 0, MIN_FILE),
        (1 << 20, 100 << 30, 0, 1 << 20),
    ],
)
def test_the_limit_of_the_store_is_met_before_the_disk_is_full(
    wanted: int, free: int, used: int, limit: int
) -> None:
    assert file_limit(wanted, free, used) == limit


def test_a_small_disk_still_holds_what_the_streams_set_aside() -> None:
    assert sum(stream.max_bytes for stream in topology.STREAMS) <= MIN_FILE


async def test_data_survives_stop_and_start_on_the_same_port(tmp_path: Path) -> None:
    async with running(tmp_path / "d") as server:
        port = server.port
        async with connect(bus_config(server)) as bus:
            await provision(bus, buckets=[Bucket(name="b")])
            await KeyValue(bus, "b").put("k", b"v")
        await server.stop()
        assert server.pid is None
        await server.start()
        assert server.port == port
        async with connect(bus_config(server)) as bus:
            entry = await KeyValue(bus, "b").get("k")
    assert entry is not None
    assert entry.value == b"v"


async def test_keeps_its_files_private(tmp_path: Path) -> None:
    async with running(tmp_path / "d"):
        assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "d" / "nats.conf").stat().st_mode) == 0o600
        assert ADMIN.password not in (tmp_path / "d" / "nats.log").read_text()


@pytest.mark.parametrize("sync", ["never", "2", "-1s", "always;", ""])
def test_refuses_a_time_between_writes_that_is_none(tmp_path: Path, sync: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EmbeddedNats(tmp_path, [ADMIN], sync=sync)
    assert caught.value.code == "nats.sync"


async def test_forces_to_the_disk_as_often_as_asked(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path / "d", [ADMIN], sync="always") as server:
        assert b'"sync_interval": "always"' in (tmp_path / "d" / "nats.conf").read_bytes()
        async with connect(bus_config(server)) as bus:
            await provision(bus, buckets=[Bucket(name="b")])
            await KeyValue(bus, "b").put("k", b"v")


async def test_says_when_the_port_is_taken(tmp_path: Path) -> None:
    async with running(tmp_path / "one") as server:
        other = EmbeddedNats(tmp_path / "two", [ADMIN], port=server.port)
        with pytest.raises(ConfigError) as caught:
            await other.start()
    assert caught.value.code == "nats.port_in_use"
    assert str(server.port) in caught.value.message


async def test_says_when_another_server_uses_the_data(tmp_path: Path) -> None:
    async with running(tmp_path / "d"):
        with pytest.raises(ConfigError) as caught:
            await EmbeddedNats(tmp_path / "d", [ADMIN]).start()
    assert caught.value.code == "nats.data_in_use"


async def test_says_when_the_binary_is_missing(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path / "d", [ADMIN], binary=tmp_path / "nothing")
    with pytest.raises(ConfigError) as caught:
        await server.start()
    assert caught.value.code == "nats.missing"


@pytest.mark.parametrize("broken", ["d", "d/jetstream", "d/jetstream/jetstream"])
async def test_says_when_the_data_directory_is_unusable(tmp_path: Path, broken: str) -> None:
    path = tmp_path / broken
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("not a directory")
    with pytest.raises(ConfigError) as caught:
        await EmbeddedNats(tmp_path / "d", [ADMIN]).start()
    assert caught.value.code == "nats.data_dir"


@pytest.mark.parametrize("password", ['a"b', "a\nb", "a\\b", "", "é"])
async def test_refuses_text_that_could_escape_from_the_configuration(
    tmp_path: Path, password: str
) -> None:
    user = NatsUser(name="u", password=password, publish=(), subscribe=())
    with pytest.raises(ConfigError) as caught:
        await EmbeddedNats(tmp_path / "d", [user]).start()
    assert caught.value.code == "nats.user"
    assert len(password) < 2 or password not in caught.value.message


async def test_reports_that_the_server_died_and_starts_again(nats_server: EmbeddedNats) -> None:
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(nats_server.wait())
        await kill(nats_server)
        assert await watching == -signal.SIGKILL
    await nats_server.start()
    async with connect(bus_config(nats_server)) as bus:
        await bus.flush()


PARENT = """
import asyncio, sys
from pathlib import Path
from atoll_cli.nats_server import MIN_FILE, EmbeddedNats, NatsUser, file_limit
async def main():
    user = NatsUser(name="u", password="p", publish=(">",), subscribe=(">",))
    async with EmbeddedNats(Path(sys.argv[1]), [user]) as server:
        print(server.pid, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
async def test_the_server_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path / "d"), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    assert alive(pid)
    process.kill()
    await process.wait()
    await wait_for(lambda: not alive(pid), "the server ended")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
