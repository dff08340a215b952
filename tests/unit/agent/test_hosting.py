"""An enclave over a channel: told its job once, tells its end, reaches the servers it was told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atoll.channel.pumping import Ends
from atoll.channel.session import pair
from atoll.errors import ConfigError, UnreachableError
from atoll_agent.hosting import Host
from unit.agent.test_leasing import OWN, TOLD


class Dials:
    """Services by their names; each stream's other end is dropped."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def open(self, service: str) -> Ends:
        self.asked.append(service)
        mine, theirs = await pair()
        theirs[1].close()
        return mine


@asynccontextmanager
async def both() -> AsyncIterator[tuple[Host, Ends, Dials]]:
    mine, theirs = await pair()
    dials = Dials()
    try:
        yield Host(dials, mine), theirs, dials
    finally:
        for _, writer in (mine, theirs):
            writer.transport.abort()


async def test_with_a_job_in_its_environment_nothing_is_waited_for() -> None:
    async with both() as (host, _, _):
        env = OWN | {"ATOLL_AGENT_JOB_ID": "j1"}
        assert await host.environment(env) == env


async def test_what_is_told_is_as_if_it_had_been_there() -> None:
    async with both() as (host, (_, writer), _):
        writer.write(json.dumps({"lease": TOLD}).encode() + b"\n")
        found = await host.environment(OWN)
    assert found == OWN | {f"ATOLL_AGENT_{name}": value for name, value in TOLD.items()}


@pytest.mark.parametrize(
    "word",
    [
        *(b"no json", b"[]", b"{}", b'{"lease": 1}', b'{"lease": {}, "x": 1}', b"[" * 5000),
        json.dumps({"lease": TOLD | {"DEVICE_FD": "0"}}).encode(),
    ],
)
async def test_what_is_no_job_is_refused(word: bytes) -> None:
    async with both() as (host, (_, writer), _):
        writer.write(word + b"\n")
        with pytest.raises(ConfigError):
            await host.environment(OWN)


async def test_when_the_host_is_gone_no_job_comes() -> None:
    async with both() as (host, (_, writer), _):
        writer.write(b'{"lease"')
        writer.close()
        with pytest.raises(UnreachableError) as caught:
            await host.environment(OWN)
        assert caught.value.code == "enclave.unused"
        await host.gone()


async def test_one_that_is_to_end_before_there_is_a_job_was_not_used() -> None:
    async with both() as (host, (_, writer), _):
        writer.write(b'{"stop": true}\n')
        with pytest.raises(UnreachableError) as caught:
            await host.environment(OWN)
        assert caught.value.code == "enclave.unused"


async def test_one_that_is_to_end_says_how_and_is_heard() -> None:
    async def ask(ends: Ends) -> Any:
        ends[1].write(b'{"stop": true}\n')
        word = json.loads(await ends[0].readline())
        ends[1].close()
        return word

    async with both() as (host, theirs, _), asyncio.TaskGroup() as group:
        asking = group.create_task(ask(theirs))
        await host.gone()
        await host.farewell(3)
    assert asking.result() == {"status": 3}


async def test_the_last_word_is_heard_before_the_end() -> None:
    async def hear(ends: Ends) -> Any:
        word = json.loads(await ends[0].readline())
        assert await ends[0].read() == b""
        ends[1].close()
        return word

    async with both() as (host, theirs, _), asyncio.TaskGroup() as group:
        heard = group.create_task(hear(theirs))
        await host.farewell(3)
    assert heard.result() == {"status": 3}


async def test_servers_are_known_to_the_host_by_their_place() -> None:
    async with both() as (host, _, dials):
        dial = host.dial(["nats://one:4222", "nats://two:4222"])
        for name in ("two", "one"):
            _, writer = await dial(name, 4222)
            writer.close()
        with pytest.raises(OSError, match="not in our settings"):
            await dial("elsewhere", 4222)
        assert dials.asked == ["bus.1", "bus"]


async def test_a_stream_to_no_host_is_an_error_that_a_client_waits_out(tmp_path: Path) -> None:
    from atoll.channel.address import Address
    from atoll.channel.dialer import dialing

    mine, theirs = await pair()
    async with dialing(Address.parse(f"unix:{tmp_path}/nobody")) as dialer:
        with pytest.raises(OSError, match="not at unix"):
            await Host(dialer, mine).dial(["nats://one:4222"])("one", 4222)
    mine[1].close()
    theirs[1].close()
