"""The program `swtpm` (package swtpm): how it is run, on descriptors that we hold.

It gets sockets that are open already, so there is nothing to wait for: what connects before it
accepts waits in the queue of the socket.
"""

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError

LOG: Final = "swtpm.log"
MAX_LOG: Final = 2000
PROGRAMS: Final = {
    "swtpm": ("swtpm", "which virtual TPMs are made with"),
    # libvirt offers no TPM of swtpm's, not even one that it does not run, without it.
    "swtpm_setup": ("swtpm-tools", "which libvirt wants to see"),
}
"""Each with the package that has it, and what it is for."""


def program(name: str = "swtpm") -> str:
    """Where a program of swtpm's is.

    Raises:
        ConfigError: `vtpm.no_swtpm`: it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        package, purpose = PROGRAMS[name]
        raise ConfigError(
            f"there is no program {name}, {purpose}",
            code="vtpm.no_swtpm",
            hint=f"as root: apt-get install --no-install-recommends {package}",
        )
    return found


def on_data(state: Path, data: socket.socket) -> "subprocess.Popen[bytes]":
    """Run it to be asked directly; it ends when the other end of `data` is closed.

    Args:
        state: its folder.
        data: one end of a pair, which carries commands.

    Raises:
        ConfigError: `vtpm.no_swtpm`, `vtpm.failed`.
    """
    return _run(state, data, "--fd", str(data.fileno()), "--flags", "not-need-init")


def on_control(state: Path, listener: socket.socket) -> "subprocess.Popen[bytes]":
    """Run it for a virtual machine, which starts it; it ends when that machine has ended.

    Args:
        state: its folder.
        listener: a Unix socket on which QEMU's `-tpmdev emulator` connects.

    Raises:
        ConfigError: `vtpm.no_swtpm`, `vtpm.failed`.
    """
    control = f"type=unixio,fd={listener.fileno()}"
    return _run(state, listener, "--ctrl", control, "--terminate")


def said(state: Path) -> str:
    """The end of what it wrote, for an error."""
    try:
        return (state / LOG).read_text("utf-8", "replace")[-MAX_LOG:].strip() or "it said nothing"
    except OSError as error:
        return f"its log cannot be read: {error.strerror}"


def _run(state: Path, descriptor: socket.socket, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [
        program(),
        "socket",
        "--tpm2",
        "--tpmstate",
        f"dir={state},mode=0600",
        *arguments,
    ]
    try:
        with (state / LOG).open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[descriptor.fileno()],
                cwd="/",
                env={},
            )
    except OSError as error:
        raise ConfigError(
            f"swtpm cannot be started: {error.strerror}", code="vtpm.failed"
        ) from error
