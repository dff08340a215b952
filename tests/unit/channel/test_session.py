"""Streams of one byte stream, where the other side is quicker than this one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from atoll.channel import session as sessions
from atoll.channel.limits import Limits
from atoll.channel.mux import Mux
from atoll.channel.pumping import Ends
from atoll.channel.session import Accept, Session
from atoll.errors import MessageError, UnreachableError

WITHIN_S = 10.0


@asynccontextmanager
async def linked(accept: Accept) -> AsyncIterator[tuple[Session, Session]]:
    """One that opens, and one that is asked."""
    one, other = await sessions.pair()
    asks = Session(one, Mux(opens=True, max_streams=Limits().streams))
    answers = Session(other, Mux(opens=False, max_streams=Limits().streams), accept)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in (asks, answers)]
        await asks.ready()
        try:
            yield asks, answers
        finally:
            for task in tasks:
                task.cancel()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets take their time, while the other side has none to lose."""
    real = sessions.pair

    async def pair() -> tuple[Ends, Ends]:
        made = await real()
        await asyncio.sleep(0.1)
        return made

    monkeypatch.setattr(sessions, "pair", pair)


async def refuse(_: str) -> None:
    return None


@pytest.mark.usefixtures("slow")
async def test_a_refusal_that_comes_at_once_is_heard() -> None:
    async with linked(refuse) as (asks, _):
        reader, writer = await asks.open("device")
        async with asyncio.timeout(WITHIN_S):
            assert await reader.read() == b""
        writer.close()


async def test_what_the_other_side_says_first_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Ends] = []
    real = sessions.pair

    async def greet(_: str) -> Ends:
        mine, theirs = await real()
        mine[1].write(b"INFO\r\n")
        kept.append(mine)
        return theirs

    async def pair() -> tuple[Ends, Ends]:
        made = await real()
        await asyncio.sleep(0.1)
        return made

    async with linked(greet) as (asks, _):
        monkeypatch.setattr(sessions, "pair", pair)
        reader, writer = await asks.open("bus")
        async with asyncio.timeout(WITHIN_S):
            assert await reader.readline() == b"INFO\r\n"
        writer.close()
        for _, end in kept:
            end.close()


async def test_a_stream_that_cannot_be_opened_leaves_no_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[Ends, Ends]] = []
    real = sessions.pair

    async def pair() -> tuple[Ends, Ends]:
        made.append(await real())
        return made[-1]

    one, other = await real()
    asks = Session(one, Mux(opens=True, max_streams=1))
    monkeypatch.setattr(sessions, "pair", pair)
    with pytest.raises(UnreachableError) as gone:
        await asks.open("bus")
    assert gone.value.code == "channel.gone"
    async with asyncio.TaskGroup() as group:
        running = group.create_task(asks.run())
        await asks.ready()
        first = await asks.open("bus")
        with pytest.raises(MessageError) as many:
            await asks.open("bus")
        assert many.value.code == "channel.streams"
        with pytest.raises(MessageError) as nameless:
            await asks.open("")
        assert nameless.value.code in {"channel.service", "channel.streams"}
        for pair_ in (made[0], made[2], made[3]):
            assert all(writer.is_closing() for _, writer in pair_)
        first[1].close()
        running.cancel()
    other[1].close()
