"""/dev/sev-guest as drivers/virt/coco/sev-guest/sev-guest.c has it, and the host behind it.

The structures are read here by offsets of include/uapi/linux/sev-guest.h, not by the agent's.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from atoll_agent.evidence.kernel import Memory
from support.kernel.machine import UserSpace, fault

GET_REPORT: Final = 0xC0205300
GET_EXT_REPORT: Final = 0xC0205302
PAGE: Final = 4096
BLOB_MAX: Final = 0x4000
INVALID_LEN: Final = 1
BUSY: Final = 2


@dataclass
class SevGuest:
    """The device; what the host does is in its fields."""

    report: Callable[[bytes, int], bytes]
    """Of user data and VMPL."""
    table: bytes = b""
    """The host's certificates."""
    status: int = 0
    """Of the firmware, in its response."""
    throttled: int = 0
    """How many of the next requests the host throttles."""
    failures: list[tuple[int, int, int]] = field(default_factory=list)
    """errno, firmware's and host's error of the next requests."""
    pages: Callable[[int], int] | None = None
    """How many pages the host says that its table needs, by how many it was given."""
    spoil: Callable[[bytes], bytes] = bytes
    """What is done to the firmware's response on the way."""
    disabled: bool = False
    requests: list[int] = field(default_factory=list)

    def ioctl(self, request: int, argument: Memory, user: UserSpace) -> None:
        raw = bytearray(argument.to_bytes())
        if len(raw) != 0x20:
            raise fault(errno.EFAULT)
        self.requests.append(request)
        if not raw[0]:
            raise fault(errno.EINVAL)
        if request not in {GET_REPORT, GET_EXT_REPORT} or self.disabled:
            raise fault(errno.ENOTTY)
        ask = int.from_bytes(raw[8:16], "little")
        answer = int.from_bytes(raw[16:24], "little")
        try:
            fw_error, vmm_error, number = self._request(request, ask, answer, user)
        except OSError:
            argument.content[0x18] = 0xFF  # as the driver leaves it where nothing was asked
            raise
        raw[0x18:0x20] = fw_error.to_bytes(4, "little") + vmm_error.to_bytes(4, "little")
        for index, byte in enumerate(raw):
            argument.content[index] = byte
        if number:
            raise fault(number)

    def _request(
        self, request: int, ask: int, answer: int, user: UserSpace
    ) -> tuple[int, int, int]:
        """Firmware's and host's error, and the errno."""
        data = user.copy_from(ask, 0x60)
        if any(data[0x44:]):
            return 0x16, 0, errno.EIO
        if self.throttled:
            self.throttled -= 1
            return 0, BUSY, errno.EAGAIN
        if self.failures:
            number, fw_error, vmm_error = self.failures.pop(0)
            # Where the sequence number would be used again, the driver gives up its key.
            self.disabled = number not in {errno.EINTR, errno.EAGAIN, errno.EBUSY}
            return fw_error, vmm_error, number
        room = address = 0
        if request == GET_EXT_REPORT:
            extended = user.copy_from(ask, 0x70)
            address = int.from_bytes(extended[0x60:0x68], "little")
            room = int.from_bytes(extended[0x68:0x6C], "little") if address else 0
            if room > BLOB_MAX or room % PAGE:
                raise fault(errno.EINVAL)
            needed = -(-len(self.table) // PAGE)
            if self.pages is not None:
                needed = self.pages(room // PAGE)
            if needed > room // PAGE:
                told = (needed * PAGE % (1 << 32)).to_bytes(4, "little")
                user.copy_to(ask, extended[:0x68] + told + extended[0x6C:])
                return 0, INVALID_LEN, errno.EIO
        report = self.report(data[:0x40], int.from_bytes(data[0x40:0x44], "little"))
        head = self.status.to_bytes(4, "little") + len(report).to_bytes(4, "little")
        user.copy_to(answer, self.spoil((head + bytes(24) + report).ljust(4000, b"\0")))
        if room:
            user.copy_to(address, self.table.ljust(room, b"\0")[:room])
        return 0, 0, 0
