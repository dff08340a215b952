"""libvirt's event loop on asyncio's.

`libvirtaio` registers our loop with libvirt, once in a process, as libvirt has it. It expects
to be called on the loop; but libvirt calls from whichever thread makes a call, and its
embedded driver from threads of its own. So here every change goes to the loop's thread, in
the order in which they were made, and nobody waits for it: libvirt may hold a lock that a
callback on the loop is about to take.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

import libvirtaio


class ThreadSafeEvents(libvirtaio.virEventAsyncIOImpl):  # type: ignore[misc] # untyped
    """What libvirt asks of an event loop, from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._known: dict[int, Any] = {}

    def _add_handle(self, fd: int, event: int, cb: Any, opaque: Any) -> int:
        it = libvirtaio.FDCallback(self, cb, opaque, descriptor=self.descriptors[fd], event=event)
        self._known[it.iden] = it

        def add() -> None:
            self.callbacks[it.iden] = it
            it.descriptor.add_handle(it)
            self._pending_inc()

        self._later(add)
        return int(it.iden)

    def _update_handle(self, watch: int, event: int) -> None:
        self._later(super()._update_handle, watch, event)

    def _remove_handle(self, watch: int) -> int:
        # From now on it is not called, whatever is ready.
        self._known.pop(watch).cb = _nobody
        self._later(super()._remove_handle, watch)
        return 0

    def _add_timeout(self, timeout: int, cb: Any, opaque: Any) -> int:
        it = libvirtaio.TimeoutCallback(self, cb, opaque)
        self._known[it.iden] = it

        def add() -> None:
            self.callbacks[it.iden] = it
            it.update(timeout=timeout)
            self._pending_inc()

        self._later(add)
        return int(it.iden)

    def _update_timeout(self, timer: int, timeout: int) -> None:
        self._later(super()._update_timeout, timer, timeout)

    def _remove_timeout(self, timer: int) -> int:
        self._known.pop(timer).cb = _nobody
        self._later(super()._remove_timeout, timer)
        return 0

    def _later(self, work: Callable[..., object], *arguments: Any) -> None:
        # A loop that is closed needs no events any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(work, *arguments)


_installed: Final[list[ThreadSafeEvents]] = []
"""libvirt takes one in the life of a process."""


def install() -> ThreadSafeEvents:
    """Let libvirt's events come on the running loop.

    Raises:
        AssertionError: those of a connection that is still open come on another one.
    """
    loop = asyncio.get_running_loop()
    if not _installed:
        _installed.append(ThreadSafeEvents(loop).register())
    events = _installed[0]
    if events.loop is not loop:
        if not events.loop.is_closed():
            raise AssertionError("libvirt's events come on another loop, which is not closed")
        events.__init__(loop)  # type: ignore[misc] # as new, in the place that libvirt knows
    return events


def loop() -> asyncio.AbstractEventLoop:
    """The one on which they come."""
    return _installed[0].loop  # type: ignore[no-any-return] # untyped


def _nobody(*_: Any) -> None:
    """Instead of what was removed."""
