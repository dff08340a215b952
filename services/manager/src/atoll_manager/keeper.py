"""An enclave's keeper: `python -I -m atoll_manager.keeper`, one process for each enclave.

It starts the agent, serves its simulated device and knows its end, so that an enclave
does not depend on the manager that wanted it: the manager may die and come back. The
keeper writes down what it keeps (`atoll_manager.records`) before the agent starts, and
listens for the manager on a socket beside that.

It ends the enclave when it is told to, at the enclave's deadline, and when no manager
was there for the adoption window. If the keeper itself is killed, the agent sees its
device go and ends.

Over a connection, lines of JSON:

    to the manager    {"agent": [pid, started]}, or {"refused": "..."} when it cannot start
                      {"status": n} when nothing of the enclave is left; then the end
                      {"leased": enclave id} when a job was handed over
    to the keeper     {"stop": grace_s}
                      {"lease": record}: what an enclave without a job is from now on; once

The child is reaped only by us and only after its group was killed: until then its id is
still its own, so that no signal ever reaches a stranger who got the same number.
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
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from atoll.errors import InputError
from atoll_manager import records
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.processes import ProcessId, ended, identify
from atoll_manager.workspaces import reap_workspace

if TYPE_CHECKING:
    from atoll.simulated.report import SimulatedGuest
    from atoll_manager.records import EnclaveRecord

MODULE: Final = "atoll_manager.keeper"
AGENT_MODULE: Final = "atoll_agent.main"
DEVICE_FD_SETTING: Final = "ATOLL_AGENT_DEVICE_FD"
LEASE_FD_SETTING: Final = "ATOLL_AGENT_LEASE_FD"
MAX_LINE: Final = 1 << 16
DEADLINE_SLACK_S: Final = 5.0
"""A manager that lives ends an expired job first, by the ledger's word."""
CLOCK_LOOK_S: Final = 30.0
"""How often the wall clock is looked at, which may be set meanwhile."""

_log = logging.getLogger(__name__)


class Keeper:
    """One enclave from before its start until nothing of it is left."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._directory = Path(order["directory"])
        self._record: EnclaveRecord = records.parse(json.dumps(order["record"]).encode())
        self._python: str = order["python"]
        self._settings: dict[str, str] = order["settings"]
        self._report, self._chain = bytes.fromhex(order["report"]), order["chain"].encode()
        self._window_s: float = order["window_s"]
        self._grace_s: float = order["grace_s"]
        self._tasks: set[asyncio.Task[None]] = set()
        self._managers: set[asyncio.StreamWriter] = set()
        self._alone = asyncio.Event()
        self._alone_since = 0.0
        self._told: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._group: int | None = None
        self._lease_fd: int | None = None
        """Where an agent without a job waits for one."""
        self._begin: Callable[[Coroutine[Any, Any, None]], None]

    async def run(self, first: socket.socket) -> None:
        """Keep it until it ended; `first` is the manager that wants it."""
        self._write(keeper=identify(os.getpid()))
        ours, theirs = socket.socketpair()
        try:
            process = self._spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            records.record_path(self._directory, self._record.spec.enclave_id).unlink()
            first.sendall(_line({"refused": error.strerror or "no reason given"}))
            return
        finally:
            theirs.close()
        self._group = process.pid
        try:
            await self._keep(process, ours, first)
        finally:
            if process.returncode is None:
                self._kill()
                process.wait()
                reap_workspace(self._record.spec.enclave_id)
            if self._lease_fd is not None:
                os.close(self._lease_fd)

    def tell(self, grace_s: float) -> None:
        """Let the agent have `grace_s` to end, then end it. The first word counts, and 0."""
        if not self._told.done():
            self._told.set_result(grace_s)
        elif grace_s == 0:
            self._kill()

    async def _keep(
        self, process: "subprocess.Popen[bytes]", device: socket.socket, first: socket.socket
    ) -> None:
        agent = identify(process.pid)
        if agent is None:
            raise AssertionError("a child that nobody reaped has its place in /proc")
        self._write(agent=agent)
        async with asyncio.TaskGroup() as group:

            def begin(work: Coroutine[Any, Any, None]) -> None:
                task = group.create_task(work)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

            self._begin = begin
            begin(self._attend(*await asyncio.open_connection(sock=first, limit=MAX_LINE)))
            begin(self._listen())
            begin(self._watch_deadline())
            begin(self._watch_absence())
            begin(self._serve_device(device))
            status = await self._until_ended(process, agent)
            # A thread, because unlinking gigabytes of memory takes its time.
            await asyncio.to_thread(reap_workspace, self._record.spec.enclave_id)
            self._write(status=status)
            for writer in tuple(self._managers):
                await _send(writer, {"status": status})
            for task in tuple(self._tasks):
                task.cancel()

    async def _until_ended(self, process: "subprocess.Popen[bytes]", agent: ProcessId) -> int:
        async with asyncio.TaskGroup() as tasks:
            over = tasks.create_task(ended(agent))
            either: set[asyncio.Future[Any]] = {over, self._told}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                _signal(agent.pid, signal.SIGTERM)
                await asyncio.wait({over}, timeout=self._told.result())
            self._kill()  # also what it left behind in its group
        self._group = None
        return process.wait()

    def _kill(self) -> None:
        if self._group is not None:
            _signal(self._group, signal.SIGKILL)

    def _spawn(self, device: int) -> "subprocess.Popen[bytes]":
        spec = self._record.spec
        if not spec.is_warm:
            job = {f"ATOLL_AGENT_{name}": value for name, value in _told(spec).items()}
            return self._start(job, device)
        leased, self._lease_fd = os.pipe()
        try:
            return self._start({LEASE_FD_SETTING: str(leased)}, device, leased)
        finally:
            os.close(leased)

    def _start(self, job: dict[str, str], *descriptors: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - the interpreter that we were told to use
            [self._python, "-I", "-m", AGENT_MODULE],
            env={**self._settings, DEVICE_FD_SETTING: str(descriptors[0]), **job},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,
        )

    def _lease(self, spec: EnclaveSpec) -> bool:
        """Hand the job over that this enclave waits for; whether it was."""
        if self._lease_fd is None or spec.is_warm or self._told.done():
            return False
        old = self._record.spec.enclave_id
        self._record = replace(self._record, spec=spec)
        records.rename(self._directory, old, self._record)
        descriptor, self._lease_fd = self._lease_fd, None
        try:
            # As much as a pipe takes at once, and there was nothing in it before.
            os.write(descriptor, _line(_told(spec)))
        except OSError:
            return False  # it has ended; nobody has read it
        finally:
            os.close(descriptor)
        self._begin(self._watch_deadline())
        return True

    async def _serve_device(self, host_end: socket.socket) -> None:
        # After the agent's start: it takes longer to need its device than we to load this.
        from atoll_manager.secure_processor import serve  # noqa: PLC0415

        guest = _guest(self._report, self._chain)
        await serve(host_end, guest, guest.chain.table().to_bytes())

    async def _listen(self) -> None:
        def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._begin(self._attend(reader, writer))

        directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # Short enough for a socket's address, wherever the directory is.
        folder = f"/proc/self/fd/{directory}"
        path = f"{folder}/{self._record.spec.enclave_id}.sock"
        server = await asyncio.start_unix_server(met, path, limit=MAX_LINE)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            with contextlib.suppress(OSError):
                # Under the name that it has by now.
                os.unlink(f"{folder}/{self._record.spec.enclave_id}.sock")  # noqa: PTH108
            os.close(directory)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._managers.add(writer)
        try:
            await _send(writer, {"agent": self._record.agent})
            while line := await reader.readline():
                word = json.loads(line)
                if not isinstance(word, dict):
                    continue
                if isinstance(word.get("stop"), int | float):
                    self.tell(max(0.0, float(word["stop"])))
                elif "lease" in word:
                    spec = records.from_plain(word["lease"]).spec
                    done = self._lease(spec)
                    await _send(writer, {"leased": spec.enclave_id if done else None})
        except (OSError, ValueError, RecursionError, InputError) as error:
            _log.info("a manager is gone: %s", error)
            return
        finally:
            self._managers.discard(writer)
            writer.close()
            if not self._managers:
                self._alone_since = time.monotonic()
                self._alone.set()

    async def _watch_absence(self) -> None:
        while True:
            await self._alone.wait()
            left = self._alone_since + self._window_s - time.monotonic()
            if self._managers:
                self._alone.clear()
            elif left > 0:
                await asyncio.sleep(left)
            else:
                _log.warning("no manager came back in %g s", self._window_s)
                self.tell(self._grace_s)
                return

    async def _watch_deadline(self) -> None:
        if self._record.spec.expires_ms == 0:
            return
        end_s = self._record.spec.expires_ms / 1000 + DEADLINE_SLACK_S
        while (left := end_s - time.time()) > 0:  # noqa: ASYNC110 - the clock tells no event
            await asyncio.sleep(min(left, CLOCK_LOOK_S))
        _log.warning("its time is over")
        self.tell(self._grace_s)

    def _write(self, **changes: Any) -> None:
        self._record = replace(self._record, **changes)
        records.write(self._directory, self._record)


def _guest(report: bytes, chain: bytes) -> "SimulatedGuest":
    from atoll.evidence.snp import AttestationReport  # noqa: PLC0415
    from atoll.simulated.chain import DevelopmentChain  # noqa: PLC0415
    from atoll.simulated.report import SimulatedGuest  # noqa: PLC0415

    body = AttestationReport.from_bytes(report).body
    return SimulatedGuest(chain=DevelopmentChain.from_pem(chain), body=body)


def _told(spec: EnclaveSpec) -> dict[str, str]:
    """What an agent must know of itself."""
    return {
        "ENCLAVE_ID": spec.enclave_id,
        "JOB_ID": spec.job_id,
        "ATTEMPT": str(spec.attempt),
        "MANIFEST_DIGEST": spec.manifest_digest,
        "TRACEPARENT": spec.traceparent,
    }


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


async def _send(writer: asyncio.StreamWriter, value: Any) -> None:
    with contextlib.suppress(OSError):
        writer.write(_line(value))
        await writer.drain()


async def _main(order: dict[str, Any], first: socket.socket) -> None:
    keeper = Keeper(order)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, keeper.tell, order["grace_s"])
    await keeper.run(first)


def main() -> int:
    """Read the order from standard input; descriptor 1 is the first manager's connection."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s atoll-keeper %(message)s")
    with os.fdopen(0, "rb", closefd=False) as file:
        order = json.loads(file.read())
    first = socket.socket(fileno=os.dup(1))
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    asyncio.run(_main(order, first))
    return 0


if __name__ == "__main__":
    sys.exit(main())
