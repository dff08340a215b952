"""Large jobs do not starve behind small ones on a host that is never empty enough for them.

When jobs of a class wait for longer than this host's patience because too little of the memory or
of the processors is free, while smaller jobs go on taking what becomes free, the host takes none
but that class until it has room for one. Hosts are patient for 30 to 60 seconds, each by its own
measure for each class, so that rarely two of them empty themselves for one job.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from atoll.bus import Bus, jetstream
from atoll.errors import AtollError
from atoll.wire.placement import SpawnClass

_log = logging.getLogger(__name__)

LOOK_S: Final = 3.0
PATIENCE_S: Final = 30.0


def patience_s(host_id: str, name: str, shortest_s: float = PATIENCE_S) -> float:
    """How long this host lets jobs of a class wait: once to twice the shortest."""
    digest = hashlib.sha256(f"{host_id} {name}".encode()).digest()
    return shortest_s * (1 + digest[0] / 256)


def overtaken(
    classes: Iterable[SpawnClass], has_size: Callable[[SpawnClass], bool]
) -> list[SpawnClass]:
    """Those that have no room while a class that needs less could take what becomes free."""
    every = list(classes)
    return [
        each
        for each in every
        if not has_size(each) and any(_is_smaller(other, each) for other in every)
    ]


def _is_smaller(one: SpawnClass, than: SpawnClass) -> bool:
    left, right = one.needs, than.needs
    return left.memory_bytes < right.memory_bytes or left.cpus < right.cpus


class Patience:
    """Looks at what waits, and says for whom room is to be kept.

    Args:
        bus: the connection.
        host_id: whose patience.
        blocked: the classes that are overtaken at present.
        keep: is called with the class for which to keep room.
        shortest_s: see `patience_s`.
    """

    def __init__(
        self,
        bus: Bus,
        host_id: str,
        blocked: Callable[[], list[SpawnClass]],
        keep: Callable[[SpawnClass], None],
        *,
        shortest_s: float = PATIENCE_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._bus = bus
        self._host_id = host_id
        self._blocked = blocked
        self._keep = keep
        self._shortest_s = shortest_s
        self._look_s = look_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._look_s)
            try:
                await self._look()
            except AtollError as error:
                _log.warning("cannot see which jobs wait: %s", error.code)

    async def _look(self) -> None:
        worst: tuple[float, SpawnClass] | None = None
        for each in self._blocked():
            since = await waiting_since(self._bus, each)
            if since is None:
                continue
            name = each.consumer.name
            over_s = (datetime.now(UTC) - since).total_seconds()
            over_s -= patience_s(self._host_id, name, self._shortest_s)
            if over_s > 0 and (worst is None or over_s > worst[0]):
                worst = over_s, each
        if worst is not None:
            self._keep(worst[1])


async def waiting_since(bus: Bus, it: SpawnClass) -> datetime | None:
    """When the first request of a class was stored that nobody has had yet; None: there is none.

    Needs permission for `$JS.API.CONSUMER.INFO.<stream>.<consumer>` and
    `$JS.API.DIRECT.GET.<stream>`.
    """
    consumer = it.consumer
    info = await jetstream.api(bus, f"CONSUMER.INFO.{consumer.stream}.{consumer.name}")
    place = info.get("delivered")
    delivered = place.get("stream_seq") if isinstance(place, dict) else None
    if not info.get("num_pending") or type(delivered) is not int:
        return None
    first = await jetstream.message_after(bus, consumer.stream, delivered + 1, it.subject)
    return None if first is None else first.time
