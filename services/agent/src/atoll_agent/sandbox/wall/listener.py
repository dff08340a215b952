"""Listens on the loopback of a guest's network namespace, and hands the socket to the agent.

`python -I -m atoll_agent.sandbox.wall.listener PID USER`, a process of its own, for only one
without other threads may enter a user namespace (setns(2)). It has ended before the guest's first
instruction, so nothing of ours is inside the wall: the socket alone belongs there, and the agent
holds it. Standard output is the connection to the agent.

It enters as the owner of the namespace, the user that bwrap was started as, who has every right
in it (user_namespaces(7)); with no other right than that.
"""

import ctypes
import errno
import fcntl
import os
import socket
import sys
import time
from typing import Final

ADDRESS: Final = "127.0.0.1"
PORT: Final = 3128
QUEUE: Final = 16
WAIT_S: Final = 10.0
_PAUSE_S: Final = 0.002
_NS_GET_USERNS: Final = 0xB701
"""ioctl_ns(2): the user namespace that owns another one."""
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_IP_FREEBIND: Final = 15
"""ip(7): bwrap may not have brought the loopback up yet, and then it has no address."""
_STAY: Final = -1


def main(pid: int, user: int) -> None:
    """Raises: OSError: the guest is gone, or the kernel refuses."""
    if user != _STAY:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    network = _open(f"/proc/{pid}/ns/net")
    _enter(fcntl.ioctl(network, _NS_GET_USERNS), _CLONE_NEWUSER)
    _enter(network, _CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listening.bind((ADDRESS, PORT))
        listening.listen(QUEUE)
        with socket.socket(fileno=os.dup(1)) as agent:
            socket.send_fds(agent, [b"x"], [listening.fileno()])


def _open(path: str) -> int:
    """Open what the kernel hides while bwrap still has rights to give up."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE_S)


def _enter(namespace: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, kind) != 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, f"setns: {os.strerror(number)}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
