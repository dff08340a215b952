"""Copies one stream into another."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from atoll.errors import MessageError

PIECE: Final = 64 << 10

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
"""Both directions of one stream, as `asyncio.open_connection` gives them."""


async def join(one: Ends, other: Ends, *, idle_s: float | None = None) -> None:
    """Carry both directions until both have ended or one is torn off; closes both.

    Holds at most a piece of each direction beside what the sockets hold, and waits for whoever
    reads slowly.

    Args:
        one: an end.
        other: another one.
        idle_s: tear both off when nothing was carried either way for so long; None: never.
    """
    carried = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            ways = (
                group.create_task(_copy(one[0], other[1], carried)),
                group.create_task(_copy(other[0], one[1], carried)),
            )
            if idle_s is not None:
                watch = group.create_task(_watch(carried, idle_s))
                await asyncio.wait(ways)
                watch.cancel()
    except* OSError:
        for _, writer in (one, other):
            tear(writer)
    finally:
        for _, writer in (one, other):
            writer.close()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, carried: asyncio.Event
) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
        carried.set()
    end(writer)


async def _watch(carried: asyncio.Event, idle_s: float) -> None:
    """Raises: TimeoutError, which is an OSError: nothing was carried for `idle_s`."""
    while True:
        async with asyncio.timeout(idle_s):
            await carried.wait()
        carried.clear()


def end(writer: asyncio.StreamWriter) -> None:
    """No more from us; what was written still goes out."""
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()


def tear(writer: asyncio.StreamWriter) -> None:
    """Close at once; what was not sent is dropped."""
    with contextlib.suppress(AttributeError):  # what asyncio says of a pipe that is closed
        writer.transport.abort()
    writer.close()


@contextlib.contextmanager
def one_error() -> Iterator[None]:
    """Raise the first breach of the protocol by itself, without the task groups around it."""
    try:
        yield
    except* MessageError as group:
        found: BaseException = group
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        raise found from None
