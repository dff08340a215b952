"""An attestation key is believed on the word of a pinned authority, and only as such a key."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from atoll.errors import EvidenceError, MalformedEvidenceError
from atoll.evidence.vtpm.chain import (
    AIK_CERTIFICATE,
    AUTHORITY_CN,
    VtpmRoots,
    authority_spki_sha256,
    verify_ak_chain,
)
from support import vtpm
from support.evidence import NOW

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
ROOTS = VtpmRoots(keys=frozenset({hashlib.sha256(SPKI).digest()}))
AIK = x509.ObjectIdentifier(AIK_CERTIFICATE)


def usage(*, sign: bool = False, certificates: bool = False) -> x509.KeyUsage:
    rest = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(digital_signature=sign, key_cert_sign=certificates, **rest)


@dataclass(frozen=True, kw_only=True)
class Cert:
    """A certificate; tests replace what shall be wrong."""

    subject: str
    issuer: str = AUTHORITY_CN
    key: ec.EllipticCurvePrivateKey = KEY
    by: ec.EllipticCurvePrivateKey = KEY
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = field(default=())
    days: int = 1

    def der(self, **changes: Any) -> bytes:
        it = replace(self, **changes)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, it.subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, it.issuer)]))
            .public_key(it.key.public_key())
            .serial_number(7)
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=it.days))
        )
        for extension, critical in it.extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(it.by, SHA256()).public_bytes(Encoding.DER)


CA = x509.BasicConstraints(ca=True, path_length=0)
NO_CA = x509.BasicConstraints(ca=False, path_length=None)
EKU = x509.ExtendedKeyUsage([AIK])
ODD = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
ROOT = Cert(subject=AUTHORITY_CN, extensions=((CA, True), (usage(certificates=True), True)))
LEAF = Cert(
    subject="host-7",
    key=OTHER,
    extensions=((NO_CA, True), (usage(sign=True), True), (EKU, True)),
)


def with_extensions(*found: x509.ExtensionType, critical: bool = True) -> dict[str, Any]:
    return {"extensions": tuple((one, critical) for one in found)}


def test_a_certified_key_is_the_hosts() -> None:
    found = verify_ak_chain(vtpm.certs(), vtpm.trust().vtpm, now=NOW)

    assert found.host == vtpm.HOST
    assert found.key.public_numbers() == vtpm.key().public_key().public_numbers()


def test_the_chain_may_be_pem() -> None:
    pem = b"".join(
        x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in vtpm.certs()
    )

    assert verify_ak_chain([pem], vtpm.trust().vtpm, now=NOW).host == vtpm.HOST


def test_what_is_not_demanded_may_be_missing() -> None:
    leaf = LEAF.der(**with_extensions(usage(sign=True), EKU, ODD, critical=False))

    assert verify_ak_chain([leaf, ROOT.der()], ROOTS, now=NOW).host == "host-7"


@pytest.mark.parametrize(
    ("leaf", "root", "code"),
    [
        ({}, {"subject": "Other"}, "chain_names"),
        ({}, {"issuer": "Other"}, "chain_names"),
        ({"issuer": "Other"}, {}, "chain_names"),
        ({"by": OTHER}, {}, "chain_signature"),
        ({}, {"by": OTHER}, "chain_signature"),
        ({}, {"key": OTHER, "by": OTHER}, "untrusted_root"),
        ({}, with_extensions(usage(certificates=True)), "chain_ca"),
        ({}, with_extensions(NO_CA, usage(certificates=True)), "chain_ca"),
        ({}, with_extensions(CA, usage(sign=True)), "key_usage"),
        ({}, with_extensions(CA, usage(certificates=True), ODD), "critical_extension"),
        (with_extensions(CA, usage(sign=True), EKU), {}, "chain_ca"),
        (with_extensions(NO_CA, EKU), {}, "key_usage"),
        (with_extensions(NO_CA, usage(sign=True)), {}, "key_usage"),
        (
            with_extensions(
                NO_CA,
                usage(sign=True),
                x509.ExtendedKeyUsage([AIK, x509.ObjectIdentifier("1.2.3")]),
            ),
            {},
            "key_usage",
        ),
        (with_extensions(NO_CA, usage(sign=True), EKU, ODD), {}, "critical_extension"),
        ({"days": 0}, {}, "expired"),
        ({}, {"days": 0}, "expired"),
    ],
)
def test_a_chain_that_does_not_hold_says_why(
    leaf: dict[str, Any], root: dict[str, Any], code: str
) -> None:
    with pytest.raises(EvidenceError) as caught:
        verify_ak_chain([LEAF.der(**leaf), ROOT.der(**root)], ROOTS, now=NOW + timedelta(minutes=1))

    assert caught.value.code == f"evidence.{code}"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_chain_has_two_certificates(count: int) -> None:
    chain = [LEAF.der(), ROOT.der(), ROOT.der(days=2)][:count]
    with pytest.raises(EvidenceError) as caught:
        verify_ak_chain(chain, ROOTS, now=NOW)

    assert caught.value.code == "evidence.chain_incomplete"


def test_a_certificate_is_not_valid_before_its_time() -> None:
    with pytest.raises(EvidenceError) as caught:
        verify_ak_chain([LEAF.der(), ROOT.der()], ROOTS, now=NOW - timedelta(days=2))

    assert caught.value.code == "evidence.not_yet_valid"


def test_an_authority_is_pinned_by_its_key() -> None:
    assert authority_spki_sha256(ROOT.der()) in ROOTS.keys
    with pytest.raises(MalformedEvidenceError, match="host-7"):
        authority_spki_sha256(LEAF.der())
    with pytest.raises(ValueError, match="32 bytes"):
        VtpmRoots(keys=frozenset({b"short"}))
