"""The HCL report of Azure's confidential VMs (NV index 0x01400001), usually 2600 bytes.

| off  | size | field                                                             |
| 0    | 4    | "HCLA"                                                            |
| 4    | 4    | version, 1 or 2                                                   |
| 8    | 4    | report size: up to the end of the runtime data                    |
| 12   | 4    | request type, 2                                                   |
| 16   | 4    | status, 0                                                         |
| 20   | 12   | reserved                                                          |
| 32   | 1184 | hardware report: SNP's, or a TDREPORT of 1024 bytes and zeros     |
| 1216 | 4    | data size, 20 + variable size                                     |
| 1220 | 4    | version, 1                                                        |
| 1224 | 4    | report type: 2 SNP, 4 TDX                                         |
| 1228 | 4    | hash type: 1, 2, 3 = SHA-256, SHA-384, SHA-512                    |
| 1232 | 4    | variable size                                                     |
| 1236 |      | runtime data, JSON; then zeros                                    |

Little-endian. REPORT_DATA of the hardware report is the hash of the runtime data, padded
with zeros to 64 bytes. That is what binds the key HCLAkPub in it, the virtual TPM's
attestation key, to the VM; the paravisor, which is part of the measurement, sees to it.
"""

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric import rsa

from atoll.errors import MalformedEvidenceError, RejectedEvidenceError, UnsupportedEvidenceError
from atoll.evidence._cursor import Cursor
from atoll.evidence.tpm.quote import rsa_key

MAX_REPORT: Final = 8192
SNP_REPORT_SIZE: Final = 1184
TD_REPORT_SIZE: Final = 1024

_STRUCTURE: Final = "HCL report"
_HASHES: Final = {1: "sha256", 2: "sha384", 3: "sha512"}
_REPORT_DATA_SIZE: Final = 64
_HEADER_SIZE: Final = 1236
_DATA_HEADER_SIZE: Final = 20
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]{1,1024}")


class HardwareKind(Enum):
    """What the hardware report is."""

    SNP = 2
    TDX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HclReport:
    """A parsed report. Nothing in it is authentic before `azure.verify_azure_*`."""

    kind: HardwareKind
    hardware_report: bytes = field(repr=False)
    """1184 bytes of SEV-SNP, or a TDREPORT of 1024."""
    hash_name: str
    runtime_data: bytes = field(repr=False)
    """The JSON as it came, which is what the hardware report commits to."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse one report. Does not look into the hardware report or the runtime data.

        Raises:
            MalformedEvidenceError: a size, type, status or padding other than above.
            UnsupportedEvidenceError: another version, report type or hash type.
        """
        if len(raw) > MAX_REPORT:
            raise MalformedEvidenceError(_STRUCTURE, 0, f"is {len(raw)} bytes")
        cursor = Cursor(bytes(raw), structure=_STRUCTURE)
        report_size = _header(cursor)
        hardware = cursor.octets(SNP_REPORT_SIZE)
        data_size, version, kind, hash_type, size = (cursor.uint(4) for _ in range(5))
        if version != 1 or kind not in (2, 4) or hash_type not in _HASHES:
            raise UnsupportedEvidenceError(
                f"{_STRUCTURE}: data version {version}, report type {kind}, hash type {hash_type}"
            )
        if data_size != size + _DATA_HEADER_SIZE or report_size != size + _HEADER_SIZE:
            raise cursor.fail("has sizes that do not fit each other")
        runtime_data = cursor.octets(size)
        if any(cursor.rest()):
            raise cursor.fail("has something after the runtime data")
        if kind == HardwareKind.TDX.value:
            if any(hardware[TD_REPORT_SIZE:]):
                raise MalformedEvidenceError(_STRUCTURE, 32, "has more than a TDREPORT")
            hardware = hardware[:TD_REPORT_SIZE]
        return cls(
            kind=HardwareKind(kind),
            hardware_report=hardware,
            hash_name=_HASHES[hash_type],
            runtime_data=runtime_data,
        )

    def check_binding(self, report_data: bytes) -> None:
        """Return if a hardware report with this REPORT_DATA commits to the runtime data.

        All 64 bytes are compared.

        Raises:
            RejectedEvidenceError: `evidence.runtime_data_binding_mismatch`.
        """
        digest = hashlib.new(self.hash_name, self.runtime_data).digest()
        if report_data != digest.ljust(_REPORT_DATA_SIZE, b"\x00"):
            raise RejectedEvidenceError(
                "REPORT_DATA is not the hash of the HCL runtime data",
                code="evidence.runtime_data_binding_mismatch",
            )

    def attestation_key(self) -> rsa.RSAPublicKey:
        """The virtual TPM's key: the one RSA key HCLAkPub of the runtime data.

        Raises:
            MalformedEvidenceError: not JSON, a repeated name, none or several such keys.
        """
        try:
            value = json.loads(self.runtime_data.decode("utf-8"), object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise _malformed("is not JSON with distinct names") from error
        keys = value.get("keys") if isinstance(value, dict) else None
        if not isinstance(keys, list):
            raise _malformed("has no list of keys")
        found = [one for one in keys if isinstance(one, dict) and one.get("kid") == "HCLAkPub"]
        if len(found) != 1 or found[0].get("kty") != "RSA":
            raise _malformed("does not have exactly one RSA key HCLAkPub")
        n, e = _number(found[0].get("n")), _number(found[0].get("e"))
        return rsa_key(rsa.RSAPublicNumbers(n=n, e=e))


def _header(cursor: Cursor) -> int:
    if cursor.octets(4) != b"HCLA":
        raise cursor.fail("does not start with HCLA")
    version, size, request, status = (cursor.uint(4) for _ in range(4))
    if version not in (1, 2):
        raise UnsupportedEvidenceError(f"{_STRUCTURE} version {version}, want 1 or 2")
    if request != 2 or status != 0 or any(cursor.octets(12)):  # noqa: PLR2004
        raise cursor.fail(f"has request type {request}, status {status}, or a reserved byte")
    return size


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object repeats a name")
    return value


def _number(value: object) -> int:
    """A Base64urlUInt (RFC 7518, section 2)."""
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        raise _malformed("has a key whose number is not base64url")
    try:
        octets = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except binascii.Error as error:
        raise _malformed("has a key whose number is not base64url") from error
    return int.from_bytes(octets, "big")


def _malformed(reason: str) -> MalformedEvidenceError:
    return MalformedEvidenceError("HCL runtime data", 0, reason)
