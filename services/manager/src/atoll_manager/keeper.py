"""An enclave's keeper: `python -I -m atoll_manager.keeper`, one process for each enclave.

It starts the enclave's body (`atoll_manager.bodies`), serves what that needs of its host and
knows its end, so that an enclave does not depend on the manager that wanted it: the manager may
die and come back. The keeper writes down what it keeps (`atoll_manager.records`) before the body
starts, and listens for the manager on a socket beside that.

It ends the enclave when it is told to, at the enclave's deadline, and when no manager
was there for the adoption window. If the keeper itself is killed, the agent sees its
device or its channel go and ends.

Over a connection, lines of JSON:

    to the manager    {"agent": [pid, started]}, or {"refused": "..."} when it cannot start
                      {"status": n} when nothing of the enclave is left; then the end
                      {"ready": true} when an enclave without a job can be told one
                      {"leased": enclave id} when a job was handed over
                      {"ask": {...}} before all else, of a body that its driver has a part in
    to the keeper     {"stop": grace_s}
                      {"lease": record}: what an enclave without a job is from now on; once
                      {"answer": {...}} to an ask
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from atoll.errors import InputError, RefusedError
from atoll_manager import records
from atoll_manager.bodies import body as bodies
from atoll_manager.bodies import kinds
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.processes import ended, identify

if TYPE_CHECKING:
    from atoll.simulated.report import SimulatedGuest
    from atoll_manager.records import EnclaveRecord

MODULE: Final = "atoll_manager.keeper"
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
        self._body = kinds.make(
            bodies.Order(
                spec=self._record.spec,
                settings=order["settings"],
                body=order["body"],
                guest=_guest(order),
            )
        )
        self._window_s: float = order["window_s"]
        self._grace_s: float = order["grace_s"]
        self._tasks: set[asyncio.Task[None]] = set()
        self._managers: set[asyncio.StreamWriter] = set()
        self._alone = asyncio.Event()
        self._alone_since = 0.0
        self._told: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._over = False
        self._leased = not self._record.spec.is_warm
        self._begin: Callable[[Coroutine[Any, Any, None]], None]

    async def run(self, first: socket.socket) -> None:
        """Keep it until it ended; `first` is the manager that wants it."""
        self._write(keeper=identify(os.getpid()))
        reader, writer = await asyncio.open_connection(sock=first, limit=MAX_LINE)

        async def ask(what: Mapping[str, Any]) -> dict[str, Any]:
            return await _ask(reader, writer, what)

        try:
            await self._body.start(ask)
        except RefusedError as error:
            records.record_path(self._directory, self._record.spec.enclave_id).unlink()
            await _send(writer, {"refused": error.message})
            writer.close()
            return
        try:
            await self._keep(reader, writer)
        finally:
            if not self._over:
                self._body.kill()
                await ended(self._body.main)
                await self._body.status()

    def tell(self, grace_s: float) -> None:
        """Let the agent have `grace_s` to end, then end it. The first word counts, and 0."""
        if not self._told.done():
            self._told.set_result(grace_s)
        elif grace_s == 0:
            self._body.kill()

    async def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._write(agent=self._body.main)
        async with asyncio.TaskGroup() as group:

            def begin(work: Coroutine[Any, Any, None]) -> None:
                task = group.create_task(work)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

            self._begin = begin
            begin(self._attend(reader, writer))
            begin(self._listen())
            begin(self._watch_deadline())
            begin(self._watch_absence())
            begin(self._say_ready())
            self._body.serve(begin)
            status = await self._until_ended()
            self._write(status=status)
            for manager in tuple(self._managers):
                await _send(manager, {"status": status})
            for task in tuple(self._tasks):
                task.cancel()

    async def _until_ended(self) -> int:
        async with asyncio.TaskGroup() as tasks:
            over = tasks.create_task(ended(self._body.main))
            either: set[asyncio.Future[Any]] = {over, self._told}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                self._body.ask_to_end()
                await asyncio.wait({over}, timeout=self._told.result())
            self._body.kill()
        status = await self._body.status()
        self._over = True
        return status

    async def _say_ready(self) -> None:
        """Tell those who are there now: whoever comes later adopts none without a job."""
        if self._record.spec.is_warm:
            await self._body.ready()
            for manager in tuple(self._managers):
                await _send(manager, {"ready": True})

    def _lease(self, spec: EnclaveSpec) -> bool:
        """Hand the job over that this enclave waits for; whether it was."""
        if self._leased or spec.is_warm or self._told.done():
            return False
        self._leased = True
        old = self._record.spec.enclave_id
        self._record = replace(self._record, spec=spec)
        records.rename(self._directory, old, self._record)
        if not self._body.lease(spec):
            return False
        self._begin(self._watch_deadline())
        return True

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


def _guest(order: Mapping[str, Any]) -> "Callable[[], SimulatedGuest] | None":
    if "report" not in order:
        return None

    def make() -> "SimulatedGuest":
        from atoll.evidence.snp import AttestationReport  # noqa: PLC0415
        from atoll.simulated.chain import DevelopmentChain  # noqa: PLC0415
        from atoll.simulated.report import SimulatedGuest  # noqa: PLC0415

        body = AttestationReport.from_bytes(bytes.fromhex(order["report"])).body
        return SimulatedGuest(chain=DevelopmentChain.from_pem(order["chain"].encode()), body=body)

    return make


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: Mapping[str, Any]
) -> dict[str, Any]:
    """Raises: RefusedError: the driver has no answer."""
    await _send(writer, {"ask": dict(what)})
    try:
        answer = json.loads(await reader.readline())["answer"]
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        raise bodies.refused("its driver does not answer") from error
    if not isinstance(answer, dict):
        raise bodies.refused("its driver has no answer")
    return answer


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
