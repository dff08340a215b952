"""A service of the stack: started, waited for, stopped; and told from one that fails."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from atoll.errors import AtollError, ConfigError
from atoll_cli.stack import up
from atoll_cli.stack.service import ServiceProcess, ServiceSpec, start
from support.nats import wait_for

SERVICE = """
import json, os, signal, sys, time
mode = os.environ["MODE"]
print("hello", mode, file=sys.stderr, flush=True)
if mode == "fail":
    print("the reason (test.reason)", file=sys.stderr)
    sys.exit(3)
if mode == "silent":
    time.sleep(60)
if mode == "noise":
    print("no json")
    print(json.dumps({"ready": False}))
    print(json.dumps([1]))
    print("x" * 200_000)
    print("[" * 100_000)
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(json.dumps({"ready": True, "port": 7}), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -I -m anything` runs the script above."""
    script = tmp_path / "service.py"
    script.write_text(SERVICE)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I {script} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))


def spec(tmp_path: Path, mode: str) -> ServiceSpec:
    env = {"MODE": mode, "PATH": os.defpath}
    return ServiceSpec(name="test", module="m", env=env, log=tmp_path / "logs" / "test.log")


async def started(tmp_path: Path, mode: str = "serve") -> ServiceProcess:
    return await start(spec(tmp_path, mode))


@pytest.mark.parametrize("mode", ["serve", "noise"])
async def test_a_service_is_there_when_it_says_so(tmp_path: Path, mode: str) -> None:
    service = await started(tmp_path, mode)
    assert service.facts["port"] == 7
    await service.stop()
    assert await service.wait() == -signal.SIGTERM
    await service.stop()


async def test_a_service_that_fails_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"status 3 .* the reason \(test.reason\)") as caught:
            await started(tmp_path, "fail")
        assert caught.value.code == "stack.service"


async def test_a_service_that_is_not_ready_in_time_is_ended(tmp_path: Path) -> None:
    with pytest.raises(AtollError) as caught:
        await start(spec(tmp_path, "silent"), ready_timeout_s=0.01)
    assert caught.value.code == "stack.not_ready"


def services() -> list[bytes]:
    """Our children that run the script."""
    tasks = Path("/proc/self/task").glob("*/children")
    children = " ".join(path.read_text() for path in tasks).split()
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    return [command for command in commands if b"service.py" in command]


async def test_a_start_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    log = spec(tmp_path, "silent").log
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(started(tmp_path, "silent"))
        await wait_for(lambda: log.exists() and "hello" in log.read_text(), "it runs")
        starting.cancel()
    assert services() == []


async def test_a_service_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    service = await started(tmp_path, "deaf")
    await service.stop(timeout_s=0.01)
    assert await service.wait() == -signal.SIGKILL


async def test_what_cannot_be_started_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").write_bytes(b"a file")
    with pytest.raises(ConfigError) as caught:
        await started(tmp_path)
    assert caught.value.code == "stack.service"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    (tmp_path / "logs").unlink()
    with pytest.raises(ConfigError) as caught:
        await started(tmp_path)
    assert caught.value.code == "stack.service"


async def test_a_service_that_dies_is_started_again_until_the_stack_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up, "RESTART_DELAY_S", 0.0)
    made: list[ServiceSpec] = []

    def make() -> ServiceSpec:
        # The second start fails, the third does not.
        made.append(spec(tmp_path, "fail" if len(made) == 1 else "serve"))
        return made[-1]

    stop = asyncio.Event()
    supervisor = up._Supervisor(stop)
    service = await supervisor.add(make)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(supervisor.watch())
        os.kill(service.pid, signal.SIGKILL)
        await wait_for(
            lambda: supervisor._running[0][1].pid != service.pid, "the service runs again"
        )
        stop.set()
        watching.cancel()
    await supervisor.stop()
    said = capsys.readouterr().err
    assert "test ended with status -9; starting it again" in said
    assert "test does not start: test ended with status 3" in said
    assert len(made) == 3


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"null", b"[]", b'{"nats": "x"}', b'{"nats": 1e999}', b'{"nats": 999999}'),
        *(b'{"nats": -1}', b'{"nats": true}', b"[" * 4000, b" " * 5000, b"\xff"),
    ],
)
def test_ports_that_were_kept_badly_are_forgotten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ports.json"
    path.write_bytes(content)
    assert up._Ports(path).choose("nats", None) == ("127.0.0.1", 0)


def test_ports_are_kept_and_taken_again_when_they_are_free(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        up._Ports(path).save(nats=port)
        assert up._Ports(path).choose("nats", None) == ("127.0.0.1", 0)
    assert up._Ports(path).choose("nats", None) == ("127.0.0.1", port)
    assert up._Ports(path).choose("nats", "[::1]:5") == ("::1", 5)
