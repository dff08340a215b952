"""System calls for which Python has no name, through the C library.

Sources: mount(2), finit_module(2), reboot(2), netdevice(7), Linux 6.12.
"""

import ctypes
import fcntl
import os
import socket
import struct
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_POWER_OFF: Final = 0x4321FEDC
_FINIT_MODULE: Final = 313
"""Number of the system call on x86_64 (arch/x86/entry/syscalls/syscall_64.tbl)."""
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_UP: Final = 0x1


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2).

    Raises:
        OSError: what the kernel says, with `target`.
    """
    arguments = (source.encode(), target.encode(), kind.encode())
    if _LIBC.mount(*arguments, ctypes.c_ulong(flags), data.encode()) != 0:
        raise _error(target)


def load_module(path: str) -> None:
    """finit_module(2), without parameters.

    Raises:
        OSError: what the kernel says, with `path`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _LIBC.syscall(_FINIT_MODULE, descriptor, b"", 0) != 0:
            raise _error(path)
    finally:
        os.close(descriptor)


def power_off() -> None:
    """reboot(2): off, now.

    Raises:
        OSError: not allowed.
    """
    os.sync()
    if _LIBC.reboot(_POWER_OFF - (1 << 32) if _POWER_OFF >> 31 else _POWER_OFF) != 0:
        raise _error("power")


def loopback_up() -> None:
    """The interface lo, which is down in a new kernel.

    Raises:
        OSError: what the kernel says.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _UP))


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
