"""The part of X.509 (RFC 5280) that AMD's and Intel's certificates and CRLs are made of.

Parsing only: nothing here is authentic yet. Signature algorithms other than those the
caller names are refused as unsupported. `AMD` is RSASSA-PSS with SHA-384, MGF1-SHA-384
and salt 48 (AMD 57230), in either of the two encodings that AMD's own certificates
have: the root's states the default trailer field, the others do not. `INTEL` is ECDSA
with SHA-256 (Intel SGX PCK certificate and CRL profile, section 1.3.5).

Limits: a certificate is at most `MAX_CERTIFICATE` bytes, a CRL `MAX_CRL`, a chain
`MAX_CERTIFICATES` certificates.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from atoll.errors import MalformedEvidenceError, UnsupportedEvidenceError
from atoll.evidence import _der
from atoll.evidence._der import DerReader

MAX_CERTIFICATE: Final = 8 << 10
MAX_CERTIFICATES: Final = 8
MAX_CRL: Final = 64 << 10
MAX_EXTENSIONS: Final = 32

_PSS_SHA384: Final = bytes.fromhex(
    "304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a"
    "06092a864886f70d010108300d06096086480165030402020500a203020130"
)
_PSS_SHA384_TRAILER: Final = bytes.fromhex(
    "304606092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a"
    "06092a864886f70d010108300d06096086480165030402020500a203020130a303020101"
)
_ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureScheme:
    """A signature algorithm and the AlgorithmIdentifiers that stand for it."""

    name: str
    encodings: frozenset[bytes]


AMD: Final = SignatureScheme(
    name="RSASSA-PSS with SHA-384", encodings=frozenset({_PSS_SHA384, _PSS_SHA384_TRAILER})
)
INTEL: Final = SignatureScheme(name="ECDSA with SHA-256", encodings=frozenset({_ECDSA_SHA256}))

_COMMON_NAME: Final = _der.oid("2.5.4.3")


def _armour(label: bytes) -> re.Pattern[bytes]:
    return re.compile(
        rb"-----BEGIN %s-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END %s-----" % (label, label)
    )


_PEM: Final = _armour(b"CERTIFICATE")
_PEM_CRL: Final = _armour(b"X509 CRL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One extension: the OID's content octets, the critical flag, the raw value."""

    oid: bytes
    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A parsed certificate; `tbs` is what the issuer signed."""

    der: bytes = field(repr=False)
    tbs: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    serial: int
    issuer: bytes = field(repr=False)
    issuer_cn: str
    subject: bytes = field(repr=False)
    subject_cn: str
    not_before: datetime
    not_after: datetime
    spki: bytes = field(repr=False)
    extensions: tuple[Extension, ...] = field(repr=False)

    @classmethod
    def from_bytes(
        cls, der: bytes, *, scheme: SignatureScheme = AMD, limit: int = MAX_CERTIFICATE
    ) -> Self:
        """Parse one DER certificate of at most `limit` bytes.

        Raises:
            MalformedEvidenceError: not a strict X.509 v3 certificate.
            UnsupportedEvidenceError: signed by another scheme.
        """
        outside = _signed(der, "certificate", limit, scheme)
        tbs, algorithm, signature, fields = outside
        if fields.content(0xA0) != b"\x02\x01\x02":
            raise fields.fail("is not version 3 before this point")
        serial = fields.uint()
        _same_algorithm(fields, algorithm)
        issuer, issuer_cn = _name(fields)
        validity = fields.nested(_der.SEQUENCE)
        not_before, not_after = validity.time(), validity.time()
        validity.finish()
        subject, subject_cn = _name(fields)
        spki = fields.element(_der.SEQUENCE)
        extensions = _extensions(fields.nested(0xA3)) if fields.next_is(0xA3) else ()
        fields.finish()
        return cls(
            der=der,
            tbs=tbs,
            signature=signature,
            serial=serial,
            issuer=issuer,
            issuer_cn=issuer_cn,
            subject=subject,
            subject_cn=subject_cn,
            not_before=not_before,
            not_after=not_after,
            spki=spki,
            extensions=extensions,
        )

    def __hash__(self) -> int:
        # Everything else follows from these bytes, which keep their hash.
        return hash(self.der)

    def extension(self, oid: bytes) -> Extension | None:
        """The extension with this OID; parsing made sure that there is at most one."""
        return next((item for item in self.extensions if item.oid == oid), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """A parsed certificate revocation list; `tbs` is what the issuer signed."""

    tbs: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    issuer: bytes = field(repr=False)
    issuer_cn: str
    this_update: datetime
    next_update: datetime
    serials: frozenset[int]

    @classmethod
    def from_bytes(cls, der: bytes, *, scheme: SignatureScheme = AMD) -> Self:
        """Parse one DER version 2 list (RFC 5280, section 5.1).

        Raises:
            MalformedEvidenceError: not such a list, without nextUpdate, or with a
                critical extension (a delta or partial list would mean less than it seems).
            UnsupportedEvidenceError: signed by another scheme.
        """
        tbs, algorithm, signature, fields = _signed(der, "CRL", MAX_CRL, scheme)
        if fields.content(_der.INTEGER) != b"\x01":
            raise fields.fail("is not version 2 before this point")
        _same_algorithm(fields, algorithm)
        issuer, issuer_cn = _name(fields)
        this_update, next_update = fields.time(), fields.time()
        serials = set[int]()
        if fields.next_is(_der.SEQUENCE):
            entries = fields.nested(_der.SEQUENCE)
            while not entries.empty:
                serials.add(_revoked(entries.nested(_der.SEQUENCE)))
        if fields.next_is(0xA0):
            outer = fields.nested(0xA0)
            _refuse_critical(outer, _extensions(outer))
        fields.finish()
        return cls(
            tbs=tbs,
            signature=signature,
            issuer=issuer,
            issuer_cn=issuer_cn,
            this_update=this_update,
            next_update=next_update,
            serials=frozenset(serials),
        )


def ders(raw: bytes) -> tuple[bytes, ...]:
    """The DER certificates in `raw`, which is one DER certificate or PEM text.

    Raises:
        MalformedEvidenceError: PEM text with anything but certificates and line ends,
            or more than `MAX_CERTIFICATES`.
    """
    if not raw.startswith(b"-----"):
        return (raw,)
    if len(raw) > 2 * MAX_CERTIFICATE * MAX_CERTIFICATES:
        raise MalformedEvidenceError("PEM", 0, f"is {len(raw)} bytes")
    found = _PEM.findall(raw)
    # Tools end auxiliary blobs with a NUL; nothing else may stand beside the certificates.
    if not 1 <= len(found) <= MAX_CERTIFICATES or _PEM.sub(b"", raw).strip(b"\r\n\x00"):
        raise MalformedEvidenceError("PEM", 0, "is not just 1 to 8 certificates")
    return tuple(map(_base64, found))


def crl_der(raw: bytes) -> bytes:
    """The DER revocation list in `raw`, which is DER or one PEM block.

    Raises:
        MalformedEvidenceError: PEM text with anything but one list and line ends.
    """
    if not raw.startswith(b"-----"):
        return raw
    found = _PEM_CRL.findall(raw) if len(raw) <= 2 * MAX_CRL else []
    if len(found) != 1 or _PEM_CRL.sub(b"", raw).strip(b"\r\n\x00"):
        raise MalformedEvidenceError("PEM", 0, "is not just one revocation list")
    return _base64(found[0])


def _base64(lines: bytes) -> bytes:
    text = lines.translate(None, b"\r\n")
    try:
        der = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise MalformedEvidenceError("PEM", 0, "is not base64") from error
    if base64.b64encode(der) != text:
        raise MalformedEvidenceError("PEM", 0, "has bits after the last byte")
    return der


def _signed(
    der: bytes, structure: str, limit: int, scheme: SignatureScheme
) -> tuple[bytes, bytes, bytes, DerReader]:
    """(signed part, algorithm, signature, reader over the signed part's fields)."""
    if len(der) > limit:
        raise MalformedEvidenceError(structure, 0, f"is {len(der)} bytes, at most {limit}")
    outer = DerReader(der, structure=structure)
    whole = outer.nested(_der.SEQUENCE)
    outer.finish()
    base = whole.offset
    tbs = whole.element(_der.SEQUENCE)
    algorithm = whole.element(_der.SEQUENCE)
    if algorithm not in scheme.encodings:
        raise UnsupportedEvidenceError(
            f"{structure} signature algorithm {algorithm[:16].hex()} is not {scheme.name}"
        )
    signature = whole.bits()
    whole.finish()
    fields = DerReader(tbs, structure=structure, base=base).nested(_der.SEQUENCE)
    return tbs, algorithm, signature, fields


def _same_algorithm(fields: DerReader, algorithm: bytes) -> None:
    # RFC 5280, section 4.1.1.2: the unsigned copy must equal the signed one.
    if fields.element(_der.SEQUENCE) != algorithm:
        raise fields.fail("names another signature algorithm than stands outside")


def _name(reader: DerReader) -> tuple[bytes, str]:
    """(the whole Name, its one common name)."""
    start = reader.offset
    names = []
    raw = reader.element(_der.SEQUENCE)
    rdns = DerReader(raw, structure="Name", base=start).nested(_der.SEQUENCE)
    while not rdns.empty:
        rdn = rdns.nested(_der.SET)
        pair = rdn.nested(_der.SEQUENCE)
        rdn.finish()
        kind = pair.content(_der.OID)
        tag = _der.UTF8_STRING if pair.next_is(_der.UTF8_STRING) else _der.PRINTABLE_STRING
        value = pair.content(tag)
        pair.finish()
        if kind == _COMMON_NAME:
            names.append(value)
    if len(names) != 1 or not names[0].isascii():
        raise reader.fail("has a name without exactly one ASCII common name before this point")
    return raw, names[0].decode("ascii")


def _extensions(outer: DerReader) -> tuple[Extension, ...]:
    items = outer.nested(_der.SEQUENCE)
    outer.finish()
    result: dict[bytes, Extension] = {}
    while not items.empty:
        item = items.nested(_der.SEQUENCE)
        oid = item.content(_der.OID)
        critical = item.next_is(_der.BOOLEAN) and item.boolean()
        value = item.content(_der.OCTET_STRING)
        item.finish()
        if oid in result or len(result) == MAX_EXTENSIONS:
            raise items.fail("repeats an extension or has too many before this point")
        result[oid] = Extension(oid=oid, critical=critical, value=value)
    return tuple(result.values())


def _revoked(entry: DerReader) -> int:
    serial = entry.uint()
    entry.time()
    if not entry.empty:
        extensions = DerReader(
            entry.element(_der.SEQUENCE), structure="CRL entry", base=entry.offset
        )
        _refuse_critical(entry, _extensions(extensions))
    entry.finish()
    return serial


def _refuse_critical(reader: DerReader, extensions: tuple[Extension, ...]) -> None:
    if any(item.critical for item in extensions):
        raise reader.fail("has a critical extension that is not understood")
