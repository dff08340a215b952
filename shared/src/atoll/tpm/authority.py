"""The vTPM authority: says that a key is the attestation key of a virtual TPM of a host.

It is a deployment's own: nobody but its hosts vouches for a virtual TPM, and a host that wants
to lie can. Evidence under it passes only where a configuration names it, and is marked
(`atoll.evidence.vtpm`). Form of the certificates, both signed by ECDSA P-256 with SHA-256, all
extensions critical:

| authority | CN `Atoll vTPM Authority`, self-signed | CA, path length 0 | keyCertSign      |
| AK        | CN the host's id                       | no CA             | digitalSignature,|
|           |                                        |                   | EKU 2.23.133.8.3 |
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from atoll.errors import EvidenceError, InputError, MalformedEvidenceError
from atoll.evidence.vtpm.chain import AIK_CERTIFICATE, AUTHORITY_CN
from atoll.evidence.x509 import ders
from atoll.tpm.responses import EccPublic, ecc_public
from atoll.tpm.templates import ATTESTATION_KEY_ATTRIBUTES

CERTIFICATE_LIFETIME: Final = timedelta(days=7)
"""Longer than an enclave waits and works; no list revokes these certificates."""

_LIFETIME: Final = timedelta(days=10 * 365)
_BACKDATED: Final = timedelta(days=1)
"""So that whoever's clock is a little behind does not refuse a fresh certificate."""
_MAX_NAME: Final = 64
_KEY_MARK: Final = b"-----BEGIN PRIVATE KEY-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class VtpmAuthority:
    """The authority's certificate in DER, and its key."""

    certificate: bytes = field(repr=False)
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls, *, now: datetime) -> Self:
        """A new one; `now` is the start of validity, less a day."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(AUTHORITY_CN)
        start = now.replace(microsecond=0) - _BACKDATED
        certificate = (
            _builder(name, name, key.public_key(), start, start + _LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .sign(key, SHA256())
        )
        return cls(certificate=certificate.public_bytes(Encoding.DER), key=key)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Load what `to_pem` saved.

        Raises:
            InputError: `vtpm.authority`: not such a file, or the key is another one's.
        """
        certificates, mark, key_pem = pem.partition(_KEY_MARK)
        try:
            (der,) = ders(certificates)
            key = load_pem_private_key(mark + key_pem, password=None)
            public = x509.load_der_x509_certificate(der).public_key()
        except (EvidenceError, ValueError, TypeError) as error:
            raise _invalid("cannot be read") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != public:
            raise _invalid("has a key that is not its certificate's")
        return cls(certificate=der, key=key)

    def to_pem(self) -> bytes:
        """Certificate and key; whoever reads it can certify any key."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self.certificate_pem + key

    @property
    def certificate_pem(self) -> bytes:
        """What a trust store names to believe this authority."""
        return x509.load_der_x509_certificate(self.certificate).public_bytes(Encoding.PEM)

    def certify(
        self,
        public: bytes,
        *,
        host_id: str,
        now: datetime,
        lifetime: timedelta = CERTIFICATE_LIFETIME,
    ) -> tuple[bytes, bytes]:
        """The chain for an attestation key, leaf first: it and this authority, in DER.

        The caller made the key itself, in a TPM of its own: this cannot be told from the key.

        Args:
            public: the TPMT_PUBLIC that TPM2_CreatePrimary answered with.
            host_id: whose TPM it is; 1 to 64 printable ASCII characters.
            now: start of validity, less a day.
            lifetime: of the certificate, from now on.

        Raises:
            InputError: `vtpm.key`: it is not of the form that `atoll.tpm.templates` asks for.
            ValueError: the host's id has no form that a certificate takes.
        """
        if not (0 < len(host_id) <= _MAX_NAME and host_id.isascii() and host_id.isprintable()):
            raise ValueError("a host's id is 1 to 64 printable ASCII characters")
        try:
            key = _public_key(ecc_public(public))
        except MalformedEvidenceError as error:
            raise InputError(error.message, code="vtpm.key") from error
        start = now.replace(microsecond=0)
        certificate = (
            _builder(_name(host_id), _name(AUTHORITY_CN), key, start - _BACKDATED, start + lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([x509.ObjectIdentifier(AIK_CERTIFICATE)]), critical=True
            )
            .sign(self.key, SHA256())
        )
        return certificate.public_bytes(Encoding.DER), self.certificate


def _public_key(public: EccPublic) -> ec.EllipticCurvePublicKey:
    if public.attributes != ATTESTATION_KEY_ATTRIBUTES:
        raise MalformedEvidenceError(
            "TPMT_PUBLIC", 4, f"has the attributes 0x{public.attributes:08x}, not an AK's"
        )
    x, y = int.from_bytes(public.x, "big"), int.from_bytes(public.y, "big")
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as error:
        raise MalformedEvidenceError("TPMT_PUBLIC", 0, "has no point of P-256") from error


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(secrets.randbits(120) | 1 << 120)
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _invalid(why: str) -> InputError:
    return InputError(f"vTPM authority {why}", code="vtpm.authority")
