"""Driver `process`: an enclave is a process under the simulated TEE, and has a keeper.

For development. The process is measured and gets genuine-format evidence, but the
host can read its memory: nothing here protects against the host.

The keeper (`atoll_manager.keeper`) is our child and outlives us if we are killed. A
manager that starts later on the same directory adopts what it finds there.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from atoll.errors import RefusedError
from atoll.simulated.report import SimulatedGuest
from atoll.wire import level
from atoll_manager import keeper, records
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.processes import ProcessId, end_group, ended, identify, lives
from atoll_manager.records import EnclaveRecord, Records
from atoll_manager.workspaces import left_behind, reap_workspace

FORSAKEN: Final = -int(signal.SIGKILL)
"""The status of an enclave whose keeper was killed, and nobody knows how it ended."""

LEASE_S: Final = 5.0
"""How long the keeper of a prepared enclave may take to hand a job over."""

END_SLACK_S: Final = 10.0
"""How much longer than its grace an enclave may take to be gone before its keeper is killed."""

_log = logging.getLogger(__name__)


class ProcessEnclave:
    """A running enclave, seen from its manager."""

    def __init__(
        self,
        record: EnclaveRecord,
        store: Records,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        child: "subprocess.Popen[bytes] | None",
        *,
        log: Path | None = None,
    ) -> None:
        self.spec = record.spec
        self._record = record
        self._store = store
        self._reader, self._writer = reader, writer
        self._child = child
        self._log = log
        self._names = {record.spec.enclave_id}
        """Under which something of it may be written down."""
        self._leased: asyncio.Future[str | None] | None = None
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def enclave_id(self) -> str:
        return self.spec.enclave_id

    async def follow(self) -> None:
        """Until nothing of it is left; a task of the manager's."""
        status = None
        try:
            status = await self._status()
            if status is None:
                await forsaken(self._record)
            if self._record.keeper is not None:
                await ended(self._record.keeper)
            if self._child is not None:
                self._child.wait()  # it has ended: this only reaps it
        except asyncio.CancelledError:
            self._say({"stop": 0})  # nobody sees to it any more
            raise
        finally:
            self._writer.close()
            self._over.set_result(FORSAKEN if status is None else status)

    async def wait(self) -> int:
        """Until it ended and nothing of it is left; its exit status (negative: the signal)."""
        return await asyncio.shield(self._over)

    async def stop(self, grace_s: float) -> None:
        """Ask it to erase and end, then end it. Returns when nothing of it is left."""
        try:
            self._say({"stop": grace_s})
            async with asyncio.timeout(grace_s + END_SLACK_S):
                await self.wait()
        except TimeoutError:
            _log.error("enclave %s and its keeper do not end", self.enclave_id)
            self._kill_keeper()
        finally:
            self._say({"stop": 0})
            await self.wait()
            for name in self._names:
                self._store.remove(name)

    async def lease(self, spec: EnclaveSpec) -> bool:
        """Let an enclave that waits for a job have this one; once. Whether it has it.

        Raises:
            RefusedError: `enclave.start`: nobody can say whether it has it. Stop it.
        """
        if not self.spec.is_warm or self._leased is not None:
            raise AssertionError("an enclave serves one job")
        self._leased = asyncio.get_running_loop().create_future()
        self._names.add(spec.enclave_id)
        self._say({"lease": records.to_plain(replace(self._record, spec=spec))})
        either: set[asyncio.Future[Any]] = {self._leased, self._over}
        await asyncio.wait(either, timeout=LEASE_S, return_when=asyncio.FIRST_COMPLETED)
        if not self._leased.done():
            raise _cannot_start(spec, "its keeper does not answer")
        if self._leased.result() != spec.enclave_id:
            return False
        if self._log is not None:
            with contextlib.suppress(OSError):
                self._log.rename(self._log.with_name(_log_name(spec)))
        self.spec = spec
        self._record = replace(self._record, spec=spec)
        return True

    async def _status(self) -> int | None:
        """What the keeper says of its end; None when it is gone without a word."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            while line := await self._reader.readline():
                word = json.loads(line)
                if not isinstance(word, dict):
                    continue
                if "leased" in word and self._leased is not None and not self._leased.done():
                    self._leased.set_result(word["leased"])
                if type(word.get("status")) is int:
                    return int(word["status"])
        return None

    def _say(self, word: Any) -> None:
        if not self._over.done() and not self._writer.is_closing():
            self._writer.write(json.dumps(word).encode() + b"\n")

    def _kill_keeper(self) -> None:
        process = self._record.keeper
        if process is not None and lives(process):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class EndedEnclave:
    """One that ended while no manager was there."""

    spec: EnclaveSpec
    status: int
    store: Records

    @property
    def enclave_id(self) -> str:
        return self.spec.enclave_id

    async def wait(self) -> int:
        return self.status

    async def stop(self, grace_s: float) -> None:  # noqa: ARG002 - as a running one's
        self.store.remove(self.enclave_id)


class ProcessDriver:
    """Starts `python -I -m atoll_agent.main`, under a keeper, with nothing but its settings.

    Args:
        python: the interpreter of the agent.
        settings: the agent's environment apart from what a spec adds.
        launch: measures and launches a simulated guest for a spec.
        log_dir: where each enclave's standard error goes.
        store: where what is needed to find an enclave again is written down.
        window_s: how long an enclave goes on without a manager.
        grace_s: how long one may take to end when it has none.
        group: the tasks of the manager.
    """

    def __init__(
        self,
        *,
        python: str,
        settings: dict[str, str],
        launch: Callable[[EnclaveSpec], SimulatedGuest],
        log_dir: Path,
        store: Records,
        window_s: float,
        grace_s: float,
        group: asyncio.TaskGroup,
    ) -> None:
        self._python = python
        self._settings = settings
        self._launch = launch
        self._log_dir = log_dir
        self._store = store
        self._window_s = window_s
        self._grace_s = grace_s
        self._group = group

    async def start(self, spec: EnclaveSpec) -> ProcessEnclave:
        """Start an enclave; when this is cancelled, nothing of it stays.

        Raises:
            RefusedError: `enclave.start`.
            ConfigError: what `launch` raises.
        """
        guest = self._launch(spec)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child = self._start_keeper(spec, guest, theirs)
        except OSError as error:
            ours.close()
            raise _cannot_start(spec, error.strerror) from error
        writer = None
        try:
            reader, writer = await asyncio.open_connection(sock=ours, limit=keeper.MAX_LINE)
            agent = await _introduction(spec, reader)
        except BaseException:
            if writer is None:
                ours.close()
            else:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            child.kill()
            child.wait()
            if (record := self._store.read(spec.enclave_id)) is not None:
                await forsaken(record)
            self._store.remove(spec.enclave_id)
            raise
        record = EnclaveRecord(
            spec=spec, keeper=identify(child.pid), agent=agent, speaks=level.newest()
        )
        enclave = ProcessEnclave(
            *(record, self._store, reader, writer, child),
            log=self._log_dir / _log_name(spec),
        )
        return self._followed(enclave)

    async def prepare(self) -> ProcessEnclave:
        """An enclave without a job, which it takes by its `lease`; likewise.

        Raises:
            RefusedError: `enclave.start`.
            ConfigError: what `launch` raises.
        """
        spec = EnclaveSpec(
            enclave_id=self._store.new_enclave_id(), job_id="", attempt=0, manifest_digest=""
        )
        return await self.start(spec)

    async def adopt(self) -> tuple[ProcessEnclave | EndedEnclave, ...]:
        """What an earlier manager of this directory left: found again, or cleared away.

        Once, before the first `start`. Whoever gets an enclave here must see to its end.
        """
        found: list[ProcessEnclave | EndedEnclave] = []
        written = tuple(records.each(self._store))
        # Its keeper may be about to call it by the name that it has for its job.
        at_work = {it.keeper for _, it in written if it is not None and not it.spec.is_warm}
        for enclave_id, record in written:
            if record is not None and record.spec.is_warm:
                # Its image may not be today's; there will be others.
                if record.keeper not in at_work:
                    await forsaken(record)
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
        return tuple(found)

    async def _find(self, record: EnclaveRecord) -> ProcessEnclave | EndedEnclave | None:
        spec = record.spec
        if record.keeper is not None and lives(record.keeper) and record.status is None:
            try:
                path = self._store.socket(spec.enclave_id)
                reader, writer = await asyncio.open_unix_connection(path, limit=keeper.MAX_LINE)
            except OSError:
                pass  # it ended just now, or never came so far as to listen
            else:
                return self._followed(ProcessEnclave(record, self._store, reader, writer, None))
        # It may have ended in the meantime, and said how.
        record = self._store.read(spec.enclave_id) or record
        await forsaken(record)
        if spec.claim is None:
            return None
        status = FORSAKEN if record.status is None else record.status
        return EndedEnclave(spec, status, self._store)

    def _followed(self, enclave: ProcessEnclave) -> ProcessEnclave:
        self._group.create_task(enclave.follow(), name=f"enclave {enclave.enclave_id}")
        return enclave

    def _start_keeper(
        self, spec: EnclaveSpec, guest: SimulatedGuest, connection: socket.socket
    ) -> "subprocess.Popen[bytes]":
        order = {
            "directory": str(self._store.directory.absolute()),
            "record": records.to_plain(EnclaveRecord(spec=spec, speaks=level.newest())),
            "python": self._python,
            "settings": self._settings | _spoken(),
            "report": guest.attest(bytes(64)).hex(),
            "chain": guest.chain.to_pem().decode(),
            "window_s": self._window_s,
            "grace_s": self._grace_s,
        }
        path = self._log_dir / _log_name(spec)
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


def _log_name(spec: EnclaveSpec) -> str:
    return f"enclave-{spec.enclave_id}.log"


def _spoken() -> dict[str, str]:
    """What an enclave that starts now speaks: it cannot look itself which level is in force."""
    return {
        "ATOLL_AGENT_PROTOCOL_NEWEST": str(level.newest()),
        "ATOLL_AGENT_PROTOCOL_LEVEL": str(level.written()),
    }


async def forsaken(record: EnclaveRecord) -> None:
    """Clear away what is left of an enclave that its keeper can no longer see to."""
    for process in (record.keeper, record.agent):
        if process is not None:
            await end_group(process)
    await asyncio.to_thread(reap_workspace, record.spec.enclave_id)


async def _introduction(spec: EnclaveSpec, reader: asyncio.StreamReader) -> ProcessId:
    """The agent's process, as its keeper's first line has it."""
    try:
        word = json.loads(await reader.readline())
    except (OSError, ValueError) as error:
        raise _cannot_start(spec, "its keeper ended, see its log") from error
    match word:
        case {"agent": [int() as pid, str() as started]}:
            return ProcessId(pid, started)
        case {"refused": str() as reason}:
            raise _cannot_start(spec, reason)
        case _:
            raise _cannot_start(spec, "its keeper speaks another language")


def _cannot_start(spec: EnclaveSpec, reason: str | None) -> RefusedError:
    return RefusedError(f"enclave {spec.enclave_id} cannot start: {reason}", code="enclave.start")
