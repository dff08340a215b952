"""The frames of a channel that has one byte stream for all, such as a serial port. Pure.

    0x00  1  type
    0x01  1  zero
    0x02  2  size of the payload, big-endian
    0x04  4  stream, big-endian; 0: the session

    type        payload
    1 hello     "atoll.channel 1"; first on both sides, of stream 0, once
    2 open      the service's name; by the guest, streams counted up from 1
    3 data      1 to 16,384 bytes, for which there must be credit
    4 credit    4 bytes, big-endian: so many more bytes of data may come
    5 end       nothing; no more data comes from this side
    6 close     nothing; nothing more comes from this side. Without an end before it: torn off

A stream begins with `WINDOW` bytes of credit on each side. It is gone when both have sent close;
whoever gets one that has not sent it answers with it. So no frame of a stream comes after it is
forgotten, and a number is never given twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from atoll.errors import MessageError

HEADER: Final = 8
MAX_DATA: Final = 16 << 10
WINDOW: Final = 256 << 10
"""Bytes of one stream that may be under way in one direction."""
MAX_STREAM: Final = (1 << 32) - 1
HELLO: Final = b"atoll.channel 1"
_SERVICE: Final = re.compile(r"[a-z][a-z0-9.-]{0,31}")


class Type(IntEnum):
    HELLO = 1
    OPEN = 2
    DATA = 3
    CREDIT = 4
    END = 5
    CLOSE = 6


_SIZES: Final = {
    Type.HELLO: (len(HELLO), len(HELLO)),
    Type.OPEN: (1, 32),
    Type.DATA: (1, MAX_DATA),
    Type.CREDIT: (4, 4),
    Type.END: (0, 0),
    Type.CLOSE: (0, 0),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame whose payload is what its type says."""

    type: Type
    stream: int
    payload: bytes = b""

    @property
    def service(self) -> str:
        """The name in a frame of type open."""
        return self.payload.decode("ascii")

    @property
    def credit(self) -> int:
        """The bytes in a frame of type credit."""
        return int.from_bytes(self.payload, "big")

    def to_bytes(self) -> bytes:
        """As it travels."""
        size = len(self.payload).to_bytes(2, "big")
        return bytes((self.type, 0)) + size + self.stream.to_bytes(4, "big") + self.payload


def hello() -> Frame:
    return Frame(Type.HELLO, 0, HELLO)


def opening(stream: int, service: str) -> Frame:
    """Raises: MessageError `channel.service`."""
    return Frame(Type.OPEN, stream, require_service(service).encode("ascii"))


def credit(stream: int, size: int) -> Frame:
    return Frame(Type.CREDIT, stream, size.to_bytes(4, "big"))


def require_service(name: str) -> str:
    """The name, if one can be: a letter, then letters, digits, dots and dashes, 32 in all.

    Raises:
        MessageError: `channel.service`.
    """
    if not _SERVICE.fullmatch(name):
        raise MessageError(f"{name[:40]!r} is no name of a service", code="channel.service")
    return name


class Reader:
    """Cuts what comes into frames, however it is cut when it comes."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, raw: bytes) -> Iterator[Frame]:
        """The frames that are complete with `raw`. Less than one frame is kept.

        Raises:
            MessageError: `channel.frame`: no such frame; nothing after it means anything.
        """
        self._held += raw
        at = 0
        try:
            while len(self._held) - at >= HEADER:
                header = bytes(self._held[at : at + HEADER])
                type_, size, stream = _header(header)
                end = at + HEADER + size
                if len(self._held) < end:
                    return
                payload = bytes(self._held[at + HEADER : end])
                at = end
                yield _checked(type_, stream, payload)
        finally:
            del self._held[:at]


def _header(raw: bytes) -> tuple[Type, int, int]:
    """Type, size and stream, each within what there can be."""
    try:
        type_ = Type(raw[0])
    except ValueError as error:
        raise _invalid(f"type {raw[0]}") from error
    size, stream = int.from_bytes(raw[2:4], "big"), int.from_bytes(raw[4:8], "big")
    least, most = _SIZES[type_]
    if raw[1] != 0:
        raise _invalid(f"reserved byte is {raw[1]}")
    if not least <= size <= most:
        raise _invalid(f"{type_.name.lower()} of {size} bytes, want {least} to {most}")
    if (stream == 0) != (type_ is Type.HELLO):
        raise _invalid(f"{type_.name.lower()} of stream {stream}")
    return type_, size, stream


def _checked(type_: Type, stream: int, payload: bytes) -> Frame:
    frame = Frame(type_, stream, payload)
    if type_ is Type.HELLO and payload != HELLO:
        raise _invalid("another protocol")
    if type_ is Type.OPEN:
        require_service(payload.decode("latin-1"))
    if type_ is Type.CREDIT and not 1 <= frame.credit <= WINDOW:
        raise _invalid(f"credit of {frame.credit} bytes, want 1 to {WINDOW}")
    return frame


def _invalid(reason: str) -> MessageError:
    return MessageError(f"frame of a channel: {reason}", code="channel.frame")
