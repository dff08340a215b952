"""The attestation key: the same template gives the same key in the same TPM.

A primary key follows from the hierarchy's seed and the template (TPM 2.0 Library, part 1,
section 27.2), so nothing needs to be kept: who certified the key and who quotes with it each
make it anew, and it is one key. `unique` keeps it apart from keys of others' templates.
"""

import hashlib
import struct
from typing import Final

from atoll.tpm.codes import ECC, ECDSA, NIST_P256, NULL, SHA256

FIXED_TPM: Final = 1 << 1
FIXED_PARENT: Final = 1 << 4
SENSITIVE_DATA_ORIGIN: Final = 1 << 5
USER_WITH_AUTH: Final = 1 << 6
NO_DA: Final = 1 << 10
RESTRICTED: Final = 1 << 16
SIGN: Final = 1 << 18
"""TPMA_OBJECT, part 2, section 8.3."""

ATTESTATION_KEY_ATTRIBUTES: Final = (
    FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | USER_WITH_AUTH | NO_DA | RESTRICTED | SIGN
)
"""Made in the TPM, never leaves it, and signs only what the TPM itself made: quotes."""

_UNIQUE: Final = hashlib.sha256(b"atoll vtpm attestation key v1").digest()


def attestation_key() -> bytes:
    """TPMT_PUBLIC of the attestation key: ECC P-256, restricted, ECDSA with SHA-256."""
    return b"".join(
        (
            struct.pack(">HHI", ECC, SHA256, ATTESTATION_KEY_ATTRIBUTES),
            struct.pack(">H", 0),  # no authorisation policy
            struct.pack(">H", NULL),  # encrypts nothing
            struct.pack(">HH", ECDSA, SHA256),
            struct.pack(">HH", NIST_P256, NULL),
            struct.pack(">H", len(_UNIQUE)),
            _UNIQUE,
            struct.pack(">H", 0),
        )
    )
