"""A body that is a container: no network, nothing to write to but memory, and a channel.

The container sees one folder of the host, in which its keeper listens; its engine is the
host's. Calls of the engine's package block, so each is made in a thread.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Final

from atoll.errors import MessageError, RefusedError
from atoll_manager import engine
from atoll_manager.bodies.body import Ask, Begin, Order, refused, settings_of
from atoll_manager.bodies.channel import Services
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.processes import ProcessId, identify

INSIDE: Final = "/run/host"
SOCKET: Final = "channel"
_SIGNALLED: Final = 128
"""An engine reports a signal as so much more (as shells do)."""


class ContainerBody:
    """As `atoll_manager.bodies.body.Body`.

    Order: `engine`, its address; `image`; `name`; `labels`; `folder`, for the channel's socket;
    `bus`, its servers; `limits` (`engine.Limits`).
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._body = order.body
        self._folder = Path(order.body["folder"])
        self._services = Services(order)
        self._main: ProcessId | None = None
        self._pidfd: int | None = None
        self._listening: socket.socket | None = None
        self._client: Any = None

    @property
    def main(self) -> ProcessId:
        if self._main is None:
            raise AssertionError("it was not started")
        return self._main

    async def start(self, ask: Ask) -> None:  # noqa: ARG002 - others have something to ask
        try:
            self._listening = self._listen()
            self._main = await asyncio.to_thread(self._run)
            self._pidfd = os.pidfd_open(self._main.pid)
        except (RefusedError, OSError) as error:
            await asyncio.to_thread(self._remove)
            reason = error.message if isinstance(error, RefusedError) else error.strerror
            raise refused(reason) from error

    def serve(self, begin: Begin) -> None:
        begin(self._relay())

    async def ready(self) -> None:
        await self._services.here.wait()

    def lease(self, spec: EnclaveSpec) -> bool:
        return self._services.lease(spec)

    def ask_to_end(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        # The first process of a container takes all others with it.
        self._signal(signal.SIGKILL)

    async def status(self) -> int:
        self.kill()
        status = await asyncio.to_thread(self._status)
        await asyncio.to_thread(self._remove)
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        return status

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _listen(self) -> socket.socket:
        self._folder.mkdir(mode=0o700)
        listening = socket.socket(socket.AF_UNIX)
        directory = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Short enough for a socket's address, wherever the folder is.
            listening.bind(f"/proc/self/fd/{directory}/{SOCKET}")
            listening.listen()
        except BaseException:
            listening.close()
            raise
        finally:
            os.close(directory)
        return listening

    async def _relay(self) -> None:
        if self._listening is None:
            raise AssertionError("it was not started")
        try:
            await self._services.relay().serve(self._listening)
        except MessageError as error:
            engine.log.warning("the enclave is cut off: %s (%s)", error.message, error.code)
            self.kill()

    def _run(self) -> ProcessId:
        channel = f"unix:{INSIDE}/{SOCKET}"
        self._client = engine.connect(self._body["engine"])
        pid = engine.start(
            self._client,
            image=self._body["image"],
            name=self._body["name"],
            labels=self._body["labels"],
            settings={**settings_of(self._order), "ATOLL_AGENT_CHANNEL": channel},
            folder=(str(self._folder), INSIDE),
            limits=engine.Limits(**self._body["limits"]),
        )
        main = identify(pid) if pid else None
        if main is None:
            raise refused("it ended at once")
        return main

    def _status(self) -> int:
        status = engine.status(self._client, self._body["name"])
        # Our own standard error is the enclave's log.
        with contextlib.suppress(OSError):
            sys.stderr.buffer.write(engine.said(self._client, self._body["name"]))
            sys.stderr.buffer.flush()
        return _SIGNALLED - status if status > _SIGNALLED else status

    def _remove(self) -> None:
        if self._client is not None:
            engine.remove(self._client, self._body["name"])
            self._client.close()
            self._client = None
        if self._listening is not None:
            self._listening.close()
        shutil.rmtree(self._folder, ignore_errors=True)
