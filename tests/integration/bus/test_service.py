"""Services: discovery, errors, side by side, over two processes; on a real nats-server."""

import asyncio
import json
import logging
import sys
from collections.abc import Mapping

import pytest

from atoll.bus import Bus, Endpoint, Service, connect
from atoll.errors import AtollError, NotFoundError, UnreachableError
from atoll_cli.nats_server import EmbeddedNats
from support.nats import bus_config, wait_for


def service(
    bus: Bus, *endpoints: Endpoint, name: str = "tester", max_concurrent: int = 64
) -> Service:
    return Service(
        bus,
        name=name,
        version="1.2.3",
        description="a test",
        endpoints=endpoints,
        max_concurrent=max_concurrent,
    )


async def upper(payload: bytes, _: Mapping[str, str]) -> bytes:
    return payload.upper()


async def test_answers_requests(bus: Bus) -> None:
    async with service(bus, Endpoint(name="upper", subject="t.upper", handler=upper)):
        assert (await bus.request("t.upper", b"abc")).payload == b"ABC"


async def test_serves_no_more_after_its_end(bus: Bus) -> None:
    async with service(bus, Endpoint(name="upper", subject="t.gone", handler=upper)):
        pass
    with pytest.raises(UnreachableError) as caught:
        await bus.request("t.gone", b"")
    assert caught.value.code == "bus.no_responders"


async def test_an_error_raised_on_purpose_reaches_the_caller(bus: Bus) -> None:
    async def missing(_: bytes, __: Mapping[str, str]) -> bytes:
        raise NotFoundError("no job j1", code="job.not_found")

    async with service(bus, Endpoint(name="get", subject="t.get", handler=missing)):
        with pytest.raises(NotFoundError) as caught:
            await bus.request("t.get", b"")
    assert (caught.value.code, caught.value.message) == ("job.not_found", "no job j1")
    assert caught.value.error_id


async def test_an_unexpected_error_leaks_only_an_id(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: bytes, __: Mapping[str, str]) -> bytes:
        raise RuntimeError("secret detail")

    caplog.set_level(logging.ERROR)
    async with service(bus, Endpoint(name="b", subject="t.broken", handler=broken), name="leaky"):
        with pytest.raises(AtollError) as caught:
            await bus.request("t.broken", b"")
        assert caught.value.code == "internal"
        assert "secret" not in caught.value.message
        assert caught.value.error_id is not None
        assert caught.value.error_id in caplog.text
        stats = await bus.request("$SRV.STATS.leaky", b"")
        assert b"secret" not in stats.payload
        assert json.loads(stats.payload)["endpoints"][0]["num_errors"] == 1


async def test_an_answer_that_is_too_large_is_an_error_for_the_caller(bus: Bus) -> None:
    async def huge(_: bytes, __: Mapping[str, str]) -> bytes:
        return bytes(bus.max_payload + 1)

    async with service(bus, Endpoint(name="huge", subject="t.huge", handler=huge)):
        with pytest.raises(AtollError) as caught:
            await bus.request("t.huge", b"")
    assert caught.value.code == "bus.too_large"


async def test_handlers_run_side_by_side_up_to_the_bound(bus: Bus) -> None:
    running, most, gate = 0, 0, asyncio.Event()

    async def slow(_: bytes, __: Mapping[str, str]) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return b"done"

    endpoint = Endpoint(name="slow", subject="t.slow", handler=slow)
    async with service(bus, endpoint, max_concurrent=3), asyncio.TaskGroup() as group:
        tasks = [group.create_task(bus.request("t.slow", b"", timeout_s=20)) for _ in range(8)]
        await wait_for(lambda: running == 3, "three handlers run at once")
        await bus.flush()
        assert most == 3
        gate.set()
        replies = await asyncio.gather(*tasks)
    assert [reply.payload for reply in replies] == [b"done"] * 8
    assert most == 3


async def test_the_end_lets_running_requests_finish(bus: Bus) -> None:
    started, gate = asyncio.Event(), asyncio.Event()

    async def slow(_: bytes, __: Mapping[str, str]) -> bytes:
        started.set()
        await gate.wait()
        return b"finished"

    async with asyncio.TaskGroup() as group:
        async with service(bus, Endpoint(name="slow", subject="t.last", handler=slow)):
            request = group.create_task(bus.request("t.last", b"", timeout_s=20))
            await started.wait()
            asyncio.get_running_loop().call_soon(gate.set)
        assert (await request).payload == b"finished"


async def test_is_discovered_as_adr_32_says(bus: Bus) -> None:
    endpoint = Endpoint(name="upper", subject="t.disc", handler=upper, queue_group="g")
    async with service(bus, endpoint, name="findme") as running:
        for verb in ("PING", "INFO", "STATS"):
            for subject in (f"$SRV.{verb}.findme", f"$SRV.{verb}.findme.{running.id}"):
                answer = json.loads((await bus.request(subject, b"")).payload)
                assert answer["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
                assert (answer["name"], answer["id"]) == ("findme", running.id)
                assert answer["version"] == "1.2.3"
        info = json.loads((await bus.request("$SRV.INFO.findme", b"")).payload)
        assert info["endpoints"] == [
            {"name": "upper", "subject": "t.disc", "queue_group": "g", "metadata": {}}
        ]
        await bus.request("t.disc", b"x")
        stats = json.loads((await bus.request("$SRV.STATS.findme", b"")).payload)
        assert stats["endpoints"][0]["num_requests"] == 1


async def test_answers_the_discovery_of_everybody(bus: Bus) -> None:
    async with service(bus, name="everybody"):
        reply = await bus.request("$SRV.PING", b"")
        assert json.loads(reply.payload)["name"] == "everybody"


OTHER_PROCESS = """
import asyncio, sys
from atoll.bus import BusConfig, Endpoint, Service, connect
async def main():
    url, user, password = sys.argv[1:]
    config = BusConfig(url=url, name="other", user=user, password=password, inbox_prefix="_INBOX_o")
    async def who(payload, headers):
        return b"other"
    async with connect(config) as bus, Service(
        bus, name="pair", version="1.0.0", description="x",
        endpoints=[Endpoint(name="who", subject="t.who", handler=who)],
    ):
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
"""


async def test_two_processes_share_the_requests_of_a_group(nats: EmbeddedNats) -> None:
    async def who(_: bytes, __: Mapping[str, str]) -> bytes:
        return b"this"

    async with connect(bus_config(nats)) as bus:
        config = bus_config(nats)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", OTHER_PROCESS, config.url, config.user, config.password,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdin is not None
        assert await process.stdout.readline() == b"ready\n"
        async with service(bus, Endpoint(name="who", subject="t.who", handler=who), name="pair"):
            answers = [(await bus.request("t.who", b"")).payload for _ in range(60)]
        assert set(answers) == {b"this", b"other"}
        process.stdin.close()
        assert await process.wait() == 0
