"""Driver `process`: an enclave is a child process under the simulated TEE.

For development. The process is measured and gets genuine-format evidence, but the
host can read its memory: nothing here protects against the host.

The child is reaped only by us and only after its group was killed: until then its id is
still its own, so that no signal ever reaches a stranger who got the same number.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from atoll.errors import RefusedError
from atoll.simulated.report import SimulatedGuest
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.secure_processor import GuestDevice

DEVICE_FD_SETTING: Final = "ATOLL_AGENT_DEVICE_FD"
MODULE: Final = "atoll_agent.main"

_log = logging.getLogger(__name__)


class ProcessEnclave:
    """A running agent process and the device it attests with."""

    def __init__(
        self,
        spec: EnclaveSpec,
        process: "subprocess.Popen[bytes]",
        device: GuestDevice,
        serving: asyncio.Task[None],
        reap: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._process = process
        self._device = device
        self._serving = serving
        self._reap = reap
        self._cleaning = asyncio.Lock()
        self._clean = False

    @property
    def enclave_id(self) -> str:
        return self._spec.enclave_id

    async def wait(self) -> int:
        """Until it ended and nothing of it is left; its exit status (negative: the signal)."""
        await self._ended()
        self._signal(signal.SIGKILL)  # whatever it left behind in its group
        status = self._process.wait()  # it has ended: this only reaps it
        async with self._cleaning:
            if not self._clean:
                self._serving.cancel()
                await asyncio.wait({self._serving})
                self._device.close()
                # A thread, because unlinking gigabytes of memory takes its time.
                await asyncio.to_thread(self._reap, self._spec.enclave_id)
                self._clean = True
        return status

    async def stop(self, grace_s: float) -> None:
        """Ask it to erase and end, then end it. Returns when nothing of it is left."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self._ended()
        except TimeoutError:
            _log.warning("enclave %s did not end in %g s", self.enclave_id, grace_s)
        finally:
            self._signal(signal.SIGKILL)
            await self.wait()

    async def _ended(self) -> None:
        """Until the process has ended; it may still have to be reaped."""
        if self._process.returncode is not None:
            return
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        descriptor = os.pidfd_open(self._process.pid)
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def _signal(self, number: signal.Signals) -> None:
        # The agent leads its own group, so whatever it left behind goes too.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


class ProcessDriver:
    """Starts `python -I -m atoll_agent.main` with nothing but its own settings.

    Args:
        python: the interpreter.
        settings: the agent's environment apart from what a spec adds.
        launch: measures and launches a simulated guest for a spec.
        table: the certificate table that goes with its reports.
        log_dir: where each enclave's standard error goes.
        reap: erases what a killed enclave left in memory-only storage; called in a thread.
        group: the tasks of the manager; the device is served there.
    """

    def __init__(
        self,
        *,
        python: str,
        settings: dict[str, str],
        launch: Callable[[EnclaveSpec], SimulatedGuest],
        table: bytes,
        log_dir: Path,
        reap: Callable[[str], None],
        group: asyncio.TaskGroup,
    ) -> None:
        self._python = python
        self._settings = settings
        self._launch = launch
        self._table = table
        self._log_dir = log_dir
        self._reap = reap
        self._group = group

    async def start(self, spec: EnclaveSpec) -> ProcessEnclave:
        """Start an enclave. There is no point at which it can be cancelled halfway.

        Raises:
            RefusedError: `enclave.start`.
            ConfigError: what `launch` raises.
        """
        guest = self._launch(spec)
        try:
            device = GuestDevice(guest, self._table)
        except OSError as error:
            raise _cannot_start(spec, error) from error
        try:
            process = self._spawn(spec, device.guest_end.fileno())
        except OSError as error:
            device.close()
            raise _cannot_start(spec, error) from error
        device.close_guest_end()
        serving = self._group.create_task(device.serve(), name=f"device {spec.enclave_id}")
        return ProcessEnclave(spec, process, device, serving, self._reap)

    def _spawn(self, spec: EnclaveSpec, fd: int) -> "subprocess.Popen[bytes]":
        path = self._log_dir / f"enclave-{spec.enclave_id}.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as log:
            return subprocess.Popen(  # noqa: S603 - the interpreter that we were told to use
                [self._python, "-I", "-m", MODULE],
                env=self._environment(spec, fd),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(fd,),
                start_new_session=True,
            )

    def _environment(self, spec: EnclaveSpec, fd: int) -> dict[str, str]:
        return {
            **self._settings,
            DEVICE_FD_SETTING: str(fd),
            "ATOLL_AGENT_ENCLAVE_ID": spec.enclave_id,
            "ATOLL_AGENT_JOB_ID": spec.job_id,
            "ATOLL_AGENT_ATTEMPT": str(spec.attempt),
            "ATOLL_AGENT_MANIFEST_DIGEST": spec.manifest_digest,
            "ATOLL_AGENT_TRACEPARENT": spec.traceparent,
        }


def _cannot_start(spec: EnclaveSpec, error: OSError) -> RefusedError:
    return RefusedError(
        f"enclave {spec.enclave_id} cannot start: {error.strerror}", code="enclave.start"
    )
