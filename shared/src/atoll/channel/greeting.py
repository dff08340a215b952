"""The first line of a stream that has a connection of its own: the service that it wants. Pure.

    atoll.channel 1 NAME\\n

Nothing is answered: what comes back is the service's, or the end where there is none.
"""

from typing import Final

from atoll.channel.frames import HELLO, require_service
from atoll.errors import MessageError

MAX_LINE: Final = 64


def encode(service: str) -> bytes:
    """Raises: MessageError `channel.service`."""
    return HELLO + b" " + require_service(service).encode("ascii") + b"\n"


def decode(line: bytes) -> str:
    """The service in a line with its end.

    Raises:
        MessageError: `channel.greeting`, `channel.service`.
    """
    head, _, name = line.rpartition(b" ")
    if head != HELLO or not name.endswith(b"\n") or len(line) > MAX_LINE:
        raise MessageError("a stream does not say what it wants", code="channel.greeting")
    return require_service(name[:-1].decode("latin-1"))
