"""What a confidential guest's launch says of the settings that its host gives it. Pure.

The settings are a file that the host writes and the guest reads by fw_cfg (`docs/image.md`), which
no processor measures. Whoever launches the guest puts their digest where the hardware has room for
one, and from then on it stands in every report:

| SEV-SNP HOST_DATA, 32 bytes  | SHA-256 of the file | AMD 56860, SNP_LAUNCH_FINISH          |
| TDX MRCONFIGID, 48 bytes     | SHA-384 of the file | Intel 348549, TD_PARAMS, TDH.MNG.INIT |

The guest's first process, which is measured, hashes what it read, and tells the agent; the agent
compares before it shows a report to anybody. Both say it by the same text:

    sha256:HEX,sha384:HEX
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from atoll.errors import InputError

HOST_DATA_SIZE: Final = 32
MR_CONFIG_ID_SIZE: Final = 48

_TEXT: Final = re.compile(r"sha256:([0-9a-f]{64}),sha384:([0-9a-f]{96})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSettings:
    """The digests of a guest's settings."""

    host_data: bytes
    """SHA-256, 32 bytes: what SEV-SNP reports as HOST_DATA."""
    mr_config_id: bytes
    """SHA-384, 48 bytes: what TDX reports as MRCONFIGID."""

    def __post_init__(self) -> None:
        """Raises: ValueError: it is our own mistake."""
        sizes = (len(self.host_data), len(self.mr_config_id))
        if sizes != (HOST_DATA_SIZE, MR_CONFIG_ID_SIZE):
            raise ValueError(f"digests of {sizes} bytes")

    @classmethod
    def of(cls, settings: bytes) -> Self:
        """Of exactly these bytes of the file."""
        return cls(
            host_data=hashlib.sha256(settings).digest(),
            mr_config_id=hashlib.sha384(settings).digest(),
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `to_text` wrote.

        Raises:
            InputError: `measure.launch_settings`: it is something else.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise InputError(
                "digests of settings: want sha256:HEX,sha384:HEX in lower case",
                code="measure.launch_settings",
            )
        return cls(host_data=bytes.fromhex(found[1]), mr_config_id=bytes.fromhex(found[2]))

    def to_text(self) -> str:
        """As one word."""
        return f"sha256:{self.host_data.hex()},sha384:{self.mr_config_id.hex()}"
