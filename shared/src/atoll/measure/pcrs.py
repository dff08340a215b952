"""Registers of a TPM predicted from what a machine is started with.

PCR 9 is Linux's EFI stub's (drivers/firmware/efi/libstub/efi-stub-helper.c, since 6.1 both): it
extends the load options as it got them, UTF-16LE with the NUL that ends them, and then the
initrd. The load options are OVMF's: the command line that QEMU was given, and if there is an
initrd a space and `initrd=initrd` (OvmfPkg, QemuLoadKernelImage).

PCR 0 depends on the firmware as it is unpacked in memory and is not predicted: it is learnt from
a boot, pinned, or left unchecked.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from atoll.errors import InputError

DIGEST_SIZE: Final = 32
MAX_CMDLINE: Final = 2048
"""Characters that the kernel takes on x86 (COMMAND_LINE_SIZE)."""

_INITRD_OPTION: Final = " initrd=initrd"


def replay(digests: Iterable[bytes]) -> bytes:
    """A SHA-256 register that starts with zeros, after it was extended with these."""
    value = bytes(DIGEST_SIZE)
    for digest in digests:
        value = hashlib.sha256(value + digest).digest()
    return value


def pcr9(cmdline: str, initrd: bytes) -> bytes:
    """PCR 9 after OVMF started a kernel that QEMU was given with `-kernel` and `-initrd`.

    Args:
        cmdline: the argument of `-append`, without a line's end.
        initrd: the file of `-initrd`.

    Raises:
        InputError: as `load_options`.
    """
    return replay(hashlib.sha256(part).digest() for part in (load_options(cmdline), initrd))


def load_options(cmdline: str) -> bytes:
    """What OVMF gives the kernel with an initrd as its command line, and the kernel measures.

    Raises:
        InputError: `measure.append`: over `MAX_CMDLINE`, not ASCII or with a NUL inside.
    """
    if len(cmdline) > MAX_CMDLINE or not cmdline.isascii() or "\0" in cmdline:
        raise InputError(
            f"command line of {len(cmdline)} characters is over {MAX_CMDLINE}, not ASCII or has "
            "a NUL",
            code="measure.append",
        )
    return (cmdline + _INITRD_OPTION + "\0").encode("utf-16-le")
