"""Runtime registers of a TD predicted from what it is started with.

OVMF measures on TDX what it measures with a TPM, with SHA-384 and into other registers: PCR 1 and
7 are RTMR 0, 2 to 6 are RTMR 1, 8 and up are RTMR 2 (UEFI 2.10, section 38.4.1). So:

    RTMR 1   the kernel, what OVMF says before it starts it, the separator, and the two events by
             which it hands the machine over (TCG PC Client Platform Firmware Profile, 3.3.4.5)
    RTMR 2   the kernel's load options and its initrd, as PCR 9 (`pcrs`)
    RTMR 3   nothing

RTMR 0 depends on ACPI tables and the configuration volume, and is not predicted. One event of
these was seen in a boot log with a TPM; that TDX's registers follow is by EDK II's source
(OvmfPkg/Tcg/TdTcg2Dxe), and was compared with no TD.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from atoll.measure.kernel_handover import Launch, kernel_digests
from atoll.measure.pcrs import load_options

DIGEST_SIZE: Final = 48
ALGORITHM: Final = "sha384"
EVENTS: Final = (
    b"Calling EFI Application from Boot Option",
    bytes(4),
    b"Exit Boot Services Invocation",
    b"Exit Boot Services Returned with Success",
)
"""What follows the kernel in RTMR 1, the second being the separator."""


def replay(digests: Iterable[bytes]) -> bytes:
    """A register that starts with zeros, after it was extended with these SHA-384 digests."""
    value = bytes(DIGEST_SIZE)
    for digest in digests:
        value = hashlib.sha384(value + digest).digest()
    return value


def rtmr1s(kernel: bytes, launch: Launch) -> frozenset[bytes]:
    """RTMR 1 by each known way in which QEMU hands a kernel over.

    Raises:
        InputError: as `kernel_digests`.
    """
    after = [hashlib.sha384(event).digest() for event in EVENTS]
    found = kernel_digests(kernel, launch, ALGORITHM).values()
    return frozenset(replay([digest, *after]) for digest in found)


def rtmr2(cmdline: str, initrd: bytes) -> bytes:
    """RTMR 2 after a kernel was started with `-append` and `-initrd`.

    Raises:
        InputError: as `load_options`.
    """
    return replay(hashlib.sha384(part).digest() for part in (load_options(cmdline), initrd))
