"""What there is here to make evidence with."""

from typing import Final

from atoll.errors import AtollError
from atoll_agent.evidence import sev_guest, tdx_guest, tsm
from atoll_agent.evidence.choose import Offer
from atoll_agent.evidence.kernel import Kernel

TPM: Final = "/dev/tpmrm0"
"""The kernel's own resource manager for the TPM."""


def look(kernel: Kernel, *, device: bool = False) -> Offer:
    """Look at files and devices; ask no hardware for anything. Never raises.

    Args:
        kernel: that we run on.
        device: whether a simulated device was handed in.
    """
    return Offer(
        tsm=_tsm(kernel),
        sev_guest=kernel.exists(sev_guest.DEVICE),
        tdx_guest=kernel.exists(tdx_guest.DEVICE),
        vtpm=kernel.exists(TPM),
        device=device,
    )


def _tsm(kernel: Kernel) -> str | None:
    if not kernel.exists(tsm.ROOT):
        return None
    try:
        return tsm.provider_name(kernel)
    except AtollError:
        return ""
