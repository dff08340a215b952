"""What a guest with a virtual TPM sends: a deterministic CBOR map (RFC 8949, section 4.2.1).

| attest    | bytes: TPMS_ATTEST of the quote                                |
| signature | bytes: TPMT_SIGNATURE                                          |
| pcrs      | map from the number of a register to its 32 bytes, SHA-256     |
| event_log | bytes: the boot log (`eventlog.pcr_log`), at most 64 KiB       |

extraData of the quote is SHA-256 of the 64 bytes that other kinds of evidence carry: 64 bytes
do not fit into TPM2B_DATA of every TPM (part 2, section 10.4.3).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from atoll.errors import MalformedEvidenceError
from atoll.evidence import _cbor
from atoll.evidence.eventlog import pcr_log

QUOTED: Final = tuple(range(10))
"""The registers that evidence quotes: firmware, boot loader, Secure Boot, and what the kernel's
EFI stub was given."""
DIGEST_SIZE: Final = 32
MAX_REGISTERS: Final = 24
MAX_ATTEST: Final = 1024
MAX_SIGNATURE: Final = 1024
MAX_REPORT: Final = pcr_log.MAX_LOG + (8 << 10)

_STRUCTURE: Final = "vTPM report"
_FIELDS: Final = frozenset({"attest", "signature", "pcrs", "event_log"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VtpmReport:
    """A parsed report. Nothing in it is authentic before `verify.verify_vtpm`."""

    attest: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    pcrs: Mapping[int, bytes] = field(repr=False)
    event_log: bytes = field(repr=False)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one report; what is in the quote and in the log is not looked at.

        Raises:
            MalformedEvidenceError: not this map, over a limit, or not in its one encoding.
        """
        if len(raw) > MAX_REPORT:
            raise _malformed(f"is {len(raw)} bytes, at most {MAX_REPORT}")
        value = _cbor.loads(raw, structure=_STRUCTURE, integer_keys=True)
        if not isinstance(value, dict) or value.keys() != _FIELDS:
            raise _malformed(f"is no map of {', '.join(sorted(_FIELDS))}")
        report = cls(
            attest=_octets(value, "attest", MAX_ATTEST),
            signature=_octets(value, "signature", MAX_SIGNATURE),
            pcrs=_registers(value["pcrs"]),
            event_log=_octets(value, "event_log", pcr_log.MAX_LOG),
        )
        if report.to_bytes() != raw:
            raise _malformed("is not in the one encoding of its content")
        return report

    def to_bytes(self) -> bytes:
        """The encoding."""
        return _cbor.dumps(
            {
                "attest": self.attest,
                "signature": self.signature,
                "pcrs": dict(self.pcrs),
                "event_log": self.event_log,
            }
        )


def qualifying_data(report_data: bytes) -> bytes:
    """What the TPM is asked to sign as extraData, for the 64 bytes of `report_data`."""
    return hashlib.sha256(report_data).digest()


def _octets(value: Mapping[str, object], name: str, limit: int) -> bytes:
    found = value[name]
    if not isinstance(found, bytes) or len(found) > limit:
        raise _malformed(f"{name} is not at most {limit} bytes")
    return found


def _registers(value: object) -> dict[int, bytes]:
    if not isinstance(value, dict):
        raise _malformed("pcrs is no map")
    for number, digest in value.items():
        if not isinstance(number, int) or not 0 <= number < MAX_REGISTERS:
            raise _malformed(f"pcrs has a register that is none of 0 to {MAX_REGISTERS - 1}")
        if not isinstance(digest, bytes) or len(digest) != DIGEST_SIZE:
            raise _malformed(f"pcrs has no {DIGEST_SIZE} bytes for PCR{number}")
    return value


def _malformed(reason: str) -> MalformedEvidenceError:
    return MalformedEvidenceError(_STRUCTURE, 0, reason)
