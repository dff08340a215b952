"""The MEASUREMENT that a guest will have, from its firmware, kernel and processors.

Source: AMD 56860, section 8.17, for how pages are measured (see `measure.snp`); QEMU,
target/i386/sev.c, for which pages there are. The order:

1. The firmware, from where it is mapped to 4 GiB. Its digest can be given instead.
2. The firmware's sections in the order of its table: SEC_MEM and SVSM_CAA as zero
   pages (SEC_MEM unmeasured on GCE), SECRETS, CPUID, KERNEL_HASHES as a page with the
   hashes if there is a kernel and else as a zero page. EC2 has CPUID after the others.
3. One VMSA page for each vCPU, the first processor first, all at one address.

Not computed: guests with an SVSM, whose own image is measured too; SEV and SEV-ES.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from atoll.errors import InputError
from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import Firmware, Section, SectionType
from atoll.measure.snp import DIGEST_SIZE, INITIAL, PAGE_SIZE, PageType, extend
from atoll.measure.vmsa import BSP_EIP, Vmm, vmsa_page

MAX_VCPUS: Final = 4096
VMSA_GPA: Final = 0xFFFF_FFFF_F000
SNP_ACTIVE: Final = 1
"""Bit 0 of SEV_FEATURES; every SEV-SNP guest has it."""

_KINDS: Final = {
    SectionType.SEC_MEM: PageType.ZERO,
    SectionType.SVSM_CAA: PageType.ZERO,
    SectionType.SECRETS: PageType.SECRETS,
    SectionType.CPUID: PageType.CPUID,
    SectionType.KERNEL_HASHES: PageType.ZERO,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Processors:
    """How many vCPUs a guest has, and what each starts with."""

    count: int
    signature: int
    """CPUID signature of the vCPU type; see `vcpu_types`. Counts on QEMU only."""
    guest_features: int = SNP_ACTIVE
    """SEV_FEATURES: 1, or 0x21 with debug swap, as the host's kernel sets it."""

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("number of vCPUs", self.count, 1, MAX_VCPUS),
            ("CPUID signature", self.signature, 0, (1 << 32) - 1),
            ("guest features", self.guest_features, 0, (1 << 64) - 1),
        ):
            if not low <= value <= high:
                raise InputError(
                    f"{name} is {value}, want {low} to {high}", code="measure.processors"
                )


def launch_digest(
    firmware: Firmware,
    processors: Processors,
    *,
    vmm: Vmm = Vmm.QEMU,
    kernel: KernelHashes | None = None,
    firmware_digest: bytes | None = None,
) -> bytes:
    """The 48-byte launch digest.

    Args:
        firmware: its table decides which pages there are, also with `firmware_digest`.
        kernel: for a direct kernel boot with measured hashes; without one, initial RAM
            disk and command line are not measured by the processor.
        firmware_digest: `firmware_only_digest` of the whole image, where `firmware` is
            only its end.

    Raises:
        InputError: `measure.*`: the firmware does not take a kernel, or does not say
            where other processors than the first start.
    """
    if firmware_digest is None:
        digest = firmware_only_digest(firmware)
    elif len(firmware_digest) == DIGEST_SIZE:
        digest = firmware_digest
    else:
        raise InputError(
            f"firmware digest is {len(firmware_digest)} bytes, want {DIGEST_SIZE}",
            code="measure.firmware_digest",
        )
    for kind, gpa, page in _section_pages(firmware, vmm, kernel):
        digest = extend(digest, kind, gpa, page)
    for page in _vmsa_pages(firmware, processors, vmm):
        digest = extend(digest, PageType.VMSA, VMSA_GPA, page)
    return digest


def firmware_only_digest(firmware: Firmware) -> bytes:
    """The launch digest after the firmware's pages."""
    digest = INITIAL
    for at in range(0, len(firmware.image), PAGE_SIZE):
        page = firmware.image[at : at + PAGE_SIZE]
        digest = extend(digest, PageType.NORMAL, firmware.gpa + at, page)
    return digest


def _section_pages(
    firmware: Firmware, vmm: Vmm, kernel: KernelHashes | None
) -> Iterator[tuple[PageType, int, bytes | None]]:
    sections = list(firmware.sections)
    if vmm is Vmm.EC2:
        sections.sort(key=lambda item: item.kind is SectionType.CPUID)  # stable
    table = None
    if kernel is not None:
        table = _kernel_page(firmware, kernel)
    for section in sections:
        if section.kind is SectionType.KERNEL_HASHES and table is not None:
            yield PageType.NORMAL, section.gpa, table
            continue
        kind = _KINDS[section.kind]
        if vmm is Vmm.GCE and section.kind is SectionType.SEC_MEM:
            kind = PageType.UNMEASURED
        for at in range(0, _measured_size(section), PAGE_SIZE):
            yield kind, section.gpa + at, None


def _measured_size(section: Section) -> int:
    # Firmware has one page each of secrets and CPUID, whatever size it states.
    single = section.kind in (SectionType.SECRETS, SectionType.CPUID)
    return PAGE_SIZE if single else section.size


def _kernel_page(firmware: Firmware, kernel: KernelHashes) -> bytes:
    places = [item for item in firmware.sections if item.kind is SectionType.KERNEL_HASHES]
    if firmware.hashes_gpa is None or len(places) != 1 or places[0].size != PAGE_SIZE:
        raise InputError(
            "firmware image does not take the hashes of a kernel in one page",
            code="measure.kernel",
            hint="build OVMF from AmdSevX64.dsc, or leave out the kernel",
        )
    return kernel.to_page(firmware.hashes_gpa % PAGE_SIZE)


def _vmsa_pages(firmware: Firmware, processors: Processors, vmm: Vmm) -> Iterator[bytes]:
    def page(eip: int) -> bytes:
        return vmsa_page(
            eip=eip,
            vmm=vmm,
            vcpu_signature=processors.signature,
            guest_features=processors.guest_features,
        )

    yield page(BSP_EIP)
    if processors.count == 1:
        return
    if firmware.reset_eip is None:
        raise InputError(
            "firmware image does not say where processors other than the first start",
            code="measure.reset_block",
        )
    other = page(firmware.reset_eip)
    for _ in range(1, processors.count):
        yield other
