"""Whether the machine has memory for another enclave."""

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
    """Free memory against a reserve. Memory tells no event: whoever waits for it looks again.

    Args:
        reserve: bytes that stay free; 0: there is always room.
        free: how much there is.
    """

    def __init__(self, reserve: int, free: Callable[[], int] = free_memory) -> None:
        self._reserve = reserve
        self._free = free
        self._was_there = True

    @property
    def there(self) -> bool:
        """Whether there is more than the reserve."""
        return not self._reserve or self._free() > self._reserve

    @property
    def again_s(self) -> float | None:
        """After which time to look again; None: what was seen stays so."""
        return LOOK_S if self._reserve else None

    def look(self) -> bool:
        """`there`; the first look that finds none is logged."""
        found = self.there
        if self._was_there and not found:
            _log.warning("taking no job: not more than %d bytes of memory free", self._reserve)
        self._was_there = found
        return found
