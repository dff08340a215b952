"""The services that a body without a network has of its keeper (`atoll.channel`).

    bus, bus.1, ...   the servers of the bus, over TCP
    device            the simulated processor, where there is one
    egress            connections to where the host's operator lets its jobs connect
    status            its last word, `{"status": n}`; what a warm one is told, `{"lease": {...}}`,
                      and `{"stop": true}` to one that is to end

A guest that breaks the protocol, a limit or the form of its last word is ended.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from atoll.channel.pumping import Ends
from atoll.channel.relay import Relay, Service, connecting
from atoll.egress.outward import Outward
from atoll.egress.words import SERVICE
from atoll.errors import MessageError
from atoll.wire.egress import Allowance
from atoll_manager.bodies.body import Order, told
from atoll_manager.drivers.driver import EnclaveSpec

if TYPE_CHECKING:
    from atoll.simulated.report import SimulatedGuest

MAX_STATUS: Final = 255
CONNECT_S: Final = 5.0


class Services:
    """One guest's, for its whole life.

    Args:
        order: whose guest answers on `device`, if it has one; in its body `bus`, host and port of
            each server, and `egress`, the operator's list.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._status: asyncio.StreamWriter | None = None
        self._leased = not order.spec.is_warm
        self.here = asyncio.Event()
        """Set when the guest is there and listens."""
        self.said: int | None = None
        """Its last word."""

    def relay(self, *, peer: int = 0) -> Relay:
        """The host's end of its channel."""
        outward = Outward(Allowance(tuple(self._order.body.get("egress", ()))))
        table: dict[str, Service] = {"status": self._meet, SERVICE: outward.serve}
        if (guest := self._order.guest) is not None:
            table["device"] = partial(_device, guest)
        for place, server in enumerate(self._order.body["bus"]):
            table[f"bus.{place}" if place else "bus"] = connecting(_dialing(server))
        return Relay(table, peer=peer)

    def lease(self, spec: EnclaveSpec) -> bool:
        """Tell it its job, once; whether it was there to hear it."""
        if self._leased or self._status is None or self._status.is_closing():
            return False
        self._leased = True
        self._status.write(json.dumps({"lease": told(spec)}).encode() + b"\n")
        return True

    def end(self) -> bool:
        """Let it know that it is to end; whether it was there to hear it. What it says to that is
        still listened to."""
        if self._status is None or self._status.is_closing():
            return False
        self._status.write(json.dumps({"stop": True}).encode() + b"\n")
        return True

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._status is not None:
            raise MessageError("a second status stream", code="channel.status")
        self._status = writer
        self.here.set()
        try:
            if line := await reader.readline():
                self.said = _status(line)
                if await reader.read(1):
                    raise MessageError("more than a last word", code="channel.status")
        except ValueError as error:  # a line without end
            raise MessageError("no status", code="channel.status") from error


async def _device(
    make: Callable[[], "SimulatedGuest"],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    # Loaded when it is needed.
    from atoll_manager.secure_processor import answer  # noqa: PLC0415

    guest = make()
    await answer(reader, writer, guest, guest.chain.table().to_bytes())


def _status(line: bytes) -> int:
    """Raises: MessageError `channel.status`."""
    try:
        word = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MessageError("no status", code="channel.status") from error
    match word:
        case {"status": int() as status} if (
            len(word) == 1 and type(status) is int and 0 <= status <= MAX_STATUS
        ):
            return status
        case _:
            raise MessageError("no status", code="channel.status")


def _dialing(server: Sequence[object]) -> Callable[[], Awaitable[Ends]]:
    host, port = str(server[0]), int(str(server[1]))

    async def connect() -> Ends:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_connection(host, port)
        except TimeoutError as error:
            raise ConnectionError(f"{host}:{port} does not answer") from error

    return connect
