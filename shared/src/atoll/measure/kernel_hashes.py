"""The table of hashes by which measured firmware accepts a kernel (QEMU, target/i386/sev.c).

168 bytes: GUID, u16 length of the table, then for the command line, the initial RAM
disk and the kernel, in this order: GUID, u16 length 50, SHA-256. Padded to 176.
The table stands in an otherwise zero page, at the offset in the page that the
firmware names.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from atoll.errors import InputError
from atoll.measure.snp import PAGE_SIZE

_TABLE: Final = UUID("9438d606-4f22-4cc9-b479-a793d411fd21").bytes_le
_CMDLINE: Final = UUID("97d02dd8-bd20-4c94-aa78-e7714d36ab2a").bytes_le
_INITRD: Final = UUID("44baf731-3a2f-4bd7-9af1-41e29169781d").bytes_le
_KERNEL: Final = UUID("4de79437-abd2-427f-b835-d5b172d2045b").bytes_le

_TABLE_SIZE: Final = 168
_ENTRY_SIZE: Final = 50
_PADDED_SIZE: Final = 176
_MAX_APPEND: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelHashes:
    """SHA-256 of each part of a direct kernel boot."""

    kernel: bytes
    initrd: bytes
    cmdline: bytes

    @classmethod
    def of(cls, kernel: bytes, *, initrd: bytes = b"", append: str = "") -> Self:
        """Hash them. The command line counts with the NUL that ends it in memory.

        Raises:
            InputError: `measure.append`: over 64 KiB, not UTF-8, or with a NUL inside.
        """
        try:
            cmdline = append.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError("command line is not UTF-8", code="measure.append") from error
        if len(cmdline) > _MAX_APPEND or b"\0" in cmdline:
            raise InputError(
                f"command line of {len(cmdline)} bytes is over {_MAX_APPEND} or has a NUL",
                code="measure.append",
            )
        parts = (kernel, initrd, cmdline + b"\0")
        kernel, initrd, cmdline = (hashlib.sha256(part).digest() for part in parts)
        return cls(kernel=kernel, initrd=initrd, cmdline=cmdline)

    def to_page(self, offset: int) -> bytes:
        """The page with the table at `offset`.

        Raises:
            InputError: `measure.firmware`: the table would cross the page's end.
        """
        if not 0 <= offset <= PAGE_SIZE - _PADDED_SIZE:
            raise InputError(
                f"firmware image wants the kernel hashes at 0x{offset:x} of their page",
                code="measure.firmware",
            )
        table = _TABLE + _TABLE_SIZE.to_bytes(2, "little")
        for guid, digest in (
            (_CMDLINE, self.cmdline),
            (_INITRD, self.initrd),
            (_KERNEL, self.kernel),
        ):
            table += guid + _ENTRY_SIZE.to_bytes(2, "little") + digest
        return (bytes(offset) + table).ljust(PAGE_SIZE, b"\0")
