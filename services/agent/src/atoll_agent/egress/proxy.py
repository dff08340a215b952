"""Serves the connections of one workload, each to a destination of the manifest.

The socket it is given listens in the workload's own network namespace (`sandbox.wall.loopback`),
so nobody else can be on the other side. Nothing is logged, counted or told of what passes. All
connections end with the step.
"""

import asyncio
import socket
from functools import partial
from typing import Final

from atoll.channel import pumping
from atoll.channel.pumping import PIECE, Ends
from atoll.egress.outward import IDLE_S
from atoll.errors import AtollError, InputError
from atoll_agent.egress import request
from atoll_agent.egress.pace import AT_ONCE, pace
from atoll_agent.egress.request import ESTABLISHED, MALFORMED
from atoll_agent.egress.way import Way

HEAD_S: Final = 10.0
"""How long a request may take to come."""
LINGER_S: Final = 1.0
"""How long a refused client may go on sending, so that it surely reads why."""


class Proxy:
    """One job's, for one step after the other.

    Args:
        places: the destinations, `host:port` as the manifest has them.
        way: how they are reached.
    """

    def __init__(self, places: tuple[str, ...], way: Way) -> None:
        self._places = frozenset(places)
        self._way = way
        self._pace = pace(asyncio.get_running_loop().time())

    async def serve(self, listening: socket.socket) -> None:
        """Until cancelled; takes over the socket, which listens."""
        loop = asyncio.get_running_loop()
        free = asyncio.Semaphore(AT_ONCE)
        listening.setblocking(False)  # noqa: FBT003 - the standard library's
        with listening:
            async with asyncio.TaskGroup() as group:
                while True:
                    # Before it is accepted: what is too much waits in the kernel's queue.
                    await free.acquire()
                    sock, _ = await loop.sock_accept(listening)
                    task = group.create_task(self._serve_one(sock))
                    # Also of one that was cancelled before it began.
                    task.add_done_callback(partial(_over, sock, free))
                    await asyncio.sleep(self._pace.take(loop.time()))

    async def _serve_one(self, sock: socket.socket) -> None:
        client = await asyncio.open_connection(sock=sock, limit=PIECE)
        try:
            try:
                far = await self._connected(client[0])
            except AtollError as error:
                await _refuse(client, error)
                return
            client[1].write(ESTABLISHED)
            await pumping.join(client, far, idle_s=IDLE_S)
        except OSError:
            return  # the client is gone
        finally:
            pumping.tear(client[1])

    async def _connected(self, reader: asyncio.StreamReader) -> Ends:
        """Raises: AtollError, with the code to answer."""
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(request.END)
        except (TimeoutError, asyncio.LimitOverrunError, asyncio.IncompleteReadError) as error:
            raise InputError("no request came", code=MALFORMED) from error
        target = request.parse_request(head)
        request.require_listed(target, self._places)
        return await self._way.open(target.host, target.port)


async def _refuse(client: Ends, error: AtollError) -> None:
    reader, writer = client
    writer.write(request.refusal(error))
    pumping.end(writer)
    try:
        async with asyncio.timeout(LINGER_S):
            # Closed with something unread, a socket is reset and takes the answer along.
            while await reader.read(PIECE):
                pass
    except TimeoutError:
        return


def _over(sock: socket.socket, free: asyncio.Semaphore, _: "asyncio.Task[None]") -> None:
    sock.close()
    free.release()
