"""Whether the machine has memory for another enclave."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

MEMINFO: Final = Path("/proc/meminfo")
LOOK_S = 1.0
_KIB: Final = 1024


def available(text: str) -> int:
    """Bytes that can be had without swapping, from `/proc/meminfo` (proc_meminfo(5)).

    Raises:
        ValueError: it does not say.
    """
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            amount, _, unit = rest.strip().partition(" ")
            if unit == "kB":
                return int(amount) * _KIB
    raise ValueError("no MemAvailable in kB")


def free_memory() -> int:
    """Bytes that can be had now; 0 when the system does not say, which is no room."""
    try:
        return available(MEMINFO.read_text())
    except (OSError, ValueError):
        return 0


class Room:
    """Free memory against a reserve, looked at every second while somebody waits.

    Args:
        reserve: bytes that stay free; 0: there is always room.
        free: how much there is.
    """

    def __init__(self, reserve: int, free: Callable[[], int] = free_memory) -> None:
        self._reserve = reserve
        self._free = free

    @property
    def there(self) -> bool:
        """Whether there is more than the reserve."""
        return not self._reserve or self._free() > self._reserve

    async def wait(self) -> None:
        """Until there is more than the reserve."""
        told = False
        while not self.there:
            if not told:
                _log.warning("taking no job: not more than %d bytes of memory free", self._reserve)
                told = True
            await asyncio.sleep(LOOK_S)

    async def gone(self) -> None:
        """Until there is no more than the reserve; never, if there is none."""
        if not self._reserve:
            await asyncio.get_running_loop().create_future()
        while self.there:  # noqa: ASYNC110 - memory tells no event
            await asyncio.sleep(LOOK_S)
