"""What QEMU makes of a kernel before OVMF measures it: digests that PCR 4's log may have.

QEMU fills the setup header as a boot loader would (`x86_load_linux` in hw/i386; boot
protocol: Documentation/arch/x86/boot.rst of Linux): type of loader,
the heap's flag and end, and the addresses of command line and initrd. The last depends on memory
and initrd, so a digest is of one size of machine.

Newer QEMU also hands over the file as it is (fw_cfg file `etc/boot/kernel`), and firmware that
knows of it measures that. A guest that is encrypted never gets a changed header. `PATCHED` was
compared with a boot on QEMU 7.2 of Debian 12, `UNTOUCHED` only with QEMU's source.
"""

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final

from atoll.errors import InputError
from atoll.measure.authenticode import authenticode

LOADER: Final = 0xB0
"""QEMU, revision 0."""

_MAGIC_AT: Final = 0x202
_MAGIC: Final = b"HdrS"
_OLDEST: Final = 0x20C
"""The protocol since which there are the flags at 0x236."""
_CAN_BE_ABOVE_4G: Final = 0x02
_LOADED_HIGH: Final = 0x01
_CAN_USE_HEAP: Final = 0x80
_HEADER_END: Final = 0x264
_REAL_ADDRESS: Final = 0x10000
_CMDLINE_ADDRESS: Final = 0x20000
_ACPI_SIZE: Final = 0x28000
"""What QEMU's PC machines keep free for ACPI tables below the end of memory."""
_PAGE: Final = 4096
_4G: Final = 1 << 32


class Machine(Enum):
    """QEMU's machine types, which differ in how much memory there is below 4 GiB."""

    Q35 = "q35"
    I440FX = "pc"


class Handover(Enum):
    """How the firmware gets the kernel."""

    PATCHED = "patched"
    """With a filled setup header."""
    UNTOUCHED = "untouched"
    """As the file is: `etc/boot/kernel`, and guests that are encrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How much machine a kernel is started on."""

    memory_bytes: int
    initrd_size: int
    machine: Machine = Machine.Q35


def kernel_digests(
    kernel: bytes, launch: Launch, algorithm: str = "sha256"
) -> dict[Handover, bytes]:
    """Authenticode digest of a kernel by each known behaviour of QEMU.

    A policy may accept all of them: all are of the same code.

    Raises:
        InputError: `measure.kernel`: no bzImage with an EFI stub, or one of an old protocol;
            `measure.memory`: the initrd does not fit.
    """
    return {
        Handover.PATCHED: authenticode(patched(kernel, launch), algorithm),
        Handover.UNTOUCHED: authenticode(kernel, algorithm),
    }


def patched(kernel: bytes, launch: Launch) -> bytes:
    """The kernel with the setup header that QEMU makes.

    Raises: InputError: as `kernel_digests` does.
    """
    if len(kernel) < _HEADER_END or kernel[_MAGIC_AT : _MAGIC_AT + 4] != _MAGIC:
        raise InputError("kernel image has no setup header", code="measure.kernel")
    (protocol,) = struct.unpack_from("<H", kernel, 0x206)
    if protocol < _OLDEST or not kernel[0x211] & _LOADED_HIGH:
        raise InputError(
            f"kernel image has the boot protocol 0x{protocol:x}, want 0x{_OLDEST:x} or later",
            code="measure.kernel",
        )
    image = bytearray(kernel)
    image[0x210] = LOADER
    image[0x211] |= _CAN_USE_HEAP
    struct.pack_into("<H", image, 0x224, _CMDLINE_ADDRESS - _REAL_ADDRESS - 0x200)
    struct.pack_into("<I", image, 0x228, _CMDLINE_ADDRESS)
    if launch.initrd_size:
        address = _initrd_address(kernel, launch)
        struct.pack_into("<II", image, 0x218, address, launch.initrd_size)
    return bytes(image)


def _initrd_address(kernel: bytes, launch: Launch) -> int:
    flags, (limit,) = kernel[0x236], struct.unpack_from("<I", kernel, 0x22C)
    highest = _4G - 1 if flags & _CAN_BE_ABOVE_4G else limit
    highest = min(highest, _below_4g(launch) - _ACPI_SIZE - 1)
    if launch.initrd_size >= highest:
        raise InputError(
            f"an initrd of {launch.initrd_size} bytes does not fit into a machine of "
            f"{launch.memory_bytes}",
            code="measure.memory",
        )
    return (highest - launch.initrd_size) & ~(_PAGE - 1)


def _below_4g(launch: Launch) -> int:
    """Memory below 4 GiB (QEMU, `pc_q35_init` and `pc_init1`): all, or up to a whole GiB."""
    low, split = {
        Machine.Q35: (0xB0000000, 0x80000000),
        Machine.I440FX: (0xE0000000, 0xC0000000),
    }[launch.machine]
    return split if launch.memory_bytes >= low else launch.memory_bytes
