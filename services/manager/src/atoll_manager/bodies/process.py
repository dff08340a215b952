"""A body that is a process: `python -I -m atoll_agent.main`, with nothing but its settings.

The child is reaped only by us and only after its group was killed: until then its id is
still its own, so that no signal ever reaches a stranger who got the same number.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
from typing import Final

from atoll_manager.bodies.body import Ask, Begin, Order, refused, settings_of, told
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.processes import ProcessId, identify
from atoll_manager.workspaces import reap_workspace

AGENT_MODULE: Final = "atoll_agent.main"
DEVICE_FD_SETTING: Final = "ATOLL_AGENT_DEVICE_FD"
LEASE_FD_SETTING: Final = "ATOLL_AGENT_LEASE_FD"


class ProcessBody:
    """As `atoll_manager.bodies.body.Body`. Order: `python`, the interpreter."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._spec = order.spec
        self._process: subprocess.Popen[bytes] | None = None
        self._group: int | None = None
        self._device: socket.socket | None = None
        self._main: ProcessId | None = None
        self._lease_fd: int | None = None
        """Where an agent without a job waits for one."""

    @property
    def main(self) -> ProcessId:
        if self._main is None:
            raise AssertionError("it was not started")
        return self._main

    async def start(self, ask: Ask) -> None:  # noqa: ARG002 - others have something to ask
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = self._spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            raise refused(error.strerror) from error
        self._group, self._device = self._process.pid, ours
        self._main = identify(self._process.pid)
        if self._main is None:
            raise AssertionError("a child that nobody reaped has its place in /proc")

    def serve(self, begin: Begin) -> None:
        begin(self._serve_device())

    async def ready(self) -> None:
        return

    def lease(self, spec: EnclaveSpec) -> bool:
        if self._lease_fd is None:
            return False
        self._spec = spec
        descriptor, self._lease_fd = self._lease_fd, None
        try:
            # As much as a pipe takes at once, and there was nothing in it before.
            os.write(descriptor, json.dumps(told(spec)).encode() + b"\n")
        except OSError:
            return False  # it has ended; nobody has read it
        finally:
            os.close(descriptor)
        return True

    def ask_to_end(self) -> None:
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGTERM)

    def kill(self) -> None:
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)

    async def status(self) -> int:
        if self._process is None:
            raise AssertionError("it was not started")
        self.kill()  # also what it left behind in its group
        self._group = None
        status = self._process.wait()
        if self._lease_fd is not None:
            os.close(self._lease_fd)
            self._lease_fd = None
        # A thread, because unlinking gigabytes of memory takes its time.
        await asyncio.to_thread(reap_workspace, self._spec.enclave_id)
        return status

    def _spawn(self, device: int) -> "subprocess.Popen[bytes]":
        if not self._spec.is_warm:
            return self._run({}, device)
        leased, self._lease_fd = os.pipe()
        try:
            return self._run({LEASE_FD_SETTING: str(leased)}, device, leased)
        finally:
            os.close(leased)

    def _run(self, more: dict[str, str], *descriptors: int) -> "subprocess.Popen[bytes]":
        settings = {**settings_of(self._order), DEVICE_FD_SETTING: str(descriptors[0]), **more}
        return subprocess.Popen(  # noqa: S603 - the interpreter that we were told to use
            [str(self._order.body["python"]), "-I", "-m", AGENT_MODULE],
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,
        )

    async def _serve_device(self) -> None:
        # After the agent's start: it takes longer to need its device than we to load this.
        from atoll_manager.secure_processor import serve  # noqa: PLC0415

        if self._device is None:
            raise AssertionError("it was not started")
        if self._order.guest is None:
            raise AssertionError("a process has no other processor than the simulated one")
        guest = self._order.guest()
        await serve(self._device, guest, guest.chain.table().to_bytes())
