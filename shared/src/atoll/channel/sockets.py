"""Sockets that a channel goes over, where they differ from the usual ones.

A vsock device that is served by a program (vhost-user) was seen to stall when a guest of a kernel
from 6.12 on sends more than 32 KiB at once, so no more is handed over in one call.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

from atoll.channel.pumping import Ends

HOST_CID: Final = 2
"""vsock(7), VMADDR_CID_HOST."""
MAX_SEND: Final = 32 << 10

MakeSocket = Callable[[], socket.socket]


class PiecewiseSocket(socket.socket):
    """A stream socket that takes at most `MAX_SEND` bytes in one call."""

    def send(self, data: Any, flags: int = 0, /) -> int:
        return super().send(memoryview(data).cast("B")[:MAX_SEND], flags)

    def sendmsg(self, buffers: Any, *rest: Any) -> int:
        pieces, left = [], MAX_SEND
        for buffer in buffers:
            piece = memoryview(buffer).cast("B")[:left]
            pieces.append(piece)
            left -= len(piece)
            if left == 0:
                break
        return super().sendmsg(pieces, *rest)


def vsock() -> socket.socket:
    """Raises: OSError: this kernel has no vsock."""
    return PiecewiseSocket(socket.AF_VSOCK, socket.SOCK_STREAM)


async def connect_vsock(port: int, *, make: MakeSocket = vsock) -> Ends:
    """A connection to the host. Raises: OSError."""
    sock = make()
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's
        await asyncio.get_running_loop().sock_connect(sock, (HOST_CID, port))
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


def listen_vsock(port: int, *, make: MakeSocket = vsock) -> socket.socket:
    """Where guests connect to, any of them: `Relay.serve` looks at who comes. Raises: OSError."""
    sock = make()
    try:
        sock.bind((socket.VMADDR_CID_ANY, port))
        sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock
