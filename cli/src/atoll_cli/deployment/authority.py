"""The TLS authority of a deployment and the certificates it issues. Pure.

    tls/ca.pem, ca.key            the authority: P-256, ten years
    tls/server.pem, server.key    for buses and HTTP gateways: their names, one year

The names are those by which others connect; a certificate without the right one is refused by
whoever connects (RFC 9525). Who has `ca.key` can pose as any of them.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from atoll.errors import InputError

AUTHORITY_DAYS: Final = 3650
SERVER_DAYS: Final = 365
_BACKDATED: Final = timedelta(minutes=5)
_MAX_NAME: Final = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS #8, in the clear: for a private file."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> Self:
        """Read what the two gave.

        Raises:
            InputError: `tls.invalid`: not a certificate, or not its key.
        """
        try:
            read = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise InputError("not a certificate and its key", code="tls.invalid") from error
        if not isinstance(private, EllipticCurvePrivateKey):
            raise InputError("the key is not of the kind that is made here", code="tls.invalid")
        if read.public_key() != private.public_key():
            raise InputError("the key is not the certificate's", code="tls.invalid")
        return cls(certificate=read, key=private)


def make_authority(*, now: datetime) -> Certified:
    """A new authority."""
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Atoll deployment authority")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _begun(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, SHA256())
    )
    return Certified(certificate=certificate, key=key)


def issue_server(authority: Certified, names: Sequence[str], *, now: datetime) -> Certified:
    """A certificate for a server, which is also a client where servers connect to each other.

    Args:
        authority: who issues it.
        names: host names and addresses; at least one.
        now: when.

    Raises:
        InputError: `tls.name`: not a host name or address.
    """
    if not names:
        raise InputError("a server's certificate needs a name", code="tls.name")
    alternatives = x509.SubjectAlternativeName([_name(each) for each in names])
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    issuer = authority.certificate
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _begun(subject, issuer.subject, key, now, SERVER_DAYS)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(authority_id, critical=False)
        .sign(authority.key, SHA256())
    )
    return Certified(certificate=certificate, key=key)


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names a certificate is for."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(each.value) for each in found)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        labels = text.removeprefix("*.").split(".")
        legal = all(each and each.replace("-", "").isalnum() and each.isascii() for each in labels)
        if not legal or len(text) > _MAX_NAME:
            raise ValueError("not a host name")
        return x509.DNSName(text)
    except ValueError as error:
        raise InputError(
            f"{text[:80]!r} is neither a host name nor an address", code="tls.name"
        ) from error
