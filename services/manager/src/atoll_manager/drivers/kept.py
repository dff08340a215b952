"""What all drivers have in common: each enclave has a keeper and a record.

The keeper (`atoll_manager.keeper`) is our child and outlives us if we are killed. A
manager that starts later on the same directory adopts what it finds there. What an enclave is,
a process or a container, is its body's matter (`atoll_manager.drivers.bodies`).
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from atoll.simulated.report import SimulatedGuest
from atoll.wire import level
from atoll_manager import keeper, records
from atoll_manager.drivers.bodies import Bodies
from atoll_manager.drivers.driver import EnclaveEvent, EnclaveSpec, EventKind, ListedEnclave
from atoll_manager.drivers.kept_enclave import (
    FORSAKEN,
    EndedEnclave,
    KeptEnclave,
    cannot_start,
    forsaken,
    log_name,
)
from atoll_manager.processes import ProcessId, identify, lives
from atoll_manager.records import EnclaveRecord, Records
from atoll_manager.workspaces import left_behind, reap_workspace

READY_S: Final = 60.0
MAX_EVENTS: Final = 1024
"""Events that wait for one reader."""

_log = logging.getLogger(__name__)


class KeptDriver:
    """Starts enclaves of one kind, each under a keeper.

    Args:
        bodies: the driver's part of that kind.
        settings: the agent's environment apart from what a spec adds.
        launch: measures and launches a simulated guest for a spec; None: the processor is real.
        log_dir: where each enclave's standard error goes.
        store: where what is needed to find an enclave again is written down.
        window_s: how long an enclave goes on without a manager.
        grace_s: how long one may take to end when it has none.
        group: the tasks of the manager.
        ready_s: how long one may take to be ready for a job, if it is started without.
    """

    def __init__(
        self,
        bodies: Bodies,
        *,
        settings: dict[str, str],
        launch: Callable[[EnclaveSpec], SimulatedGuest] | None,
        log_dir: Path,
        store: Records,
        window_s: float,
        grace_s: float,
        group: asyncio.TaskGroup,
        ready_s: float = READY_S,
    ) -> None:
        self._bodies = bodies
        self._settings = settings
        self._launch = launch
        self._log_dir = log_dir
        self._store = store
        self._window_s = window_s
        self._grace_s = grace_s
        self._group = group
        self._ready_s = ready_s
        self._listeners: set[asyncio.Queue[EnclaveEvent]] = set()

    async def start(self, spec: EnclaveSpec) -> KeptEnclave:
        """Start an enclave; when this is cancelled, nothing of it stays.

        Raises:
            RefusedError: `enclave.start`.
            ConfigError: what `launch` raises.
        """
        guest = None if self._launch is None else self._launch(spec)
        body = await self._bodies.order(spec)
        record = EnclaveRecord(
            spec=spec, speaks=level.newest(), kind=body["kind"], name=body.get("name", "")
        )
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child = self._start_keeper(record, body, guest, theirs)
        except OSError as error:
            ours.close()
            raise cannot_start(spec, error.strerror) from error
        writer = None
        try:
            reader, writer = await asyncio.open_connection(sock=ours, limit=keeper.MAX_LINE)
            agent = await self._introduction(spec, reader, writer)
        except BaseException:
            if writer is None:
                ours.close()
            else:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            child.kill()
            child.wait()
            await forsaken(self._store.read(spec.enclave_id) or record, self._bodies)
            self._store.remove(spec.enclave_id)
            raise
        enclave = KeptEnclave(
            replace(record, keeper=identify(child.pid), agent=agent),
            *(self._store, reader, writer, child),
            bodies=self._bodies,
            log=self._log_dir / log_name(spec),
            happened=self._tell,
        )
        self._tell(
            EnclaveEvent(kind=EventKind.STARTED, enclave_id=spec.enclave_id, job_id=spec.job_id)
        )
        return self._followed(enclave)

    async def prepare(self) -> KeptEnclave:
        """An enclave without a job, which it takes by its `lease`; likewise.

        Raises:
            RefusedError: `enclave.start`.
            ConfigError: what `launch` raises.
        """
        spec = EnclaveSpec(
            enclave_id=self._store.new_enclave_id(), job_id="", attempt=0, manifest_digest=""
        )
        enclave = await self.start(spec)
        try:
            await enclave.ready(self._ready_s)
        except BaseException:
            await enclave.stop(0.0)
            raise
        return enclave

    async def list(self) -> tuple[ListedEnclave, ...]:
        """The enclaves that are written down."""
        written = await asyncio.to_thread(lambda: tuple(records.each(self._store)))
        return tuple(
            ListedEnclave(
                enclave_id=record.spec.enclave_id,
                job_id=record.spec.job_id,
                kind=record.kind,
                pid=None if record.agent is None else record.agent.pid,
                status=record.status,
            )
            for _, record in written
            if record is not None
        )

    async def events(self) -> AsyncIterator[EnclaveEvent]:
        """What happens from now on; who reads too slowly misses the oldest."""
        queue: asyncio.Queue[EnclaveEvent] = asyncio.Queue(MAX_EVENTS)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    def _tell(self, event: EnclaveEvent) -> None:
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    async def adopt(self) -> tuple[KeptEnclave | EndedEnclave, ...]:
        """What an earlier manager of this directory left: found again, or cleared away.

        Once, before the first `start`. Whoever gets an enclave here must see to its end.
        """
        found: list[KeptEnclave | EndedEnclave] = []
        written = tuple(records.each(self._store))
        # Its keeper may be about to call it by the name that it has for its job.
        at_work = {it.keeper for _, it in written if it is not None and not it.spec.is_warm}
        for enclave_id, record in written:
            if record is not None and record.spec.is_warm:
                # Its image may not be today's; there will be others.
                if record.keeper not in at_work:
                    await forsaken(record, self._bodies)
                self._store.remove(enclave_id)
                continue
            enclave = None if record is None else await self._find(record)
            if enclave is None:
                _log.warning("enclave %s: nobody can say what it was for", enclave_id)
                self._store.remove(enclave_id)
            else:
                found.append(enclave)
        keep = {enclave.enclave_id for enclave in found}
        for enclave_id in left_behind(self._store.beginning, keep):
            _log.warning("erasing what enclave %s left", enclave_id)
            await asyncio.to_thread(reap_workspace, enclave_id)
        await self._bodies.reap({each.name for each in found if isinstance(each, KeptEnclave)})
        return tuple(found)

    async def _find(self, record: EnclaveRecord) -> KeptEnclave | EndedEnclave | None:
        spec = record.spec
        if record.keeper is not None and lives(record.keeper) and record.status is None:
            try:
                path = self._store.socket(spec.enclave_id)
                reader, writer = await asyncio.open_unix_connection(path, limit=keeper.MAX_LINE)
            except OSError:
                pass  # it ended just now, or never came so far as to listen
            else:
                enclave = KeptEnclave(
                    *(record, self._store, reader, writer, None),
                    bodies=self._bodies,
                    happened=self._tell,
                )
                return self._followed(enclave)
        # It may have ended in the meantime, and said how.
        record = self._store.read(spec.enclave_id) or record
        await forsaken(record, self._bodies)
        if spec.claim is None:
            return None
        status = FORSAKEN if record.status is None else record.status
        return EndedEnclave(spec, status, self._store)

    def _followed(self, enclave: KeptEnclave) -> KeptEnclave:
        self._group.create_task(enclave.follow(), name=f"enclave {enclave.enclave_id}")
        return enclave

    def _start_keeper(
        self,
        record: EnclaveRecord,
        body: dict[str, Any],
        guest: SimulatedGuest | None,
        connection: socket.socket,
    ) -> "subprocess.Popen[bytes]":
        order = {
            "directory": str(self._store.directory.absolute()),
            "record": records.to_plain(record),
            "body": body,
            "settings": self._bodies.settings(self._settings | _spoken()),
            **({} if guest is None else _simulated(guest)),
            "window_s": self._window_s,
            "grace_s": self._grace_s,
        }
        path = self._log_dir / log_name(record.spec)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        with (
            os.fdopen(os.memfd_create("order"), "w+b") as file,
            os.fdopen(os.open(path, flags, 0o600), "ab") as log,
        ):
            file.write(json.dumps(order).encode())
            file.seek(0)
            return subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-I", "-m", keeper.MODULE],
                env={"PATH": os.defpath},
                stdin=file,
                stdout=connection.fileno(),
                stderr=log,
                start_new_session=True,
            )

    async def _introduction(
        self, spec: EnclaveSpec, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> ProcessId:
        """The enclave's main process, as its keeper has it."""
        while True:
            try:
                word = json.loads(await reader.readline())
            except (OSError, ValueError) as error:
                raise cannot_start(spec, "its keeper ended, see its log") from error
            match word:
                case {"agent": [int() as pid, str() as started]}:
                    return ProcessId(pid, started)
                case {"refused": str() as reason}:
                    raise cannot_start(spec, reason)
                case {"ask": dict() as asked}:
                    answer = await self._bodies.answer(spec, asked)
                    writer.write(json.dumps({"answer": answer}).encode() + b"\n")
                case _:
                    raise cannot_start(spec, "its keeper speaks another language")


def _simulated(guest: SimulatedGuest) -> dict[str, str]:
    """By which the keeper has the same guest."""
    return {"report": guest.attest(bytes(64)).hex(), "chain": guest.chain.to_pem().decode()}


def _spoken() -> dict[str, str]:
    """What an enclave that starts now speaks: it cannot look itself which level is in force."""
    return {
        "ATOLL_AGENT_PROTOCOL_NEWEST": str(level.newest()),
        "ATOLL_AGENT_PROTOCOL_LEVEL": str(level.written()),
    }
