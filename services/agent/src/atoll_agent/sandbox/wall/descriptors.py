"""Descriptors that a wall is made with."""

import asyncio
import os


def memory_file(raw: bytes) -> int:
    """A descriptor from which `raw` can be read."""
    descriptor = os.memfd_create("wall", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(raw)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


async def readable(descriptor: int, timeout_s: float) -> bool:
    """Whether there is something to read, or an end, within the time."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        async with asyncio.timeout(timeout_s):
            await ready.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True
