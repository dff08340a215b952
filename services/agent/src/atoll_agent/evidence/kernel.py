"""The few calls to the kernel that providers make, behind one small port.

Each may raise `OSError` with the kernel's errno; what it means is for the provider to say.
"""

import array
import fcntl
import os
import socket
from contextlib import closing
from typing import Final, Protocol

from atoll.errors import MalformedEvidenceError

HOST_CID: Final = 2
"""VMADDR_CID_HOST (linux/vm_sockets.h)."""

_READ: Final = 64 << 10


class Memory:
    """Bytes at an address that a structure for the kernel can name.

    The address is good as long as this object is alive.
    """

    def __init__(self, content: bytes) -> None:
        self.content = array.array("B", content)

    @property
    def address(self) -> int:
        """Where it begins; it never moves, for it never changes its size."""
        return self.content.buffer_info()[0]

    def to_bytes(self) -> bytes:
        """What is there now."""
        return self.content.tobytes()


class Stream(Protocol):
    """A connection, as a socket is one."""

    def settimeout(self, value: float, /) -> None: ...
    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class Kernel(Protocol):
    """What providers need of Linux."""

    def exists(self, path: str) -> bool: ...

    def mkdir(self, path: str) -> None: ...

    def rmdir(self, path: str) -> None: ...

    def read(self, path: str, limit: int) -> bytes:
        """All that is in a file.

        Raises:
            MalformedEvidenceError: there is more than `limit`.
        """

    def write(self, path: str, data: bytes) -> None:
        """Write a file that is there, by one call."""

    def memory(self, content: bytes) -> Memory:
        """Bytes that structures may point at."""

    def ioctl(self, path: str, request: int, argument: Memory) -> None:
        """Open a device, make one request, close it. `argument` is changed in place, also where
        it fails."""

    def dial(self, port: int, timeout_s: float) -> Stream:
        """Connect to a port of the host by vsock."""


class Linux:
    """The kernel that we run on."""

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def mkdir(self, path: str) -> None:
        os.mkdir(path, 0o700)  # noqa: PTH102 - paths of the port are text

    def rmdir(self, path: str) -> None:
        os.rmdir(path)  # noqa: PTH106

    def read(self, path: str, limit: int) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = bytearray()
            while part := os.read(descriptor, min(_READ, limit + 1 - len(found))):
                found += part
                if len(found) > limit:
                    raise MalformedEvidenceError(path, limit, f"has over {limit} bytes")
        finally:
            os.close(descriptor)
        return bytes(found)

    def write(self, path: str, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)

    def memory(self, content: bytes) -> Memory:
        return Memory(content)

    def ioctl(self, path: str, request: int, argument: Memory) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, request, argument.content, True)  # noqa: FBT003
        finally:
            os.close(descriptor)

    def dial(self, port: int, timeout_s: float) -> Stream:
        found = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            found.settimeout(timeout_s)
            found.connect((HOST_CID, port))
        except OSError:
            with closing(found):
                raise
        return found


def iowr(kind: str, number: int, size: int) -> int:
    """`_IOWR` of asm-generic/ioctl.h: a request whose structure goes both ways."""
    return 3 << 30 | size << 16 | ord(kind) << 8 | number
