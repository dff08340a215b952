"""An enclave that has a keeper (`atoll_manager.keeper`), seen from its manager."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from atoll.errors import RefusedError
from atoll_manager import records
from atoll_manager.drivers.bodies import Bodies
from atoll_manager.drivers.driver import EnclaveEvent, EnclaveSpec, EventKind
from atoll_manager.processes import end_group, ended, lives
from atoll_manager.records import EnclaveRecord, Records
from atoll_manager.workspaces import reap_workspace

FORSAKEN: Final = -int(signal.SIGKILL)
"""The status of an enclave whose keeper was killed, and nobody knows how it ended."""

LEASE_S: Final = 5.0
"""How long the keeper of a prepared enclave may take to hand a job over."""

END_SLACK_S: Final = 10.0
"""How much longer than its grace an enclave may take to be gone before its keeper is killed."""

_log = logging.getLogger(__name__)


class KeptEnclave:
    """A running enclave, seen from its manager."""

    def __init__(
        self,
        record: EnclaveRecord,
        store: Records,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        child: subprocess.Popen[bytes] | None,
        *,
        bodies: Bodies,
        log: Path | None = None,
        happened: Callable[[EnclaveEvent], None] = lambda _: None,
    ) -> None:
        self._spec = record.spec
        self._bodies = bodies
        self._happened = happened
        self._record = record
        self._store = store
        self._reader, self._writer = reader, writer
        self._child = child
        self._log = log
        self._names = {record.spec.enclave_id}
        """Under which something of it may be written down."""
        self._leased: asyncio.Future[str | None] | None = None
        self._ready = asyncio.Event()
        self._stopped = False
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def spec(self) -> EnclaveSpec:
        """What it is started with; another one once it has a job."""
        return self._spec

    @property
    def enclave_id(self) -> str:
        return self.spec.enclave_id

    @property
    def name(self) -> str:
        """What its body is called."""
        return self._record.name

    async def follow(self) -> None:
        """Until nothing of it is left; a task of the manager's."""
        status = None
        try:
            status = await self._status()
            if status is None:
                await forsaken(self._record, self._bodies)
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
            self._happened(self._end(status))

    def _end(self, status: int | None) -> EnclaveEvent:
        """Its end, as an event: a crash is one that nobody wanted and it did not choose."""
        if status is None:
            kind, reason = EventKind.CRASHED, "its keeper is gone"
        elif status < 0 and not self._stopped:
            kind, reason = EventKind.CRASHED, f"signal {-status}"
        else:
            kind, reason = EventKind.ENDED, "told to" if self._stopped else "by itself"
        return EnclaveEvent(
            kind=kind,
            enclave_id=self.enclave_id,
            job_id=self.spec.job_id,
            status=FORSAKEN if status is None else status,
            reason=reason,
        )

    async def ready(self, within_s: float) -> None:
        """Until an enclave without a job can be told one.

        Raises:
            RefusedError: `enclave.start`: it ended, or takes longer.
        """
        ready = self._group_wait()
        try:
            async with asyncio.timeout(within_s):
                await ready
        except TimeoutError as error:
            raise cannot_start(self.spec, f"it is not ready in {within_s:g} s") from error
        if not self._ready.is_set():
            raise cannot_start(self.spec, "it ended before it was ready")

    async def _group_wait(self) -> None:
        async with asyncio.TaskGroup() as group:
            ready = group.create_task(self._ready.wait())
            either: set[asyncio.Future[Any]] = {ready, self._over}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()

    async def wait(self) -> int:
        """Until it ended and nothing of it is left; its exit status (negative: the signal)."""
        return await asyncio.shield(self._over)

    async def stop(self, grace_s: float) -> None:
        """Ask it to erase and end, then end it. Returns when nothing of it is left."""
        self._stopped = True
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
            raise cannot_start(spec, "its keeper does not answer")
        if self._leased.result() != spec.enclave_id:
            return False
        if self._log is not None:
            with contextlib.suppress(OSError):
                self._log.rename(self._log.with_name(log_name(spec)))
        self._spec = spec
        self._record = replace(self._record, spec=spec)
        return True

    async def _status(self) -> int | None:
        """What the keeper says of its end; None when it is gone without a word."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            while line := await self._reader.readline():
                word = json.loads(line)
                if not isinstance(word, dict):
                    continue
                if "ready" in word:
                    self._ready.set()
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


def log_name(spec: EnclaveSpec) -> str:
    return f"enclave-{spec.enclave_id}.log"


async def forsaken(record: EnclaveRecord, bodies: Bodies) -> None:
    """Clear away what is left of an enclave that its keeper can no longer see to."""
    for process in (record.keeper, record.agent):
        if process is not None:
            await end_group(process)
    await bodies.clear(record)
    await asyncio.to_thread(reap_workspace, record.spec.enclave_id)


def cannot_start(spec: EnclaveSpec, reason: str | None) -> RefusedError:
    return RefusedError(f"enclave {spec.enclave_id} cannot start: {reason}", code="enclave.start")
