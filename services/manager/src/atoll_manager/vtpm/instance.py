"""One enclave's virtual TPM.

    <folder>/state/    what swtpm keeps: the seed of its keys
    <folder>/control   the socket on which QEMU connects

`provision` makes the TPM and certifies its attestation key; `start` runs it anew for the machine,
with registers at zero; `end` stops it, and nothing of it is left. A keeper that starts on what
another one left behind calls `erase`.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Self

from atoll.errors import AtollError, ConfigError
from atoll.tpm.authority import VtpmAuthority
from atoll.tpm.device import ConnectedSocket, Tpm
from atoll_manager.vtpm import swtpm

STATE: Final = "state"
CONTROL: Final = "control"
MAX_PATH: Final = 100
"""Bytes of a Unix socket's path that the kernel takes, with something to spare (unix(7))."""
ENDING_S: Final = 5.0
"""How long swtpm may take to end before it is killed."""


@dataclass(slots=True, kw_only=True)
class Vtpm:
    """A TPM that exists; `certificates` is the chain for its attestation key, leaf first."""

    folder: Path
    certificates: tuple[bytes, ...] = field(repr=False)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @classmethod
    async def provision(
        cls, folder: Path, authority: VtpmAuthority, *, host_id: str, now: datetime
    ) -> Self:
        """Make a new TPM, which has no bank of registers but SHA-256's, and certify its key.

        Args:
            folder: of this enclave alone; it is made, and must not be there yet.
            authority: whose word evidence of it is believed on.
            host_id: what the certificate calls this host.
            now: from when on the certificate holds.

        Raises:
            ConfigError: `vtpm.no_swtpm`; `vtpm.failed`: the folder, or the program.
        """
        _make_folder(folder)
        try:
            public = await asyncio.to_thread(_make, folder / STATE)
            certificates = authority.certify(public, host_id=host_id, now=now)
        except BaseException:
            erase(folder)
            raise
        return cls(folder=folder, certificates=certificates)

    @property
    def control(self) -> Path:
        """Where the machine's TPM backend connects:

        `-chardev socket,id=tpm,path=CONTROL -tpmdev emulator,id=tpm0,chardev=tpm`, or libvirt's
        `<backend type='external'><source type='unix' mode='connect' path='CONTROL'/></backend>`.
        """
        return self.folder / CONTROL

    def start(self) -> "subprocess.Popen[bytes]":
        """Run it for one machine, which may connect as soon as this returns.

        Raises:
            ConfigError: `vtpm.no_swtpm`, `vtpm.failed`.
        """
        if self._process is not None:
            raise RuntimeError("this vTPM runs already")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(str(self.control))
                self.control.chmod(0o600)
                listener.listen(1)
                self._process = swtpm.on_control(self.folder / STATE, listener)
        except OSError as error:
            raise ConfigError(f"{self.control}: {error.strerror}", code="vtpm.failed") from error
        return self._process

    async def end(self) -> None:
        """Stop it, whatever it is doing, and erase it. Safe to call again."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            await asyncio.to_thread(_reap, process)
        erase(self.folder)


def erase(folder: Path) -> None:
    """Remove a vTPM's folder, if it is there; without its state its keys cannot be made again.

    Raises:
        ConfigError: `vtpm.failed`: something of it is left.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", code="vtpm.failed") from error


def _make_folder(folder: Path) -> None:
    if len(os.fsencode(folder / CONTROL)) > MAX_PATH:
        raise ConfigError(
            f"{folder}: too long for a socket in it, at most {MAX_PATH} bytes",
            code="vtpm.failed",
            hint="give the manager a data directory with a shorter path",
        )
    try:
        folder.mkdir(mode=0o700)
        (folder / STATE).mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", code="vtpm.failed") from error


def _make(state: Path) -> bytes:
    """The public part of the attestation key of a new TPM."""
    ours, its = socket.socketpair()
    with its:
        try:
            process = swtpm.on_data(state, its)
        except AtollError:
            ours.close()
            raise
    try:
        with Tpm(ConnectedSocket(ours)) as tpm:
            tpm.startup()
            key = tpm.attestation_key()
            tpm.flush(key.handle)
            tpm.keep_only_sha256()
            tpm.shutdown()
    except AtollError as error:
        raise ConfigError(
            f"swtpm: {error.message}", code="vtpm.failed", hint=swtpm.said(state)
        ) from error
    finally:
        _reap(process)
    return key.public


def _reap(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ENDING_S)
    process.kill()
    process.wait()
