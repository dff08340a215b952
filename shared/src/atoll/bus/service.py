"""Services that anyone can discover (ADR-32): `$SRV.PING`, `$SRV.INFO`, `$SRV.STATS`.

Written out instead of taken from `nats.micro`, which handles one request at a time for
each subscription, sends `repr(exception)` to the caller and needs a deprecated function
of `datetime`. Handlers here run side by side up to a bound; an error raised on purpose
goes out as code and message, any other as an id that is in our log and nothing else. Who asks
in JSON gets errors in JSON.

Needs permission to subscribe to `$SRV.>` and the endpoints, and to publish replies
(`allow_responses`).
"""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from atoll.bus import faults
from atoll.bus.connection import Bus
from atoll.bus.message import Message, Reply
from atoll.bus.subjects import require_filter
from atoll.errors import AtollError
from atoll.wire import media
from atoll.wire.names import require_token

if TYPE_CHECKING:
    from atoll.bus.nats_client import Subscription

Handler = Callable[..., Awaitable[bytes | Reply]]

MAX_CONCURRENT: Final = 64
DRAIN_S: Final = 10.0
_SEMVER: Final = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}(?:[-+][0-9A-Za-z.+-]{1,64})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One request that a service answers."""

    name: str
    subject: str
    handler: Handler
    """Payload and headers of the request in, payload of the answer out, or a whole reply."""
    addressed: bool = False
    """The handler gets the subject too, ahead of the payload: `subject` has wildcards."""
    queue_group: str = "q"
    """Of all that share a group, one gets each request."""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Stats:
    num_requests: int = 0
    num_errors: int = 0
    last_error: str = ""
    processing_ns: int = 0


class Service:
    """Serves its endpoints from `async with` to its end, which lets running requests finish.

    Args:
        bus: the connection.
        name: `[A-Za-z0-9_-]`, shared by all instances.
        version: SemVer.
        description: one sentence for people.
        endpoints: what it answers.
        max_concurrent: handlers that run at a time; further requests wait.
        metadata: shown in discovery.
        answered: told of each request that was answered: endpoint, the error's code or nothing,
            seconds.
        logger: gets unexpected errors with their id.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        name: str,
        version: str,
        description: str,
        endpoints: Sequence[Endpoint],
        max_concurrent: int = MAX_CONCURRENT,
        metadata: Mapping[str, str] | None = None,
        answered: Callable[[str, str, float], None] = lambda *_: None,
        logger: logging.Logger | None = None,
    ) -> None:
        if not _SEMVER.fullmatch(version):
            raise ValueError(f"{version!r} is not a semantic version")
        self.id = secrets.token_hex(11)
        self._bus = bus
        self._identity = {
            "name": require_token(name, "service"),
            "id": self.id,
            "version": version,
            "metadata": dict(metadata or {}),
        }
        self._description = description
        self._endpoints = tuple(endpoints)
        self._stats = [_Stats() for _ in self._endpoints]
        self._log = logger or logging.getLogger(__name__)
        self._answered = answered
        self._slots = asyncio.Semaphore(max_concurrent)
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._subscriptions: list[Subscription] = []
        self._started = datetime.now(UTC)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        try:
            await self._subscribe()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        self._started = datetime.now(UTC)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(subscription.drain() for subscription in self._subscriptions))
        self._subscriptions.clear()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=DRAIN_S)
            for task in late:
                task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    async def _subscribe(self) -> None:
        for endpoint, stats in zip(self._endpoints, self._stats, strict=True):
            require_token(endpoint.name, "endpoint")
            await self._serve(endpoint, stats)
        name, identity = self._identity["name"], self.id
        for verb, make in (("PING", self._ping), ("INFO", self._info), ("STATS", self._report)):
            for subject in (verb, f"{verb}.{name}", f"{verb}.{name}.{identity}"):
                await self._answer(f"$SRV.{subject}", make)
        # Each of these was only sent; the last makes sure of all.
        await self._bus.flush()

    async def _serve(self, endpoint: Endpoint, stats: _Stats) -> None:
        async def receive(message: Message) -> None:
            # Waiting here stops this subscription only; what comes meanwhile is queued.
            await self._slots.acquire()
            task = self._tasks.create_task(self._handle(endpoint, stats, message))
            self._running.add(task)
            task.add_done_callback(self._finished)

        self._subscriptions.append(
            await self._bus.subscribe(
                require_filter(endpoint.subject), receive, queue=endpoint.queue_group
            )
        )

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _handle(self, endpoint: Endpoint, stats: _Stats, message: Message) -> None:
        started = time.perf_counter_ns()
        stats.num_requests += 1
        headers: dict[str, str] | None = None
        code = ""
        try:
            told = (message.subject,) if endpoint.addressed else ()
            answer = await endpoint.handler(*told, message.payload, message.headers)
            if isinstance(answer, Reply):
                payload, headers = answer.payload, answer.headers
            else:
                payload = answer
        except Exception as error:  # noqa: BLE001  # a bug here must not stop the service
            payload, headers = self._failed(endpoint, stats, error, message)
            code = stats.last_error
        took_ns = time.perf_counter_ns() - started
        stats.processing_ns += took_ns
        self._answered(endpoint.name, code, took_ns / 1e9)
        if not message.reply:
            return
        try:
            await self._bus.send(message.reply, payload, headers=headers)
        except AtollError as error:
            payload, headers = self._failed(endpoint, stats, error, message)
            await self._try_reply(message.reply, payload, headers)

    async def _try_reply(self, reply: str, payload: bytes, headers: dict[str, str]) -> None:
        try:
            await self._bus.send(reply, payload, headers=headers)
        except AtollError as error:
            self._log.warning("bus: a reply was not sent: %s", error)

    def _failed(
        self, endpoint: Endpoint, stats: _Stats, error: Exception, request: Message
    ) -> tuple[bytes, dict[str, str]]:
        error_id, json_ = secrets.token_hex(8), media.is_json(request.headers)
        stats.num_errors += 1
        if isinstance(error, AtollError):
            payload, headers = faults.to_wire(error, error_id, json=json_)
            # Statistics are public on the bus: the code, not the message.
            stats.last_error = error.code
            self._log.info("%s: %s: %s [%s]", endpoint.name, error.code, error, error_id)
            return payload, headers
        stats.last_error = "internal"
        self._log.error("%s: unexpected error [%s]", endpoint.name, error_id, exc_info=error)
        return faults.internal(error_id, json=json_)

    async def _answer(self, subject: str, make: Callable[[], dict[str, Any]]) -> None:
        async def receive(message: Message) -> None:
            if message.reply:
                await self._bus.send(message.reply, json.dumps(make()).encode())

        self._subscriptions.append(await self._bus.listen(subject, receive))

    def _ping(self) -> dict[str, Any]:
        return {"type": "io.nats.micro.v1.ping_response", **self._identity}

    def _info(self) -> dict[str, Any]:
        return {
            "type": "io.nats.micro.v1.info_response",
            **self._identity,
            "description": self._description,
            "endpoints": [
                {
                    "name": endpoint.name,
                    "subject": endpoint.subject,
                    "queue_group": endpoint.queue_group,
                    "metadata": dict(endpoint.metadata),
                }
                for endpoint in self._endpoints
            ],
        }

    def _report(self) -> dict[str, Any]:
        return {
            "type": "io.nats.micro.v1.stats_response",
            **self._identity,
            "started": self._started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "endpoints": [
                {
                    "name": endpoint.name,
                    "subject": endpoint.subject,
                    "queue_group": endpoint.queue_group,
                    "num_requests": stats.num_requests,
                    "num_errors": stats.num_errors,
                    "last_error": stats.last_error,
                    "processing_time": stats.processing_ns,
                    "average_processing_time": stats.processing_ns // max(1, stats.num_requests),
                }
                for endpoint, stats in zip(self._endpoints, self._stats, strict=True)
            ],
        }
