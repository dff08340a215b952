"""Intel's extension of a PCK certificate, 1.2.840.113741.1.13.1.

Intel SGX PCK certificate and CRL profile, section 1.3.5: a SEQUENCE of pairs of an OID
and a value, found here by OID and not by position.

| OID below 1.2.840.113741.1.13.1 | meaning                | encoding               |
| .1                              | PPID                   | OCTET STRING, 16       |
| .2                              | TCB                    | SEQUENCE of pairs      |
| .2.1 to .2.16                   | component SVNs         | INTEGER, 0 to 255      |
| .2.17                           | PCESVN                 | INTEGER, 0 to 65535    |
| .2.18                           | CPUSVN                 | OCTET STRING, 16       |
| .3                              | PCEID                  | OCTET STRING, 2        |
| .4                              | FMSPC                  | OCTET STRING, 6        |
| .5                              | SGX type               | ENUMERATED             |
| .6                              | platform instance id   | OCTET STRING, 16, opt. |
| .7                              | configuration          | SEQUENCE, optional     |

Other OIDs below are skipped: Intel has added some, and none limits what the rest means.
"""

from dataclasses import dataclass
from typing import Final, Self

from atoll.errors import MalformedEvidenceError, RejectedEvidenceError
from atoll.evidence import _der
from atoll.evidence._der import DerReader
from atoll.evidence.x509 import Certificate

SGX_EXTENSION: Final = "1.2.840.113741.1.13.1"
COMPONENTS: Final = 16

_ENUMERATED: Final = 0x0A
_PREFIX: Final = _der.oid(SGX_EXTENSION)
_PPID, _TCB, _PCEID, _FMSPC, _TYPE, _INSTANCE = (_PREFIX + bytes([n]) for n in range(1, 7))
_PCESVN: Final = _TCB + b"\x11"
_CPUSVN: Final = _TCB + b"\x12"
_COMPONENT: Final = tuple(_TCB + bytes([n]) for n in range(1, COMPONENTS + 1))
_MAX_PAIRS: Final = 32
_MAX_SVN: Final = 0xFF
_MAX_PCESVN: Final = 0xFFFF
_STRUCTURE: Final = "PCK extension"


@dataclass(frozen=True, slots=True, kw_only=True)
class PckExtension:
    """What the certificate says about the platform. `components` are the 16 SVNs."""

    ppid: bytes
    components: bytes
    pce_svn: int
    cpu_svn: bytes
    pce_id: bytes
    fmspc: bytes
    sgx_type: int
    platform_instance_id: bytes | None

    @classmethod
    def of(cls, certificate: Certificate) -> Self:
        """Read the extension of one certificate.

        Raises:
            RejectedEvidenceError: `evidence.pck_extension`: it, or a part, is missing.
            MalformedEvidenceError: it has another encoding than the table says.
        """
        extension = certificate.extension(_PREFIX)
        if extension is None:
            raise _missing(SGX_EXTENSION)
        return cls.from_bytes(extension.value)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read the extension's value; raises as `of`."""
        outer = DerReader(raw, structure=_STRUCTURE)
        top = _pairs(outer)
        outer.finish()
        tcb_reader = DerReader(_need(top, _TCB, "TCB"), structure=_STRUCTURE)
        tcb = _pairs(tcb_reader)
        tcb_reader.finish()
        # Intel's own test certificates have a BOOLEAN there, which names no platform.
        instance = top.get(_INSTANCE, b"")
        named = instance[:1] == bytes([_der.OCTET_STRING])
        return cls(
            ppid=_octets(_need(top, _PPID, "PPID"), 16),
            components=bytes(
                _number(_need(tcb, oid, f"component {n}"), _der.INTEGER, _MAX_SVN)
                for n, oid in enumerate(_COMPONENT, 1)
            ),
            pce_svn=_number(_need(tcb, _PCESVN, "PCESVN"), _der.INTEGER, _MAX_PCESVN),
            cpu_svn=_octets(_need(tcb, _CPUSVN, "CPUSVN"), 16),
            pce_id=_octets(_need(top, _PCEID, "PCEID"), 2),
            fmspc=_octets(_need(top, _FMSPC, "FMSPC"), 6),
            sgx_type=_number(_need(top, _TYPE, "SGX type"), _ENUMERATED, _MAX_SVN),
            platform_instance_id=_octets(instance, 16) if named else None,
        )


def _pairs(reader: DerReader) -> dict[bytes, bytes]:
    """OID content to the whole value, no OID twice."""
    items = reader.nested(_der.SEQUENCE)
    result: dict[bytes, bytes] = {}
    while not items.empty:
        pair = items.nested(_der.SEQUENCE)
        oid = pair.content(_der.OID)
        value = pair.rest()
        if oid in result or len(result) == _MAX_PAIRS:
            raise items.fail("repeats an OID or has too many before this point")
        result[oid] = value
    return result


def _need(pairs: dict[bytes, bytes], oid: bytes, name: str) -> bytes:
    if oid not in pairs:
        raise _missing(name)
    return pairs[oid]


def _missing(name: str) -> RejectedEvidenceError:
    return RejectedEvidenceError(
        f"PCK certificate has no {name} in its SGX extension", code="evidence.pck_extension"
    )


def _octets(raw: bytes, size: int) -> bytes:
    reader = DerReader(raw, structure=_STRUCTURE)
    content = reader.content(_der.OCTET_STRING)
    reader.finish()
    if len(content) != size:
        raise MalformedEvidenceError(_STRUCTURE, 0, f"has {len(content)} bytes, want {size}")
    return content


def _number(raw: bytes, tag: int, limit: int) -> int:
    reader = DerReader(raw, structure=_STRUCTURE)
    value = reader.uint(tag)
    reader.finish()
    if value > limit:
        raise MalformedEvidenceError(_STRUCTURE, 0, f"has {value}, want at most {limit}")
    return value
