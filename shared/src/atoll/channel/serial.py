"""A virtio-serial port: one byte stream, for whoever has it open."""

import asyncio
import os
from pathlib import Path
from typing import Any, Final

from atoll.channel.ports import SYSFS, find_port
from atoll.channel.pumping import Ends
from atoll.errors import UnreachableError

DEVICES: Final = Path("/dev")
LIMIT: Final = 64 << 10


def find(name: str, *, sysfs: Path = SYSFS, devices: Path = DEVICES) -> Path:
    """The device of the port with this name.

    Raises:
        UnreachableError: `channel.no_port`.
    """
    device = find_port(name, sysfs)
    if device is not None:
        return devices / device
    raise UnreachableError(
        f"this machine has no virtio-serial port {name}",
        code="channel.no_port",
        hint="is the guest's kernel built with virtio_console, and does the domain have the port?",
    )


async def connect(device: Path) -> Ends:
    """The port's two directions. It can be open once at a time.

    Raises:
        UnreachableError: `channel.no_port`: it cannot be opened.
    """
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return await attach(os.open(device, flags))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no port"
        raise UnreachableError(f"{device}: {why}", code="channel.no_port") from error


async def attach(descriptor: int) -> Ends:
    """Both directions of a character device, which it takes over. Raises: OSError, ValueError."""
    loop = asyncio.get_running_loop()
    inward, outward = os.fdopen(descriptor, "rb", 0), os.fdopen(os.dup(descriptor), "wb", 0)
    try:
        reader = asyncio.StreamReader(LIMIT)
        incoming, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), inward
        )
        outgoing, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), outward
        )
    except BaseException:
        inward.close()
        outward.close()
        raise
    return reader, _PortWriter(incoming, outgoing, protocol, loop)


class _PortWriter(asyncio.StreamWriter):
    """Closes both directions."""

    def __init__(self, incoming: asyncio.BaseTransport, *rest: Any) -> None:
        transport, protocol, loop = rest
        super().__init__(transport, protocol, None, loop)
        self._incoming = incoming

    def close(self) -> None:
        self._incoming.close()
        super().close()
