"""Reference values of an image: what each kind of machine is known to measure when it boots it.

As fields of the policies that accept them (`atoll.evidence`), so that what a policy demands is
computed in one place, whoever writes it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from atoll.measure import rtmrs
from atoll.measure.kernel_handover import Launch, kernel_digests
from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import Firmware
from atoll.measure.pcrs import pcr9
from atoll.measure.snp_launch import Processors, launch_digest
from atoll.measure.tdvf import Tdvf

MEMORY: Final = 2 << 30
"""The least that jobs get. Machines of 2.75 GiB and more have the same values: QEMU puts the
initrd below 2 GiB there."""

Fields = dict[str, frozenset[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The three files of an image."""

    kernel: bytes = field(repr=False)
    initrd: bytes = field(repr=False)
    cmdline: str

    def launches(self, memories: Collection[int]) -> list[Launch]:
        """How QEMU hands it over on machines with so many bytes of memory."""
        return [Launch(memory_bytes=one, initrd_size=len(self.initrd)) for one in memories]


def vtpm_fields(boot: Boot, memories: Collection[int] = (MEMORY,)) -> Fields:
    """`pcr9s` and `kernel_digests` of a `VtpmPolicy`. Registers of the firmware are not predicted.

    Raises:
        InputError: `measure.kernel`, `measure.memory`, `measure.append`.
    """
    launches = boot.launches(memories)
    kernels = (kernel_digests(boot.kernel, launch).values() for launch in launches)
    return {
        "pcr9s": frozenset({pcr9(boot.cmdline, boot.initrd)}),
        "kernel_digests": frozenset().union(*kernels),
    }


def tdx_fields(boot: Boot, firmware: Tdvf, memories: Collection[int] = (MEMORY,)) -> Fields:
    """`mr_tds` and `rtmr1s` to `rtmr3s` of a `TdxPolicy`. RTMR 0 is not predicted.

    Raises:
        InputError: `measure.kernel`, `measure.memory`, `measure.append`.
    """
    first = (rtmrs.rtmr1s(boot.kernel, launch) for launch in boot.launches(memories))
    return {
        "mr_tds": frozenset({firmware.mr_td()}),
        "rtmr1s": frozenset().union(*first),
        "rtmr2s": frozenset({rtmrs.rtmr2(boot.cmdline, boot.initrd)}),
        "rtmr3s": frozenset({bytes(rtmrs.DIGEST_SIZE)}),
    }


def snp_measurements(
    boot: Boot, firmware: Firmware, machines: Iterable[Processors]
) -> frozenset[bytes]:
    """`measurements` of a `SnpPolicy`: one for each set of processors, under QEMU.

    Raises:
        InputError: `measure.*`: the firmware takes no kernel, or does not say where other
            processors than the first start.
    """
    hashes = KernelHashes.of(boot.kernel, initrd=boot.initrd, append=boot.cmdline)
    return frozenset(launch_digest(firmware, one, kernel=hashes) for one in machines)
