"""Chains that are signed by the right keys and are wrong all the same."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from atoll.errors import EvidenceError, MalformedEvidenceError, UnsupportedEvidenceError
from atoll.evidence.chain import verify_authorities, verify_chain, verify_crl
from atoll.evidence.products import Product
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.evidence.x509 import Certificate, RevocationList
from support import evidence
from support.evidence import NOW

DAY = timedelta(days=1)
PSS = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)


def _sign(builder: Any, key: rsa.RSAPrivateKey) -> bytes:
    signed = builder.sign(key, SHA384(), rsa_padding=PSS)
    return bytes(signed.public_bytes(Encoding.DER))


def _load(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


def _usage(*, sign: bool, crl: bool) -> x509.KeyUsage:
    no = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(key_cert_sign=sign, crl_sign=crl, **no)


def _remake(
    der: bytes,
    signer: rsa.RSAPrivateKey,
    *,
    key: Any = None,
    drop: tuple[type[Any], ...] = (),
    add: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    subject: x509.Name | None = None,
    issuer: x509.Name | None = None,
) -> bytes:
    """The certificate with something changed, signed again by its rightful issuer."""
    old = _load(der)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or old.subject)
        .issuer_name(issuer or old.issuer)
        .serial_number(old.serial_number)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .public_key(key or old.public_key())
    )
    for item in old.extensions:
        if not isinstance(item.value, drop):
            builder = builder.add_extension(item.value, item.critical)
    for value, critical in add:
        builder = builder.add_extension(value, critical)
    return _sign(builder, signer)


def _code(*certs: bytes, trust: TrustStore | None = None, crls: tuple[bytes, ...] = ()) -> str:
    with pytest.raises(EvidenceError) as caught:
        verify_chain(certs, trust or evidence.trust(), now=NOW, crls=crls)
    return caught.value.code


def _with_ask(**changes: Any) -> str:
    chain, keys = evidence.chain(), evidence.keys()
    return _code(chain.vcek, _remake(chain.ask, keys.ark, **changes), chain.ark)


def _with_vcek(**changes: Any) -> str:
    chain, keys = evidence.chain(), evidence.keys()
    return _code(_remake(chain.vcek, keys.ask, **changes), chain.ask, chain.ark)


def _with_ark(**changes: Any) -> str:
    chain, keys = evidence.chain(), evidence.keys()
    return _code(chain.vcek, chain.ask, _remake(chain.ark, keys.ark, **changes))


CONSTRAINTS, USAGE = x509.BasicConstraints, x509.KeyUsage
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def test_remade_certificates_are_accepted_when_nothing_is_changed() -> None:
    chain, keys = evidence.chain(), evidence.keys()
    certs = (_remake(chain.vcek, keys.ask), _remake(chain.ask, keys.ark), chain.ark)
    assert verify_chain(certs, evidence.trust(), now=NOW).product is Product.SIMULATED


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"drop": (CONSTRAINTS,)}, "evidence.chain_ca"),
        (
            {"drop": (CONSTRAINTS,), "add": ((CONSTRAINTS(ca=False, path_length=None), True),)},
            "evidence.chain_ca",
        ),
        ({"drop": (USAGE,)}, "evidence.key_usage"),
        (
            {"drop": (USAGE,), "add": ((_usage(sign=False, crl=True), True),)},
            "evidence.key_usage",
        ),
        ({"add": ((UNKNOWN, True),)}, "evidence.critical_extension"),
    ],
)
def test_refuses_an_intermediate_that_may_not_issue(changes: dict[str, Any], code: str) -> None:
    assert _with_ask(**changes) == code


def test_an_unknown_extension_is_ignored_when_it_is_not_critical() -> None:
    chain, keys = evidence.chain(), evidence.keys()
    ask = _remake(chain.ask, keys.ark, add=((UNKNOWN, False),))
    assert verify_chain((chain.vcek, ask, chain.ark), evidence.trust(), now=NOW).root.simulated


def test_refuses_a_root_that_allows_no_intermediate() -> None:
    short = (CONSTRAINTS(ca=True, path_length=0), True)
    assert _with_ark(drop=(CONSTRAINTS,), add=(short,)) == "evidence.chain_ca"


def test_refuses_a_vek_that_claims_to_be_a_ca_or_has_a_critical_extension() -> None:
    constraints = CONSTRAINTS(ca=True, path_length=None)
    assert _with_vcek(add=((constraints, False),)) == "evidence.chain_ca"
    assert _with_vcek(add=((UNKNOWN, True),)) == "evidence.critical_extension"


def test_refuses_keys_of_another_kind() -> None:
    p256 = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert _with_vcek(key=p256) == "evidence.chain_key"
    assert _with_vcek(key=evidence.keys().ask.public_key()) == "evidence.chain_key"
    assert _with_ask(key=p256) == "evidence.chain_key"
    small = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    assert _with_ask(key=small) == "evidence.chain_key"


def test_refuses_a_key_that_is_no_point_of_its_curve() -> None:
    chain, keys = evidence.chain(), evidence.keys()
    point = keys.vcek.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    changed = chain.vcek.replace(point, point[:49] + b"\xff" * 48)
    tbs = Certificate.from_bytes(changed).tbs
    signed = changed[:-512] + keys.ask.sign(tbs, PSS, SHA384())
    assert _code(signed, chain.ask, chain.ark) == "evidence.malformed"


def test_refuses_an_issuer_name_that_is_not_the_issuers() -> None:
    stranger = _load(evidence.chain().vcek).subject
    assert _with_vcek(issuer=stranger) == "evidence.chain_names"
    assert _with_ask(issuer=stranger) == "evidence.chain_names"
    assert _with_ark(issuer=stranger) == "evidence.chain_names"


def _renamed(der: bytes, common_name: str) -> x509.Name:
    kept = [item for item in _load(der).subject if item.oid != x509.NameOID.COMMON_NAME]
    return x509.Name([*kept, x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


@pytest.mark.parametrize("name", ["ARK-Naples", "ARK-", "ARK-Milan"])
def test_refuses_a_trusted_key_under_a_name_it_is_not_trusted_for(name: str) -> None:
    renamed = _renamed(evidence.chain().ark, name)
    code = _with_ark(subject=renamed, issuer=renamed)
    assert code in ("evidence.untrusted_root", "evidence.chain_incomplete")


def test_refuses_a_vek_whose_name_and_extensions_disagree() -> None:
    chain, keys = evidence.chain(), evidence.keys()
    vlek_ca = _renamed(chain.ask, "SEV-VLEK-Simulated")
    ask = _remake(chain.ask, keys.ark, subject=vlek_ca)
    vek = _remake(chain.vcek, keys.ask, subject=_renamed(chain.vcek, "SEV-VLEK"), issuer=vlek_ca)
    assert _code(vek, ask, chain.ark) == "evidence.signer"


def test_refuses_a_vek_for_another_product() -> None:
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.3704.1.2")
    old = _load(evidence.chain().vcek)
    milan = x509.UnrecognizedExtension(oid, b"\x16\x05Milan")
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .serial_number(1)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .public_key(old.public_key())
        .add_extension(milan, critical=False)
    )
    for item in old.extensions:
        if item.oid != oid:
            builder = builder.add_extension(item.value, item.critical)
    vek = _sign(builder, evidence.keys().ask)
    assert _code(vek, evidence.chain().ask, evidence.chain().ark) == "evidence.product"


def test_refuses_two_different_intermediates_of_one_name() -> None:
    chain = evidence.chain()
    other = evidence.other_chain().ask
    assert _code(chain.vcek, chain.ask, other, chain.ark) == "evidence.chain_incomplete"


def test_refuses_more_certificates_than_any_chain_has() -> None:
    keys, chain = evidence.keys(), evidence.chain()
    many = [_remake(chain.ask, keys.ark, add=((UNKNOWN, False),)) for _ in range(8)]
    assert _code(*chain.certificates, *many) == "evidence.malformed"


def test_refuses_another_signature_algorithm() -> None:
    old = _load(evidence.chain().ask)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .serial_number(5)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
        .public_key(old.public_key())
    )
    der = builder.sign(evidence.keys().ark, SHA256()).public_bytes(Encoding.DER)
    chain = evidence.chain()
    with pytest.raises(UnsupportedEvidenceError, match="RSASSA-PSS"):
        verify_chain((chain.vcek, der, chain.ark), evidence.trust(), now=NOW)


def _crl(
    *serials: int,
    key: rsa.RSAPrivateKey | None = None,
    issuer: x509.Name | None = None,
    start: timedelta = -DAY,
    end: timedelta = DAY,
    extra: tuple[x509.ExtensionType, bool] | None = None,
) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer or _load(evidence.chain().ark).subject)
        .last_update(NOW + start)
        .next_update(NOW + end)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    if extra:
        builder = builder.add_extension(*extra)
    for serial in serials:
        revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - DAY)
        revoked = revoked.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), False)  # noqa: FBT003
        builder = builder.add_revoked_certificate(revoked.build())
    return _sign(builder, key or evidence.keys().ark)


def test_a_clean_current_list_is_accepted_and_shortens_the_chain() -> None:
    crl = _crl(0x77)
    chain = verify_chain(evidence.chain().certificates, evidence.trust(), now=NOW, crls=[crl])
    assert chain.crl_checked
    assert chain.not_after == NOW + DAY
    assert verify_crl(crl, evidence.chain().ark_pem, now=NOW).serials == frozenset({0x77})


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"serials": (0x10001,)}, "evidence.revoked"),
        ({"start": DAY, "end": 2 * DAY}, "evidence.crl_not_yet_valid"),
        ({"start": -2 * DAY, "end": -DAY}, "evidence.crl_expired"),
        ({"key": "ask"}, "evidence.crl_signature"),
        ({"issuer": "vcek"}, "evidence.crl_issuer"),
        ({"extra": (x509.DeltaCRLIndicator(1), True)}, "evidence.malformed"),
    ],
)
def test_refuses_by_a_revocation_list(options: dict[str, Any], code: str) -> None:
    serials = options.pop("serials", ())
    if options.get("key"):
        options["key"] = evidence.keys().ask
    if options.get("issuer"):
        options["issuer"] = _load(evidence.chain().vcek).subject
    assert _code(*evidence.chain().certificates, crls=(_crl(*serials, **options),)) == code


def test_refuses_a_list_by_a_root_that_may_not_sign_lists() -> None:
    chain, keys = evidence.chain(), evidence.keys()
    usage = (_usage(sign=True, crl=False), True)
    ark = _remake(chain.ark, keys.ark, drop=(USAGE,), add=(usage,))
    assert _code(chain.vcek, chain.ask, ark, crls=(_crl(),)) == "evidence.key_usage"


def test_refuses_too_many_lists_and_broken_ones() -> None:
    assert _code(*evidence.chain().certificates, crls=(_crl(),) * 5) == "evidence.malformed"
    raw = _crl(1, 2)
    for size in range(0, len(raw), 5):
        with pytest.raises(MalformedEvidenceError):
            RevocationList.from_bytes(raw[:size])
    for at in range(len(raw)):
        bad = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(EvidenceError):
            verify_crl(bad, evidence.chain().ark, now=NOW)


def test_authorities_need_a_trusted_root_and_an_intermediate_of_its_product() -> None:
    chain = evidence.chain()
    for certs, trust, code in (
        ((chain.ark, chain.ask), PRODUCTION, "evidence.untrusted_root"),
        ((chain.ark,), evidence.trust(), "evidence.chain_incomplete"),
        ((chain.ark, chain.vcek), evidence.trust(), "evidence.chain_names"),
    ):
        with pytest.raises(EvidenceError) as caught:
            verify_authorities(certs, trust, now=NOW)
        assert caught.value.code == code
