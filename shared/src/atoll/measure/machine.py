"""What the simulated processor measures of an enclave that is a virtual machine.

The digest of the guest's image, which names its kernel, its root and its command line
(`atoll.measure.guest`). Hardware measures the same three, each in its own way.
"""

from typing import Final

from atoll.framing import transcript
from atoll.measure.snp import measure_image

LABEL: Final = "atoll guest image v1"


def measure_machine(digest: str) -> bytes:
    """The measurement, 48 bytes.

    Args:
        digest: of the guest's image, in hex.
    """
    return measure_image(transcript(LABEL, bytes.fromhex(digest)))
