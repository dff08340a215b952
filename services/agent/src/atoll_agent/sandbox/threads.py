"""Blocking work that leaves nothing behind."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(work: Callable[[], T], *, stop: Callable[[], None] = lambda: None) -> T:
    """Run work in a thread and wait for its end, also when cancelled: what it makes must be known
    before anybody clears it away.

    Args:
        work: may raise; not when this was cancelled, for then nobody hears of it.
        stop: tells it to end soon.
    """
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop()
        with suppress(Exception):
            await asyncio.shield(future)
        raise
