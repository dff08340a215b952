"""A body that is a virtual machine: no network, a channel over one serial port, a console.

The keeper listens on two sockets in a folder of the enclave's own. The driver lets libvirt
start a domain whose emulator connects to both; the kernel says which process that is, and with
it the enclave ends. Nothing here talks to libvirt, which may go away meanwhile.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import ssl
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError, InputError, MessageError
from atoll.tpm.authority import VtpmAuthority
from atoll_manager.bodies.body import Ask, Begin, Order, refused, settings_of
from atoll_manager.bodies.channel import Services
from atoll_manager.bodies.console import Console
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.processes import ProcessId, identify
from atoll_manager.vtpm.instance import Vtpm

CHANNEL: Final = "channel"
CONSOLE: Final = "console"
SETTINGS: Final = "settings"
TPM: Final = "tpm"
PORT: Final = "serial:atoll.channel"
CONNECT_S: Final = 30.0
"""How long the emulator may take to be there once libvirt says that it runs."""
MAX_SETTINGS: Final = 64 << 10
PANIC: Final = "Kernel panic - not syncing"
_CREDENTIALS: Final = struct.Struct("3i")
_PIECE: Final = 16 << 10

_log = logging.getLogger(__name__)


class DomainBody:
    """As `atoll_manager.bodies.body.Body`.

    Order: `folder`, for sockets and settings; `console`, the file that keeps it; `bus`, its
    servers; `tee`, if no simulated processor makes its evidence; `vtpm`, if it has one:
    `authority`, the file of who certifies it, and `host_id`. The driver is asked to
    `{"start": folder}`, once the settings are there: what launches the guest may need their digest.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = Path(order.body["folder"])
        self._services = Services(order)
        self._main: ProcessId | None = None
        self._pidfd: int | None = None
        self._ends: dict[str, socket.socket] = {}
        self._console: Console | None = None
        self._vtpm: Vtpm | None = None

    @property
    def main(self) -> ProcessId:
        if self._main is None:
            raise AssertionError("it was not started")
        return self._main

    async def start(self, ask: Ask) -> None:
        listening: dict[str, socket.socket] = {}
        try:
            self._folder.mkdir(mode=0o700)
            if "vtpm" in self._order.body:
                self._vtpm = await self._make_vtpm(self._order.body["vtpm"])
            self._write_settings()
            self._console = Console(Path(self._order.body["console"]))
            for name in (CHANNEL, CONSOLE):
                listening[name] = _listen(self._folder, name)
            await ask({"start": str(self._folder)})
            async with asyncio.timeout(CONNECT_S):
                for name, it in listening.items():
                    loop = asyncio.get_running_loop()
                    self._ends[name], _ = await loop.sock_accept(it)
            self._find_main()
        except TimeoutError as error:
            await self._clear()
            raise refused("its emulator did not connect") from error
        except OSError as error:
            await self._clear()
            raise refused(f"{error.filename or self._folder}: {error.strerror}") from error
        except (ConfigError, InputError) as error:
            await self._clear()
            raise refused(f"{error.message} ({error.code})") from error
        except BaseException:
            await self._clear()
            raise
        finally:
            for it in listening.values():
                it.close()

    def serve(self, begin: Begin) -> None:
        begin(self._relay(self._ends[CHANNEL]))
        begin(self._keep_console(self._ends[CONSOLE]))

    async def ready(self) -> None:
        await self._services.here.wait()

    def lease(self, spec: EnclaveSpec) -> bool:
        return self._services.lease(spec)

    def ask_to_end(self) -> None:
        # A guest that is not there yet has nothing to say and nothing to erase.
        if not self._services.end():
            self.kill()

    def kill(self) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def status(self) -> int:
        self.kill()
        if self._console is not None and PANIC in self._console.tail():
            _log.warning("the guest's kernel panicked, see %s", self._order.body["console"])
        await self._clear()
        said = self._services.said
        return -int(signal.SIGKILL) if said is None else said

    def _write_settings(self) -> None:
        settings = {**settings_of(self._order), "ATOLL_AGENT_CHANNEL": PORT}
        if "tee" in self._order.body:
            settings["ATOLL_AGENT_TEE"] = self._order.body["tee"]
        if self._vtpm is not None:
            chain = "".join(map(ssl.DER_cert_to_PEM_cert, self._vtpm.certificates))
            settings["ATOLL_AGENT_VTPM_CERTIFICATES"] = chain
        raw = json.dumps(settings, sort_keys=True).encode()
        if len(raw) > MAX_SETTINGS:
            raise refused(f"settings of {len(raw)} bytes: want at most {MAX_SETTINGS}")
        (self._folder / SETTINGS).write_bytes(raw)

    def _find_main(self) -> None:
        """Who has connected, by the kernel's word (unix(7), SO_PEERCRED)."""
        raw = self._ends[CHANNEL].getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
        )
        pid, _, _ = _CREDENTIALS.unpack(raw)
        self._main = identify(pid)
        if self._main is None:
            raise refused("it ended at once, see its console")
        self._pidfd = os.pidfd_open(pid)

    async def _relay(self, end: socket.socket) -> None:
        ends = await asyncio.open_unix_connection(sock=end)
        try:
            await self._services.relay().carry(ends)
        except MessageError as error:
            _log.warning("the enclave is cut off: %s (%s)", error.message, error.code)
            self.kill()
        finally:
            ends[1].close()

    async def _keep_console(self, end: socket.socket) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=end)
        try:
            while piece := await reader.read(_PIECE):
                if self._console is not None:
                    self._console.write(piece)
        except OSError as error:  # a full disk takes nothing from the guest
            _log.warning("its console is no longer kept: %s", error.strerror)
            with contextlib.suppress(OSError):
                while await reader.read(_PIECE):
                    pass
        finally:
            writer.close()

    async def _make_vtpm(self, wanted: Mapping[str, str]) -> Vtpm:
        raw = await asyncio.to_thread(Path(wanted["authority"]).read_bytes)
        authority = VtpmAuthority.from_pem(raw)
        made = await Vtpm.provision(
            self._folder / TPM, authority, host_id=wanted["host_id"], now=datetime.now(UTC)
        )
        made.start()
        return made

    async def _clear(self) -> None:
        if self._vtpm is not None:
            await self._vtpm.end()
            self._vtpm = None
        for end in self._ends.values():
            end.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._console is not None:
            self._console.close()
            self._console = None
        shutil.rmtree(self._folder, ignore_errors=True)


def _listen(folder: Path, name: str) -> socket.socket:
    it = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        it.bind(str(folder / name))
        it.listen(1)
    except BaseException:
        it.close()
        raise
    return it
