"""Where a guest with a network finds its proxy: on the loopback of its own network namespace.

The namespace is the same empty one as without a network. All that is different is one listening
socket in it, which is made from outside (`listener`) and served by the agent, and Internet sockets
in the system call filter (`filter`).
"""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from types import MappingProxyType
from typing import Final

from atoll.errors import ConfigError
from atoll_agent.sandbox.guest import Egress
from atoll_agent.sandbox.wall.bubblewrap import UNAVAILABLE
from atoll_agent.sandbox.wall.descriptors import readable
from atoll_agent.sandbox.wall.listener import ADDRESS, PORT

MODULE: Final = "atoll_agent.sandbox.wall.listener"
LISTEN_S: Final = 20.0

_PROXY: Final = f"http://{ADDRESS}:{PORT}"
_NAMES: Final = ("https_proxy", "http_proxy", "all_proxy")
ENVIRONMENT: Final = MappingProxyType(
    {name: _PROXY for small in _NAMES for name in (small, small.upper())}
)
"""What HTTP clients look for, some in one case and some in the other."""


@contextlib.asynccontextmanager
async def served(egress: Egress, pid: int, *, user: int | None) -> AsyncIterator[None]:
    """Serve the way out of a guest as long as the context lasts; nothing of it is left then.

    Args:
        egress: who serves it.
        pid: the first process behind the wall.
        user: whom bwrap was started as; None: as ourselves.

    Raises:
        ConfigError: `sandbox.unavailable`.
    """
    try:
        listening = await listen(pid, user=user)
    except OSError as error:
        raise ConfigError(
            f"a guest cannot be given its way out: {error}", code=UNAVAILABLE
        ) from error
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(egress.serve(listening))
        try:
            yield
        finally:
            serving.cancel()


async def listen(pid: int, *, user: int | None) -> socket.socket:
    """A socket that listens in the network namespace of a process behind the wall.

    Args:
        pid: the first process there.
        user: whom bwrap was started as; None: as ourselves.

    Raises:
        OSError: the process is gone, or the kernel refuses.
    """
    mine, theirs = socket.socketpair()
    with mine:
        with theirs:
            process = _start(pid, user, theirs.fileno())
        try:
            there = await readable(mine.fileno(), LISTEN_S)
            descriptors = socket.recv_fds(mine, 1, 1)[1] if there else []
        finally:
            process.kill()
            process.wait()
    if not descriptors:
        raise ConnectionError("nothing can listen inside the wall")
    os.set_inheritable(descriptors[0], False)  # noqa: FBT003 - the standard library's
    return socket.socket(fileno=descriptors[0])


def _start(pid: int, user: int | None, told: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-I", "-m", MODULE, str(pid), str(-1 if user is None else user)],
        stdin=subprocess.DEVNULL,
        stdout=told,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
    )
