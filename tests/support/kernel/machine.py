"""A machine that offers what a test says, and refuses addresses that nobody gave it."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakSet

from atoll.errors import MalformedEvidenceError
from atoll_agent.evidence.kernel import Memory, Stream


def fault(number: int) -> OSError:
    """An error as Python raises it for an errno."""
    return OSError(number, os.strerror(number))


class UserSpace:
    """The memory of the process that made a request."""

    def __init__(self) -> None:
        self._known: WeakSet[Memory] = WeakSet()

    def new(self, content: bytes) -> Memory:
        found = Memory(content)
        self._known.add(found)
        return found

    def copy_from(self, address: int, size: int) -> bytes:
        """`copy_from_user`. Raises: OSError: EFAULT."""
        memory, start = self._find(address, size)
        return memory.to_bytes()[start : start + size]

    def copy_to(self, address: int, data: bytes) -> None:
        """`copy_to_user`. Raises: OSError: EFAULT."""
        memory, start = self._find(address, len(data))
        for index, byte in enumerate(data, start):
            memory.content[index] = byte

    def _find(self, address: int, size: int) -> tuple[Memory, int]:
        for memory in self._known:
            start = address - memory.address
            if start >= 0 and start + size <= len(memory.content):
                return memory, start
        raise fault(errno.EFAULT)


class Device(Protocol):
    """What stands behind a path in /dev."""

    def ioctl(self, request: int, argument: Memory, user: UserSpace) -> None: ...


class Files(Protocol):
    """A file system below some path."""

    def exists(self, path: str) -> bool: ...
    def mkdir(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def read(self, path: str) -> bytes: ...
    def write(self, path: str, data: bytes) -> None: ...


@dataclass
class Machine:
    """The kernel's side of `atoll_agent.evidence.kernel.Kernel`."""

    files: Files | None = None
    devices: dict[str, Device] = field(default_factory=dict)
    services: dict[int, Callable[[float], Stream]] = field(default_factory=dict)
    """By vsock port of the host."""
    nodes: set[str] = field(default_factory=set)
    """Further paths that are there."""
    user: UserSpace = field(default_factory=UserSpace)

    def exists(self, path: str) -> bool:
        there = path in self.devices or path in self.nodes
        return there or (self.files is not None and self.files.exists(path))

    def mkdir(self, path: str) -> None:
        self._files().mkdir(path)

    def rmdir(self, path: str) -> None:
        self._files().rmdir(path)

    def read(self, path: str, limit: int) -> bytes:
        found = self._files().read(path)
        if len(found) > limit:
            raise MalformedEvidenceError(path, limit, f"has over {limit} bytes")
        return found

    def write(self, path: str, data: bytes) -> None:
        self._files().write(path, data)

    def memory(self, content: bytes) -> Memory:
        return self.user.new(content)

    def ioctl(self, path: str, request: int, argument: Memory) -> None:
        if path not in self.devices:
            raise fault(errno.ENOENT)
        self.devices[path].ioctl(request, argument, self.user)

    def dial(self, port: int, timeout_s: float) -> Stream:
        if port not in self.services:
            raise fault(errno.ECONNRESET)  # what vsock gives where nobody listens
        return self.services[port](timeout_s)

    def _files(self) -> Files:
        if self.files is None:
            raise fault(errno.ENOENT)
        return self.files
