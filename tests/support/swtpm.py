"""Virtual TPMs by the real swtpm. Where it is missing, tests that need it are skipped with the
reason; in CI a skip is a failure."""

import shutil
import socket
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from atoll.tpm.device import ConnectedSocket, Tpm

needs_swtpm = pytest.mark.skipif(
    shutil.which("swtpm") is None, reason="swtpm is not installed (package swtpm)"
)

_INIT = 2
_SET_DATAFD = 16


@contextmanager
def machine(control: Path) -> Iterator[Tpm]:
    """What a virtual machine does with its TPM's control socket (swtpm(8), swtpm_ioctls(3)):
    hands over a descriptor for commands, and turns the TPM on. It is off when the block ends."""
    ours, its = socket.socketpair()
    with closing(ours), its, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(str(control))
        socket.send_fds(channel, [struct.pack(">I", _SET_DATAFD)], [its.fileno()])
        _expect_done(channel)
        channel.sendall(struct.pack(">II", _INIT, 0))
        _expect_done(channel)
        with Tpm(ConnectedSocket(ours)) as tpm:
            yield tpm


def _expect_done(channel: socket.socket) -> None:
    answer = channel.recv(4)
    if answer != bytes(4):
        raise RuntimeError(f"swtpm answered {answer.hex() or 'nothing'}")
