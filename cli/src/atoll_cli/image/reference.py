"""What an image is known to measure, as CoRIM: one for each kind of machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.corim import measured
from atoll.corim.snp import SnpReferenceValues, snp_to_corim
from atoll.corim.values import Corim, Validity
from atoll.evidence.document import Tee
from atoll.measure.guest import GuestImage
from atoll.measure.ovmf import Firmware
from atoll.measure.reference import Boot, snp_measurements, tdx_fields, vtpm_fields
from atoll.measure.snp_launch import Processors
from atoll.measure.tdvf import Tdvf


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What it may be booted on."""

    memories: Sequence[int]
    """Bytes; at least one."""
    snp: tuple[Firmware, Sequence[Processors]] | None = None
    tdx: Tdvf | None = None


def reference_values(
    image: GuestImage, boot: Boot, machines: Machines, validity: Validity | None = None
) -> Mapping[Tee, Corim]:
    """A CoRIM for machines with a virtual TPM, and for the others whose firmware is known.

    Raises:
        InputError: `measure.*`; `corim.invalid`: more combinations than one can say.
    """
    found: dict[Tee, Corim] = {}

    def name(tee: Tee) -> str:
        return f"atoll-image/{image.release}/{image.digest[:16]}/{tee.value}"

    digests = {Tee.VTPM: (measured.VTPM, vtpm_fields(boot, machines.memories))}
    if machines.tdx is not None:
        fields = tdx_fields(boot, machines.tdx, machines.memories)
        digests[Tee.TDX] = (measured.TDX, fields)
    for tee, (profile, fields) in digests.items():
        found[tee] = measured.to_corim(
            profile, fields, corim_id=name(tee), tag_id=name(tee), validity=validity
        )
    if machines.snp is not None:
        values = SnpReferenceValues(measurements=snp_measurements(boot, *machines.snp))
        found[Tee.SNP] = snp_to_corim(
            values, corim_id=name(Tee.SNP), tag_id=name(Tee.SNP), validity=validity
        )
    return found
