"""/dev/tdx_guest, and the host's quote generation service, which makes quotes of TDREPORTs.

Offsets are those of include/uapi/linux/tdx-guest.h and qgs_msg_lib.h, not the agent's.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from atoll_agent.evidence.kernel import Memory
from support.kernel.machine import UserSpace, fault

GET_REPORT0: Final = 0xC4405401


def td_report(report_data: bytes) -> bytes:
    """A TDREPORT over this data; its MAC is nobody's."""
    found = bytearray(1024)
    found[0] = 0x81
    found[0x80:0xC0] = report_data
    return bytes(found)


@dataclass
class TdxGuest:
    """The device."""

    report: Callable[[bytes], bytes] = td_report
    failures: list[int] = field(default_factory=list)
    """errno of the next requests."""

    def ioctl(self, request: int, argument: Memory, user: UserSpace) -> None:
        if request != GET_REPORT0:
            raise fault(errno.ENOTTY)
        if self.failures:
            raise fault(self.failures.pop(0))
        asked = user.copy_from(argument.address, 64)
        user.copy_to(argument.address + 64, self.report(asked))


def response(quote: bytes, *, selected: bytes = b"", error: int = 0, **changes: int) -> bytes:
    """A response of the service; `changes` to major, minor, kind and size make it wrong."""
    sizes = len(selected).to_bytes(4, "little") + len(quote).to_bytes(4, "little")
    body = sizes + selected + quote
    fields = {"major": 1, "minor": 1, "kind": 1, "size": 16 + len(body)} | changes
    head = fields["major"].to_bytes(2, "little") + fields["minor"].to_bytes(2, "little")
    for value in (fields["kind"], fields["size"], error):
        head += value.to_bytes(4, "little")
    return head + body


def framed(message: bytes) -> bytes:
    """A message as it travels."""
    return len(message).to_bytes(4, "big") + message


@dataclass
class Service:
    """One connection to the service: answers what it was sent, in pieces."""

    answer: Callable[[bytes], bytes]
    """The framed response to a TDREPORT."""
    piece: int = 1 << 16
    """How much comes at a time."""
    passes: Callable[[], None] = lambda: None
    """Called for each piece: time goes by."""
    closed: bool = False
    timeouts: list[float] = field(default_factory=list)
    _out: bytes = b""

    def settimeout(self, value: float, /) -> None:
        self.timeouts.append(value)

    def sendall(self, data: bytes, /) -> None:
        size = int.from_bytes(data[:4], "big")
        message = data[4:]
        assert size == len(message) == 16 + 8 + 1024
        assert message[:4] == b"\x01\x00\x01\x00"
        assert int.from_bytes(message[4:8], "little") == 0
        assert int.from_bytes(message[8:12], "little") == size
        assert message[16:24] == (1024).to_bytes(4, "little") + bytes(4)
        self._out = self.answer(message[24:])

    def recv(self, size: int, /) -> bytes:
        self.passes()
        size = min(size, self.piece)
        found, self._out = self._out[:size], self._out[size:]
        return found

    def close(self) -> None:
        self.closed = True
