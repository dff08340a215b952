"""The Keystone report: `struct report_t` of the security monitor (64-bit), 1352 bytes.

| off  | size | field                                                              |
| 0    | 64   | enclave hash, SHA3-512                                             |
| 64   | 8    | data_len, 0 to 1024                                                |
| 72   | 1024 | data; what stands behind data_len bytes is not signed, and dropped |
| 1096 | 64   | enclave signature: the SM key over bytes 0 to 72 + data_len        |
| 1160 | 64   | SM hash, SHA3-512                                                  |
| 1224 | 32   | SM public key                                                      |
| 1256 | 64   | SM signature: the device key over SM hash and SM public key        |
| 1320 | 32   | device public key                                                  |

Little-endian (keystone-enclave/keystone, sm/src/enclave.h, attest.c). There is no version,
no algorithm, no time and no nonce field: freshness can only come from `data`.

The SDK's programs hand over their whole 2048-byte buffer; its rest means nothing and is
dropped as well. Any other size is refused.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from atoll.evidence._fixed import FixedReader

REPORT_SIZE: Final = 1352
BUFFER_SIZE: Final = 2048
MAX_DATA: Final = 1024
DATA_LEN_AT: Final = 64

_STRUCTURE: Final = "Keystone report"
_DATA_AT: Final = 72
_SM_AT: Final = 1160


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoneReport:
    """A parsed report. Nothing in it is authentic before `verify.verify_keystone`."""

    enclave_hash: bytes
    data: bytes
    """What the enclave had signed, exactly data_len bytes."""
    enclave_signature: bytes = field(repr=False)
    sm_hash: bytes
    sm_public_key: bytes
    sm_signature: bytes = field(repr=False)
    device_public_key: bytes
    """As the report states it; never the anchor."""
    enclave_signed: bytes = field(repr=False)
    sm_signed: bytes = field(repr=False)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one report, alone or in a buffer of `BUFFER_SIZE` bytes.

        Does not check: signatures, and whether keys are points on the curve.

        Raises:
            MalformedEvidenceError: another size, or data_len (at `DATA_LEN_AT`) over 1024.
        """
        if len(raw) == BUFFER_SIZE:
            raw = raw[:REPORT_SIZE]
        reader = FixedReader(raw, structure=_STRUCTURE, size=REPORT_SIZE)
        data_len = reader.uint(DATA_LEN_AT, 8)
        if data_len > MAX_DATA:
            raise reader.fail(DATA_LEN_AT, f"data_len is {data_len}, at most {MAX_DATA}")
        reader.octets(_DATA_AT + data_len, MAX_DATA - data_len)
        report = cls(
            enclave_hash=reader.octets(0, 64),
            data=reader.octets(_DATA_AT, data_len),
            enclave_signature=reader.octets(1096, 64),
            sm_hash=reader.octets(_SM_AT, 64),
            sm_public_key=reader.octets(1224, 32),
            sm_signature=reader.octets(1256, 64),
            device_public_key=reader.octets(1320, 32),
            enclave_signed=bytes(raw[: _DATA_AT + data_len]),
            sm_signed=bytes(raw[_SM_AT : _SM_AT + 96]),
        )
        reader.finish()
        return report
