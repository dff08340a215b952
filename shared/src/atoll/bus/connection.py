"""One connection to NATS that comes back by itself.

nats-py does the protocol; this module decides how it behaves: reconnect for ever with
jitter, notice a dead peer within 9 s, fail requests in flight the moment the connection
is lost (nats-py lets them wait for their timeout), name refused permissions, bound what
is buffered. Nothing else in Atoll imports nats-py, except `faults`,
`message`, `nats_client` and `transport`.

A user of this module needs permission to subscribe to `<inbox_prefix>.>`.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

from nats import errors as nats_errors
from nats.aio.msg import Msg

from atoll.bus import faults
from atoll.bus.clock import LoopClock
from atoll.bus.config import BusConfig
from atoll.bus.message import Message, Reply
from atoll.bus.nats_client import PatientClient, Subscription, next_server, require_version, too_old
from atoll.bus.subjects import require_filter, require_headers, require_subject
from atoll.errors import AtollError, InputError, RefusedError, UnreachableError

PING_INTERVAL_S: Final = 3
MAX_PINGS: Final = 2
"""Unanswered, at the third interval we go to another server: within the 10 s that a publish has,
for a server that is cut off the network takes nobody's leave."""
PENDING_SIZE: Final = 16 << 20
"""Bytes that wait for the socket before a publisher has to wait too."""

RETRY_PAUSE_S: Final = 0.1
ATTEMPT_S: Final = 3.0
"""How long one attempt of a request that may be repeated waits for its answer."""

_DENIED: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"')


class Bus(LoopClock):
    """A live connection. Made by `connect`, used by everything else in `atoll.bus`."""

    def __init__(self, config: BusConfig, logger: logging.Logger) -> None:
        self._config = config
        self._who = config.who
        self._log = logger
        self._client = PatientClient(config.dial)
        self._up = asyncio.Event()
        self._ready = False
        self._waiting: dict[str, tuple[asyncio.Future[Message], str]] = {}
        self._denied: set[str] = set()
        self._lost: set[Callable[[], None]] = set()
        self._count = 0
        self._mux = ""

    @property
    def connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._up.is_set()

    @property
    def max_payload(self) -> int:
        """Bytes of headers and payload that the server accepts in one message."""
        return self._client.max_payload

    @property
    def server_version(self) -> str:
        """As the server says it, e.g. `2.15.1`."""
        return str(self._client._server_info.get("version", "unknown"))  # noqa: SLF001

    @property
    def clustered(self) -> bool:
        """Whether streams are kept by several servers, which elect who leads each: so it is
        in a cluster, and assumed of a domain that we reach through a leaf node."""
        return bool(self._config.domain or self._client._server_info.get("cluster"))  # noqa: SLF001

    async def wait_connected(self, timeout_s: float | None = None) -> None:
        """Return when there is a connection.

        Raises:
            UnreachableError: `bus.unreachable`, after `timeout_s`.
        """
        if self._up.is_set():
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
        except TimeoutError as error:
            raise UnreachableError(
                f"no connection to {self._config.url}", code="bus.unreachable"
            ) from error

    async def publish(
        self, subject: str, payload: bytes, *, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send to whoever listens now; may be lost (core NATS). Buffered while reconnecting."""
        await self.send(require_subject(subject), payload, headers=headers)

    async def request(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout_s: float = 5.0,
        headers: Mapping[str, str] | None = None,
        retry: bool = False,
    ) -> Reply:
        """Ask a service and return its answer.

        Args:
            subject: an endpoint's subject.
            payload: the encoded request.
            timeout_s: for everything, including waiting for a connection.
            headers: e.g. the trace context.
            retry: ask again after a lost connection, a lost answer or when nobody
                serves the subject yet, until `timeout_s`; the request must be idempotent.

        Raises:
            UnreachableError: `bus.unreachable`, `bus.timeout` or `bus.no_responders`.
            AtollError: what the service answered, with its code, message and `error_id`.
        """
        message = await self.call(
            require_subject(subject), payload, headers=headers, timeout_s=timeout_s, retry=retry
        )
        error = faults.from_wire(message.payload, message.headers)
        if error is not None:
            raise error
        return Reply(payload=message.payload, headers=message.headers)

    async def subscribe(
        self, subject: str, handler: Callable[[Message], Awaitable[None]], *, queue: str = ""
    ) -> Subscription:
        """Call `handler` for each message on `subject`, one after the other.

        Active on the server when this returns, and again after each reconnect.

        Raises:
            RefusedError: `bus.permission`.
        """
        subscription = await self.listen(subject, handler, queue=queue)
        await self.flush()
        if subject.lower() in self._denied:
            await subscription.close()
            raise RefusedError(
                f"{self._who.name} may not subscribe to {subject}", code="bus.permission"
            )
        return subscription

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Return when the server has processed everything sent so far."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._up.wait()
                with faults.translated("flush"):
                    # nats-py writes the PING of a flush ahead of what its own buffer still
                    # holds, so the first answer proves nothing; the second PING goes out
                    # after that buffer was written.
                    await self._client.flush()
                    await self._client.flush()
        except TimeoutError as error:
            raise UnreachableError("flush: no answer in time", code="bus.timeout") from error

    # What follows is for the other modules of this package.

    @property
    def config(self) -> BusConfig:
        """What the connection was made from."""
        return self._config

    def new_inbox(self) -> str:
        """A fresh subject that only this user may listen to."""
        return str(self._client.new_inbox())

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` whenever the connection is lost; returns how to stop that."""
        self._lost.add(callback)
        return lambda: self._lost.discard(callback)

    async def listen(
        self, subject: str, handler: Callable[[Message], Awaitable[None]], *, queue: str = ""
    ) -> Subscription:
        """`subscribe` without the round trip that makes sure of it."""
        require_filter(subject)

        async def receive(raw: Msg) -> None:
            await handler(Message.from_nats(raw))

        with faults.translated(f"subscribe {subject}"):
            raw = await self._client.subscribe(subject, queue=queue, cb=receive)
        return Subscription(raw)

    async def send(
        self,
        subject: str,
        payload: bytes,
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`publish` with a reply subject; `subject` was checked by the caller."""
        checked = require_headers(headers) if headers else None
        size = len(payload) + (
            sum(len(k) + len(v) + 4 for k, v in checked.items()) + 12 if checked else 0
        )
        if self._ready and size > self.max_payload:
            raise InputError(
                f"{subject}: {size} bytes, at most {self.max_payload} are accepted",
                code="bus.too_large",
            )
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        with faults.translated(subject):
            await self._client.publish(subject, payload, reply=reply, headers=checked)
        if task and task.cancelling() > cancels:
            # nats-py swallows a cancellation while it waits for a full buffer to be
            # written; without this, our timeouts would be lost in there.
            raise asyncio.CancelledError

    async def call(
        self,
        subject: str,
        payload: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
        retry: bool = False,
    ) -> Message:
        """`request` without a look at the answer; `subject` was checked by the caller."""
        if not retry:
            return await self._ask(subject, payload, headers, timeout_s)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            left = deadline - loop.time()
            try:
                # While disconnected there is nothing to attempt: wait the whole rest.
                attempt = min(left, ATTEMPT_S) if self.connected else left
                return await self._ask(subject, payload, headers, max(attempt, 0.001))
            except UnreachableError:
                if deadline - loop.time() <= RETRY_PAUSE_S:
                    raise
                await asyncio.sleep(RETRY_PAUSE_S)
                if deadline <= loop.time():
                    raise  # the pause took longer: an answer could not come in time any more

    async def _ask(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None, timeout_s: float
    ) -> Message:
        self._count += 1
        token = str(self._count)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self.wait_connected()
                self._waiting[token] = (future, subject)
                await self.send(subject, payload, reply=f"{self._mux}.{token}", headers=headers)
                message = await future
        except TimeoutError as error:
            if not self.connected:
                raise UnreachableError(
                    f"{subject}: no connection to {self._config.url}", code="bus.unreachable"
                ) from error
            raise UnreachableError(
                f"{subject}: no answer in {timeout_s:g} s", code="bus.timeout"
            ) from error
        finally:
            self._waiting.pop(token, None)
        if message.status == "503":
            raise UnreachableError(f"{subject}: nobody serves it", code="bus.no_responders")
        return message

    async def _answered(self, message: Message) -> None:
        waiting = self._waiting.get(message.subject.rpartition(".")[2])
        if waiting is not None and not waiting[0].done():
            waiting[0].set_result(message)

    def _fail(self, make: Callable[[str], AtollError], subject: str | None = None) -> None:
        for future, asked in self._waiting.values():
            if not future.done() and (subject is None or asked.lower() == subject):
                future.set_exception(make(asked))

    async def _disconnected(self) -> None:
        self._up.clear()
        if self._ready:
            self._log.warning("bus: connection to %s lost", self._config.url)
        self._fail(
            lambda subject: UnreachableError(
                f"{subject}: connection lost while waiting", code="bus.unreachable"
            )
        )
        for callback in tuple(self._lost):
            callback()

    async def _reconnected(self) -> None:
        self._denied.clear()
        self._up.set()
        self._log.info("bus: connected again to %s", self._config.url)
        if why := too_old(self.server_version, self._config.url):
            self._log.error("bus: %s", why)

    async def _failed(self, error: Exception) -> None:
        text = str(error).lower()
        refused = "authorization violation" in text and not self._config.patient
        if refused and not self._ready:
            raise RefusedError(
                f"{self._config.url} does not accept the login of {self._who.name}",
                code="bus.permission",
            ) from error
        denied = _DENIED.search(text)
        if denied is None:
            level = logging.WARNING if self.connected else logging.DEBUG
            self._log.log(level, "bus: %s: %s", type(error).__name__, error)
            return
        self._log.warning("bus: may not %s %s", denied[1], denied[2])
        if denied[1] == "subscription":
            self._denied.add(denied[2])
            return
        self._fail(
            lambda subject: RefusedError(
                f"{self._who.name} may not publish to {subject}", code="bus.permission"
            ),
            denied[2],
        )

    async def _open(self) -> None:
        config = self._config
        await self._client.connect(
            config.urls,
            name=config.name,
            **self._who.options(),
            inbox_prefix=config.inbox_prefix,
            tls=config.tls_context(),
            connect_timeout=2,
            reconnect_time_wait=1,
            max_reconnect_attempts=-1,
            reconnect_to_server_handler=next_server,
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=MAX_PINGS,
            pending_size=PENDING_SIZE,
            drain_timeout=max(1, round(config.drain_timeout_s)),
            error_cb=self._failed,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
        )
        require_version(self.server_version, self._config.url)
        self._up.set()
        self._mux = self.new_inbox()
        await self.subscribe(f"{self._mux}.*", self._answered)
        self._ready = True

    async def _close(self) -> None:
        self._ready = False
        deadline = self._config.drain_timeout_s
        # Not nats-py's drain: it swallows our deadline and waits 10 s for each flush.
        # Services and queues have drained their own subscriptions before this.
        if self.connected:
            with contextlib.suppress(AtollError):
                await self.flush(deadline)
        else:
            self._client.forget()
        with contextlib.suppress(nats_errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(deadline):
                await self._client.close()
        self._client.abort()
        self._up.clear()


@contextlib.asynccontextmanager
async def connect(config: BusConfig, *, logger: logging.Logger | None = None) -> AsyncIterator[Bus]:
    """A connection that reconnects by itself until the block ends.

    At the end what was published is flushed, within `drain_timeout_s`; subscriptions made
    by hand are dropped (`Subscription.drain` finishes them).

    Raises:
        UnreachableError: `bus.unreachable`: nobody answered within `connect_timeout_s`.
        RefusedError: `bus.permission`: user or password is wrong.
        ConfigError: `bus.server_too_old`.
    """
    bus = Bus(config, logger or logging.getLogger(__name__))
    try:
        try:
            async with asyncio.timeout(config.connect_timeout_s):
                with faults.translated(config.url):
                    await bus._open()  # noqa: SLF001
        except TimeoutError as error:
            raise UnreachableError(
                f"no NATS server at {config.url} after {config.connect_timeout_s:g} s",
                code="bus.unreachable",
                hint="is it running, and is the address right?",
            ) from error
        yield bus
    finally:
        await bus._close()  # noqa: SLF001
