"""One compiled module in a memory file: how the worker leaves it and finds it again.

    8 bytes     size of the artifact, big-endian; 0: there is none
    32 bytes    its SHA-256
    ...         what wasmtime serialized

wasmtime takes a serialized module for what it is and runs it: who can write one can run any
machine code in the process that loads it. So the file has a fixed size from the start, the worker
that compiled seals it against every change *before* the guest begins (F_SEAL_WRITE and F_SEAL_SEAL,
fcntl(2); the kernel takes neither back), and the agent keeps no file without these seals.
"""

import fcntl
import hashlib
import mmap
import os
from typing import Final

from atoll_agent.sandbox.limits import MAX_ARTIFACT

_HEADER: Final = 40
_SIZE: Final = 8
_FIXED: Final = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
_FINAL: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def create() -> int:
    """A memory file with room for an artifact, of which nothing takes memory yet."""
    descriptor = os.memfd_create("compiled", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, _HEADER + MAX_ARTIFACT)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FIXED)
    return descriptor


def write(descriptor: int, artifact: bytes | bytearray) -> None:
    """Put an artifact in, if it fits."""
    if not 0 < len(artifact) <= MAX_ARTIFACT:
        return
    # Mapped, because write(2) would be held to the file size that the guest's outputs may have.
    with mmap.mmap(descriptor, _HEADER + len(artifact)) as memory:
        memory[_HEADER:] = artifact
        memory[_SIZE:_HEADER] = hashlib.sha256(artifact).digest()
        memory[:_SIZE] = len(artifact).to_bytes(_SIZE, "big")


def seal(descriptor: int) -> None:
    """From here on nobody can change it, this process included.

    Raises:
        OSError: the kernel does not seal it.
    """
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FINAL)


def size_if_sealed(descriptor: int) -> int:
    """The size of what is in it; 0 if there is nothing or if it could still be changed."""
    wanted = _FIXED | _FINAL
    if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & wanted != wanted:
        return 0
    size = int.from_bytes(os.pread(descriptor, _SIZE, 0), "big")
    return size if size <= MAX_ARTIFACT else 0


def read(descriptor: int) -> bytes | None:
    """The artifact; None if there is none, if it is damaged, or not sealed."""
    size = size_if_sealed(descriptor)
    artifact = os.pread(descriptor, size, _HEADER)
    digest = os.pread(descriptor, _HEADER - _SIZE, _SIZE)
    if not size or len(artifact) != size or hashlib.sha256(artifact).digest() != digest:
        return None
    return artifact
