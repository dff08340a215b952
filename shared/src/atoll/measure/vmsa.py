"""The initial state of a vCPU: its VMSA page, which is measured as it is.

Layout: AMD 24593 (APM volume 2), table B-4. Everything that is not listed is zero.
Values: KVM and QEMU's reset state, and what EC2 and GCE were seen to do differently.

| off | size | field        | value                                              |
| 000 | 16   | ES           | segment: selector u16, attributes u16, limit u32,  |
| 010 | 16   | CS           | base u64                                           |
| 020 | 16   | SS           |                                                    |
| 030 | 16   | DS, 040 FS, 050 GS, 060 GDTR, 070 LDTR, 080 IDTR, 090 TR          |
| 0D0 | 8    | EFER         | 1000 (SVME)                                        |
| 148 | 8    | CR4          | 40 (MCE)                                           |
| 158 | 8    | CR0          | 10                                                 |
| 160 | 8    | DR7          | 400                                                |
| 168 | 8    | DR6          | FFFF0FF0                                           |
| 170 | 8    | RFLAGS       | 2                                                  |
| 178 | 8    | RIP          | low 16 bits of the start; CS base has the others   |
| 268 | 8    | G_PAT        | differs                                            |
| 310 | 8    | RDX          | differs                                            |
| 3B0 | 8    | SEV_FEATURES | an input                                           |
| 3E8 | 8    | XCR0         | 1                                                  |
| 408 | 4    | MXCSR        | differs                                            |
| 410 | 2    | x87 FCW      | differs                                            |
"""

from enum import Enum
from typing import Final

from atoll.measure.snp import PAGE_SIZE

BSP_EIP: Final = 0xFFFF_FFF0
"""Where the first processor starts."""

_PAT: Final = 0x0007_0406_0007_0406
_PAT_GCE: Final = 0x0007_0106
_RDX_CLOUD: Final = 0x600
_DATA: Final = 0x93
_CODE: Final = 0x9B
_LDT: Final = 0x82
_TSS_BUSY_32: Final = 0x8B


class Vmm(Enum):
    """Hypervisors, which start a vCPU a little differently."""

    QEMU = "qemu"
    EC2 = "ec2"
    GCE = "gce"


def vmsa_page(*, eip: int, vmm: Vmm, vcpu_signature: int, guest_features: int) -> bytes:
    """The page of one vCPU.

    Args:
        eip: where it starts.
        vcpu_signature: counts on QEMU only; the clouds put a constant into RDX.
        guest_features: SEV_FEATURES, with bit 0 (SNP active) and what else the host sets.
    """
    qemu, ec2 = vmm is Vmm.QEMU, vmm is Vmm.EC2
    code = _CODE - 1 if ec2 and eip == BSP_EIP else _CODE
    page = bytearray(PAGE_SIZE)
    for at, selector, attributes, base in (
        (0x000, 0, _DATA, 0),
        (0x010, 0xF000, code, eip & 0xFFFF_0000),
        (0x020, 0, _DATA - 1 if ec2 else _DATA, 0),
        (0x030, 0, _DATA, 0),
        (0x040, 0, _DATA, 0),
        (0x050, 0, _DATA, 0),
        (0x060, 0, 0, 0),
        (0x070, 0, _LDT, 0),
        (0x080, 0, 0, 0),
        (0x090, 0, _LDT + 1 if ec2 else _TSS_BUSY_32, 0),
    ):
        for offset, size, value in ((0, 2, selector), (2, 2, attributes), (4, 4, 0xFFFF)):
            _put(page, at + offset, size, value)
        _put(page, at + 8, 8, base)
    for at, size, value in (
        (0x0D0, 8, 0x1000),
        (0x148, 8, 0x40),
        (0x158, 8, 0x10),
        (0x160, 8, 0x400),
        (0x168, 8, 0xFFFF_0FF0),
        (0x170, 8, 0x2),
        (0x178, 8, eip & 0xFFFF),
        (0x268, 8, _PAT_GCE if vmm is Vmm.GCE else _PAT),
        (0x310, 8, vcpu_signature if qemu else _RDX_CLOUD),
        (0x3B0, 8, guest_features),
        (0x3E8, 8, 0x1),
        (0x408, 4, 0x1F80 if qemu else 0),
        (0x410, 2, 0x37F if qemu else 0),
    ):
        _put(page, at, size, value)
    return bytes(page)


def _put(page: bytearray, at: int, size: int, value: int) -> None:
    page[at : at + size] = value.to_bytes(size, "little")
