"""One connection to libvirt, which may go away and come back.

    libvirt = Libvirt("qemu:///system")
    async with libvirt.connected():
        name = await libvirt.call(lambda conn: conn.getHostname())

A call blocks, so it runs in a thread; events come on the loop (`events`). When libvirtd goes
away that is logged, calls fail with `libvirt.lost`, and it is tried again until it is back;
whoever listens is told of both, because what happened in between was not.

`qemu:///embed?root=DIR` needs no daemon: the driver is in this process, and the guests are
not (they go on without it). Its settings are in DIR/etc/qemu.conf, which is written when it
is not there.
"""

import asyncio
import contextlib
import logging
import os
import urllib.parse
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypeVar

from atoll.errors import AtollError, ConfigError, UnreachableError
from atoll_manager.libvirt import refusals, versions
from atoll_manager.libvirt.binding import load
from atoll_manager.libvirt.versions import Release

T = TypeVar("T")

SYSTEM: Final = "qemu:///system"
THREADS: Final = 8
KEEPALIVE_S: Final = 2
"""How often a daemon is asked whether it is there; it may miss three in a row."""
KEEPALIVE_COUNT: Final = 3
RETRY_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Pauses between attempts to come back; the last one from then on."""

_EMBEDDED: Final[dict[str, Any]] = {}
"""Connections to embedded drivers, by URI; a process has one, for good. Each one that is opened
registers its driver once more, and libvirt has about twenty places for them (src/libvirt.c,
`virRegisterConnectDriver`)."""

_log = logging.getLogger(__name__)


class Change(Enum):
    """What may have happened to a domain (libvirt, virDomainEventType); what matters to us."""

    STARTED = "started"
    STOPPED = "stopped"
    """Nothing of it is left."""
    CRASHED = "crashed"
    """Its kernel panicked."""
    SUSPENDED = "suspended"
    """Somebody paused it."""
    CHANGED = "changed"
    """Somebody gave it a device."""
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEvent:
    """One event of a domain."""

    name: str
    change: Change
    detail: int
    """libvirt's, by the kind of event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """libvirt went away; `Found` follows when it is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """libvirt is there. What its domains did before is not told: look."""


Listener = Callable[[DomainEvent | Lost | Found], None]


class Libvirt:
    """A libvirt that is at `uri`, now or again.

    Args:
        uri: as libvirt has them.
        listener: told of every event, on the loop; it must not block.
    """

    def __init__(self, uri: str = SYSTEM, listener: Listener | None = None) -> None:
        self.uri = uri
        self._listeners = [] if listener is None else [listener]
        self._connection: Any = None
        self._watches: list[int] = []
        self._gone = asyncio.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="libvirt")
        self.library = Release(0, 0, 0)
        """The version of the libvirt that we talk to; of its daemon, where it has one."""

    @property
    def there(self) -> bool:
        """Whether it was when last heard of."""
        return self._connection is not None and not self._gone.is_set()

    def listen(self, listener: Listener) -> None:
        """Let it be told of what happens from now on."""
        self._listeners.append(listener)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator["Libvirt"]:
        """Connect, and stay so for as long as the context lasts.

        Raises:
            ConfigError: `libvirt.absent`: no binding here; `libvirt.too_old`.
            UnreachableError: `libvirt.unreachable`: nobody answers.
        """
        try:
            await self._open()
            async with asyncio.TaskGroup() as group:
                task = group.create_task(self._stay(), name="libvirt")
                try:
                    yield self
                finally:
                    task.cancel()
        finally:
            await self._close()
            self._threads.shutdown(wait=False)

    async def call(self, work: Callable[[Any], T]) -> T:
        """`work(connection)` in a thread.

        Raises:
            UnreachableError: `libvirt.lost`: libvirt is not there, or went away meanwhile. Whether
                it did what it was asked is not known.
            ConflictError, NotFoundError, RefusedError: `refusals.translate`.
        """
        connection = self._connection
        if connection is None or self._gone.is_set():
            raise UnreachableError(f"libvirt at {self.uri} is not there", code="libvirt.lost")
        return await self._in_thread(lambda: refusals.translated(load(), connection, work))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _open(self) -> None:
        binding = load()
        events = _events().install()
        self._gone.clear()
        prepare(self.uri)
        connection = await self._in_thread(lambda: _opened(binding, self.uri))
        try:
            await self._in_thread(lambda: self._begin(binding, connection))
            versions.require(f"libvirt at {self.uri}:", self.library, versions.LIBVIRT)
        except BaseException:
            await self._in_thread(lambda: self._end(binding, connection))
            await events.drain()
            raise
        self._connection = connection
        self._tell(Found())

    def _begin(self, binding: Any, connection: Any) -> None:
        loop: asyncio.AbstractEventLoop = _events().loop()

        def gone(_: Any, reason: int, __: Any) -> None:
            loop.call_soon_threadsafe(self._gone.set)
            _log.warning("libvirt at %s went away (reason %d)", self.uri, reason)

        def changed(_: Any, domain: Any, kind: int, detail: int, __: Any) -> None:
            change = kinds.get(kind, Change.OTHER)
            event = DomainEvent(name=domain.name(), change=change, detail=detail)
            loop.call_soon_threadsafe(self._tell, event)

        def given(_: Any, domain: Any, __: str, ___: Any) -> None:
            event = DomainEvent(name=domain.name(), change=Change.CHANGED, detail=0)
            loop.call_soon_threadsafe(self._tell, event)

        kinds = {
            binding.VIR_DOMAIN_EVENT_STARTED: Change.STARTED,
            binding.VIR_DOMAIN_EVENT_STOPPED: Change.STOPPED,
            binding.VIR_DOMAIN_EVENT_CRASHED: Change.CRASHED,
            binding.VIR_DOMAIN_EVENT_SUSPENDED: Change.SUSPENDED,
        }
        try:
            self.library = Release.of(connection.getLibVersion())
            with contextlib.suppress(binding.libvirtError):  # the embedded driver has none of both
                connection.registerCloseCallback(gone, None)
                connection.setKeepAlive(KEEPALIVE_S, KEEPALIVE_COUNT)
            for kind, callback in (
                (binding.VIR_DOMAIN_EVENT_ID_LIFECYCLE, changed),
                (binding.VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, given),
            ):
                watch = connection.domainEventRegisterAny(None, kind, callback, None)
                self._watches.append(watch)
        except binding.libvirtError as error:
            raise UnreachableError(
                f"libvirt at {self.uri}: {refusals.words(error)}", code="libvirt.unreachable"
            ) from error

    async def _stay(self) -> None:
        while True:
            await self._gone.wait()
            self._tell(Lost())
            await self._close()
            pauses = iter(RETRY_S)
            pause = RETRY_S[0]
            while self._connection is None:
                try:
                    await self._open()
                    _log.warning("libvirt at %s is back", self.uri)
                except AtollError as error:
                    pause = next(pauses, pause)
                    _log.info("%s; looking again in %g s", error.message, pause)
                    await asyncio.sleep(pause)

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            binding = load()
            await self._in_thread(lambda: self._end(binding, connection))
            await _events().install().drain()

    def _end(self, binding: Any, connection: Any) -> None:
        watches, self._watches = self._watches, []
        for watch in watches:
            with contextlib.suppress(binding.libvirtError):
                connection.domainEventDeregisterAny(watch)
        with contextlib.suppress(binding.libvirtError):
            connection.unregisterCloseCallback()
        if self.uri not in _EMBEDDED:
            with contextlib.suppress(binding.libvirtError):
                connection.close()

    def _tell(self, event: DomainEvent | Lost | Found) -> None:
        for listener in self._listeners:
            listener(event)


def embedded_root(uri: str) -> Path | None:
    """The directory of `qemu:///embed?root=DIR`; None: another kind of URI.

    Raises:
        ConfigError: `config.invalid`: it names none.
    """
    parts = urllib.parse.urlsplit(uri)
    if parts.path != "/embed":
        return None
    roots = urllib.parse.parse_qs(parts.query).get("root", [])
    if len(roots) != 1 or not Path(roots[0]).is_absolute():
        raise ConfigError(
            f"{uri!r}: want qemu:///embed?root=DIR with an absolute path", code="config.invalid"
        )
    return Path(roots[0])


def prepare(uri: str) -> None:
    """Write the settings of an embedded driver where there are none: QEMU runs as we do (who it
    runs as must be able to open /dev/kvm when we can: libvirt asks QEMU what it can do again and
    again otherwise), without a second process for its output, without cgroups and namespaces of
    its own.

    Raises:
        ConfigError: `config.unwritable`; `config.invalid`.
    """
    root = embedded_root(uri)
    if root is None or (root / "etc" / "qemu.conf").exists():
        return
    try:
        (root / "etc").mkdir(mode=0o700, parents=True, exist_ok=True)
        (root / "etc" / "qemu.conf").write_text(
            f'user = "+{os.geteuid()}"\ngroup = "+{os.getegid()}"\nsecurity_driver = "none"\n'
            'stdio_handler = "file"\nnamespaces = []\ncgroup_controllers = []\n'
        )
    except OSError as error:
        raise ConfigError(f"{root}: {error.strerror}", code="config.unwritable") from error


def _events() -> Any:
    from atoll_manager.libvirt import events  # noqa: PLC0415 - needs the binding

    return events


def _opened(binding: Any, uri: str) -> Any:
    if uri in _EMBEDDED:
        return _EMBEDDED[uri]
    try:
        connection = binding.open(uri)
    except binding.libvirtError as error:
        raise UnreachableError(
            f"no libvirt at {uri}: {refusals.words(error)}",
            code="libvirt.unreachable",
            hint="is libvirtd (or virtqemud) running?",
        ) from error
    if embedded_root(uri) is not None:
        _EMBEDDED[uri] = connection
    return connection
