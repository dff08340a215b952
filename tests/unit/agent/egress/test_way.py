"""What an enclave makes of the host's answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from atoll.channel.pumping import Ends
from atoll.channel.session import pair
from atoll.egress.outward import Outward
from atoll.errors import AtollError, RefusedError, UnreachableError
from atoll.wire.egress import Allowance
from atoll_agent.egress.way import ByChannel, Direct

PLACES = ("a.example:1", "b.example:2")


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[ByChannel, list[bytes]]]:
    """A host that gives these answers, and what it was asked."""
    asked: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def host(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            asked.append(await reader.readline())
            writer.write(answer)
        writer.close()

    async with asyncio.TaskGroup() as group:

        async def dial(service: str) -> Ends:
            assert service == "egress"
            mine, theirs = await pair()
            writers.extend((mine[1], theirs[1]))
            group.create_task(host(*theirs))
            return mine

        yield ByChannel(dial), asked
        for writer in writers:
            writer.close()


async def test_all_is_asked_on_one_stream() -> None:
    async with answering(b"ok\n", b"ok\n") as (way, asked):
        await way.require(PLACES)
    assert asked == [b"may a.example:1\n", b"may b.example:2\n"]


async def test_the_first_that_is_refused_is_named() -> None:
    async with answering(b"ok\n", b"no network.refused\n") as (way, _):
        with pytest.raises(RefusedError, match=r"b\.example:2") as caught:
            await way.require(PLACES)
    assert caught.value.code == "network.refused"


async def test_a_connection_begins_behind_the_answer() -> None:
    async with answering(b"ok\nhello") as (way, asked):
        reader, writer = await way.open("a.example", 1)
        assert await reader.read(5) == b"hello"
        writer.close()
    assert asked == [b"dial a.example:1\n"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "network.refused"),
        (b"no network.refused\n", "network.refused"),
        (b"no network.unreachable\n", "network.unreachable"),
        (b"yes\n", "network.unreachable"),
        (b"ok", "network.unreachable"),
        (b"x" * 200_000, "network.unreachable"),
    ],
)
async def test_anything_but_ok_is_no_connection(answer: bytes, code: str) -> None:
    async with answering(answer) as (way, _):
        with pytest.raises(AtollError) as caught:
            await way.open("a.example", 1)
    assert caught.value.code == code


async def test_a_channel_that_is_gone() -> None:
    async def dial(_: str) -> Ends:
        raise UnreachableError("gone", code="channel.gone")

    with pytest.raises(UnreachableError) as caught:
        await ByChannel(dial).open("a.example", 1)
    assert caught.value.code == "network.unreachable"


async def test_without_a_channel_the_hosts_list_is_held_by_ourselves() -> None:
    way = Direct(Outward(Allowance(("a.example:1",))))
    await way.require(PLACES[:1])
    for refused in (way.require(PLACES), way.open("b.example", 2)):
        with pytest.raises(RefusedError) as caught:
            await refused
        assert caught.value.code == "network.refused"
