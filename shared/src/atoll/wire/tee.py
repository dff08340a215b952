"""What jobs run in."""

from enum import Enum


class Tee(Enum):
    """What an enclave is made of. `simulated` is never hardware and says so; `vtpm` is a virtual
    machine whose TPM is its host's, which is no hardware either."""

    SEV_SNP = "sev-snp"
    TDX = "tdx"
    SIMULATED = "simulated"
    VTPM = "vtpm"
