"""Pulling messages from a JetStream consumer (ADR-13, ADR-37).

A pull request lives at the server for a while and is answered by messages, then by a
status line. This module keeps as many messages asked for as its owner wants, and turns
everything that may go wrong in between into `Interrupted`: the owner then decides where
to go on (a durable consumer remembers, an ordered reader starts a new one).
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from atoll.bus.connection import RETRY_PAUSE_S, Bus
from atoll.bus.message import Message
from atoll.errors import AtollError

if TYPE_CHECKING:
    from atoll.bus.nats_client import Subscription

EXPIRES_S: Final = 30.0
HEARTBEAT_S: Final = 5.0
SILENCE_S: Final = 2.5 * HEARTBEAT_S
"""After two missed heartbeats the request is taken for lost."""

_NANOSECOND: Final = 1_000_000_000
_ROUTINE: Final = ("Batch Completed", "Message Size Exceeds MaxBytes")
_GONE: Final = ("Consumer Deleted", "Consumer is push based")


class Interrupted(Exception):  # noqa: N818
    """Messages may be missing from here on. Never leaves this package.

    `gone` when the consumer itself no longer exists.
    """

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone


class Puller:
    """Messages of one consumer, asked for in batches.

    Needs permission for `$JS.API.CONSUMER.MSG.NEXT.<stream>.<consumer>`.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        consumer: str,
        *,
        batch: int,
        low_water: int = 0,
        max_bytes: int = 0,
    ) -> None:
        self._bus = bus
        self._subject = f"{bus.config.api}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._batch, self._low_water, self._max_bytes = batch, low_water, max_bytes
        self._arrived: asyncio.Queue[Message | None] = asyncio.Queue()
        self._wanted: dict[str, int] = {}
        self._doubtful = False
        self._inbox = bus.new_inbox()
        self._count = 0
        self._subscription: Subscription | None = None
        self._unhook: Callable[[], None] = lambda: None
        self._late: Callable[[Message], Awaitable[None]] | None = None

    async def open(self) -> None:
        """Start to listen; nothing is asked for yet."""
        self._unhook = self._bus.on_lost(lambda: self._arrived.put_nowait(None))
        self._subscription = await self._bus.listen(f"{self._inbox}.*", self._receive)

    async def close(self) -> None:
        """Stop; the server forgets what was asked for."""
        self._unhook()
        if self._subscription is not None:
            await self._subscription.close()

    async def retire(self, late: Callable[[Message], Awaitable[None]]) -> None:
        """Stop, and give `late` each message that was already on its way."""
        self._late = late
        while not self._arrived.empty():
            message = self._arrived.get_nowait()
            if message is not None and message.status is None:
                await late(message)
        self._unhook()
        if self._subscription is not None:
            await self._subscription.drain()

    async def next(self) -> Message:
        """The next message.

        Raises:
            Interrupted: connection lost, silence, or the consumer is gone.
            RefusedError: `bus.permission`.
        """
        if not self._wanted:
            self._forget_markers()
        while True:
            if self._open_requests() <= self._low_water:
                await self._ask()
            try:
                async with asyncio.timeout(SILENCE_S):
                    message = await self._arrived.get()
            except TimeoutError as error:
                raise self._interrupted("heartbeats missing") from error
            if message is None:
                raise self._interrupted("connection lost")
            if message.status is None:
                self._delivered()
                return message
            token = message.subject.rpartition(".")[2]
            await self._ended(token, message)

    async def once(self, *, wait: bool) -> Message | None:
        """The next message, or None by the server's word that there is none: now, or with
        `wait` until the request's time is over. One request, of one message.

        Raises:
            Interrupted, RefusedError: as `next`.
        """
        self._forget_markers()
        token = await self._ask(wait=wait)
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    message = await self._arrived.get()
            except TimeoutError as error:
                raise self._interrupted("no answer") from error
            if message is None:
                raise self._interrupted("connection lost")
            if message.status is None:
                self._delivered()
                return message
            await self._ended(message.subject.rpartition(".")[2], message)
            if token not in self._wanted:
                return None

    @property
    def settled(self) -> bool:
        """Whether nothing is asked for and nothing lies here."""
        return not self._wanted and not self._doubtful and self._arrived.empty()

    def _delivered(self) -> None:
        # A delivery carries the stored subject, not the request's; the server serves
        # requests in the order in which it got them.
        token = next(iter(self._wanted), None)
        if token is not None:
            self._wanted[token] -= 1
            if self._wanted[token] == 0:
                del self._wanted[token]

    def _open_requests(self) -> int:
        return sum(self._wanted.values())

    def _forget_markers(self) -> None:
        """Drop what arrived while nobody asked, except messages."""
        kept = []
        while not self._arrived.empty():
            message = self._arrived.get_nowait()
            if message is not None and message.status is None:
                kept.append(message)
        for message in kept:
            self._arrived.put_nowait(message)

    def _interrupted(self, reason: str) -> Interrupted:
        self._doubtful = self._doubtful or bool(self._wanted)
        self._wanted.clear()
        return Interrupted(reason)

    async def _ask(self, *, wait: bool = True) -> str:
        self._count += 1
        token = str(self._count)
        request: dict[str, object] = {"batch": self._batch}
        if wait:
            request["expires"] = int(EXPIRES_S * _NANOSECOND)
            request["idle_heartbeat"] = int(HEARTBEAT_S * _NANOSECOND)
        else:
            request["no_wait"] = True
        if self._max_bytes:
            request["max_bytes"] = self._max_bytes
        self._wanted[token] = self._batch
        try:
            await self._bus.wait_connected()
            await self._bus.send(
                self._subject, json.dumps(request).encode(), reply=f"{self._inbox}.{token}"
            )
        except BaseException:
            self._wanted.pop(token, None)
            raise
        return token

    async def _ended(self, token: str, message: Message) -> None:
        if message.status == "100":
            return
        if self._wanted.pop(token, None) is None:
            return
        if message.status == "503" or message.description in _GONE:
            raise Interrupted(f"{message.status} {message.description}", gone=True)
        if message.status not in ("404", "408") and message.description not in _ROUTINE:
            # "Server Shutdown", "Leadership Change", "Exceeded MaxWaiting": ask again soon.
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _receive(self, message: Message) -> None:
        if self._late is None:
            self._arrived.put_nowait(message)
        elif message.status is None:
            with contextlib.suppress(AtollError):
                await self._late(message)
