"""Certificates and revocation lists with the names of Intel's hierarchy under other keys."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

from atoll.evidence import _der
from atoll.evidence.dcap.intel_chain import IntelRoot, IntelRoots
from atoll.evidence.dcap.pck import SGX_EXTENSION
from support.dcap import signing
from support.dcap.platform import COMPONENTS, FMSPC, MONTH, NOW, PCE_ID, PCE_SVN, PPID, YEAR
from support.dcap.signing import integer, pair, tlv


def pck_extension(
    *,
    components: bytes = COMPONENTS,
    pce_svn: int = PCE_SVN,
    fmspc: str = FMSPC,
    pce_id: str = PCE_ID,
    drop: tuple[str, ...] = (),
    extra: bytes = b"",
) -> bytes:
    """Intel's extension; `drop` leaves out the parts with these OID suffixes."""
    tcb = [(f".2.{n}", integer(svn)) for n, svn in enumerate(components, 1)]
    tcb += [(".2.17", integer(pce_svn)), (".2.18", tlv(_der.OCTET_STRING, components))]
    top = [
        (".1", tlv(_der.OCTET_STRING, PPID)),
        (".2", tlv(_der.SEQUENCE, _pairs(tcb, drop))),
        (".3", tlv(_der.OCTET_STRING, bytes.fromhex(pce_id))),
        (".4", tlv(_der.OCTET_STRING, bytes.fromhex(fmspc))),
        (".5", tlv(0x0A, b"\x01")),
        (".6", tlv(_der.OCTET_STRING, bytes(16))),
    ]
    return tlv(_der.SEQUENCE, _pairs(top, drop) + extra)


def _pairs(items: list[tuple[str, bytes]], drop: tuple[str, ...]) -> bytes:
    kept = (pair(SGX_EXTENSION + oid, value) for oid, value in items if oid not in drop)
    return b"".join(kept)


def name(common: str) -> x509.Name:
    """A distinguished name as Intel's are."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Intel Corporation"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a certificate shall say; `issue` signs it."""

    subject: str
    issuer: str
    subject_key: str
    serial: int
    path_length: int | None = None
    ca: bool = False
    not_before: datetime = NOW - YEAR
    not_after: datetime = NOW + YEAR
    sgx_extension: bytes | None = None
    key_usage: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    critical: str | None = None
    public_key: Any = None

    def issue(self, signer: signing.Key) -> bytes:
        """The DER certificate, signed by `signer`."""
        public = self.public_key or signing.key(self.subject_key).public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(self.subject))
            .issuer_name(name(self.issuer))
            .serial_number(self.serial)
            .not_valid_before(self.not_before)
            .not_valid_after(self.not_after)
            .public_key(public)
        )
        for extension, critical in self._extensions(public):
            if extension.oid.dotted_string not in self.drop:
                builder = builder.add_extension(extension, critical=critical)
        return builder.sign(signer, SHA256()).public_bytes(Encoding.DER)

    def _extensions(self, public: Any) -> list[tuple[x509.ExtensionType, bool]]:
        usage = self.key_usage
        if usage is None:
            usage = ("key_cert_sign", "crl_sign") if self.ca else ("digital_signature",)
        flags = {one: one in usage for one in _USAGES}
        point_ = x509.DistributionPoint(
            [x509.UniformResourceIdentifier("https://example.invalid/crl")], None, None, None
        )
        result: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=self.ca, path_length=self.path_length), True),
            (x509.KeyUsage(**flags), True),
            (x509.SubjectKeyIdentifier(bytes(20)), False),
            (x509.AuthorityKeyIdentifier(bytes(20), None, None), False),
            (x509.CRLDistributionPoints([point_]), False),
        ]
        if self.sgx_extension is not None:
            oid = ObjectIdentifier(SGX_EXTENSION)
            result.append((x509.UnrecognizedExtension(oid, self.sgx_extension), False))
        if self.critical is not None:
            oid = ObjectIdentifier(self.critical)
            result.append((x509.UnrecognizedExtension(oid, b"\x05\x00"), True))
        return result


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


ROOT = Certificate(
    subject="Intel SGX Root CA",
    issuer="Intel SGX Root CA",
    subject_key="root",
    serial=1,
    ca=True,
    path_length=1,
)


PLATFORM_CA = Certificate(
    subject="Intel SGX PCK Platform CA",
    issuer=ROOT.subject,
    subject_key="platform",
    serial=2,
    ca=True,
    path_length=0,
)


PROCESSOR_CA = Certificate(
    subject="Intel SGX PCK Processor CA",
    issuer=ROOT.subject,
    subject_key="processor",
    serial=3,
    ca=True,
    path_length=0,
)


TCB_SIGNING = Certificate(
    subject="Intel SGX TCB Signing", issuer=ROOT.subject, subject_key="tcb", serial=4
)


PCK = Certificate(
    subject="Intel SGX PCK Certificate",
    issuer=PLATFORM_CA.subject,
    subject_key="pck",
    serial=5,
    sgx_extension=pck_extension(),
)


def roots(root_key: str = "root", *, simulated: bool = False) -> IntelRoots:
    """Only our vendor's root."""
    spki = (
        signing.key(root_key)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    root = IntelRoot(spki_sha256=hashlib.sha256(spki).digest(), simulated=simulated)
    return IntelRoots(roots=frozenset({root}))


def pem(*ders: bytes) -> bytes:
    """PEM text of certificates."""
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders)


def pem_crl(der: bytes) -> bytes:
    """PEM text of a revocation list."""
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)


def root_der() -> bytes:
    """Our vendor's root certificate."""
    return ROOT.issue(signing.key("root"))


def pck_chain(pck: Certificate = PCK, issuer: Certificate = PLATFORM_CA) -> tuple[bytes, ...]:
    """PCK, its CA and the root, signed as they should be."""
    return (
        pck.issue(signing.key(issuer.subject_key)),
        issuer.issue(signing.key("root")),
        root_der(),
    )


def tcb_chain(signer: Certificate = TCB_SIGNING) -> bytes:
    """TCB signing and root, PEM."""
    return pem(signer.issue(signing.key("root")), root_der())


def crl(
    issuer: str,
    signer: signing.Key,
    *serials: int,
    this_update: datetime = NOW - MONTH,
    next_update: datetime = NOW + MONTH,
) -> bytes:
    """A DER revocation list."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name(issuer))
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW)
        revoked = revoked.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), False)  # noqa: FBT003
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(signer, SHA256()).public_bytes(Encoding.DER)


def root_crl(*serials: int, **dates: datetime) -> bytes:
    """The root's list."""
    return crl(ROOT.subject, signing.key("root"), *serials, **dates)


def pck_crl(*serials: int, **dates: datetime) -> bytes:
    """The Platform CA's list."""
    return crl(PLATFORM_CA.subject, signing.key("platform"), *serials, **dates)
