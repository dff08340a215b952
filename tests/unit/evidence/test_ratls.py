"""RA-TLS certificates: the key, the claims and the quote belong together."""

import base64
import hashlib
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384, SHA512
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import (
    EvidenceError,
    InputError,
    MalformedEvidenceError,
    RejectedEvidenceError,
    UnsupportedEvidenceError,
)
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.reports import EnclaveReport
from atoll.evidence.dcap.verify import verify_quote_crypto
from atoll.evidence.policy_forms import UNCHECKED, Unchecked
from atoll.evidence.ratls import (
    ProveQuote,
    VerifiedRaTls,
    ratls_quote,
    read_ratls,
    verify_ratls,
)
from atoll.evidence.ratls_judge import judge_ratls_cert
from support import dcap, dcap_bodies, judging, ratls, vectors
from support.ratls import NOW, QUOTE, Tls, cbor, claims, evidence

CLAIMS = claims(nonce=b"fresh")
GOOD = Tls(value=evidence(CLAIMS))


def proving(said: bytes, data: bytes | None = None) -> ProveQuote:
    """Accepts QUOTE alone, as a quote that commits to these claims."""

    def prove(raw: bytes) -> Quote:
        if raw != QUOTE:
            raise RejectedEvidenceError("forged", code="evidence.signature")
        return dcap_bodies.quote(dcap_bodies.enclave(data or ratls.report_data(said)))

    return prove


def verify(
    raw: bytes,
    prove: ProveQuote | None = None,
    *,
    now: datetime = NOW,
    nonce: bytes | Unchecked = b"fresh",
) -> VerifiedRaTls:
    return verify_ratls(raw, prove or proving(CLAIMS), now=now, nonce=nonce)


def rejected(raw: bytes, prove: ProveQuote | None = None, **changes: Any) -> str:
    with pytest.raises(RejectedEvidenceError) as caught:
        verify(raw, prove, **changes)
    return caught.value.code.removeprefix("evidence.")


@pytest.mark.parametrize("case", vectors.of_kind("ratls_cert"), ids=judging.name)
def test_published_vector_is_judged_as_it_says(case: dict[str, Any]) -> None:
    judging.agrees(judge_ratls_cert, case)


def test_the_published_certificate_has_no_nonce_and_needs_a_time() -> None:
    vectors.require()
    case = vectors.of_kind("ratls_cert")[0]
    got = judging.judge(judge_ratls_cert, {**case, "policy": {"nonce": "00"}})
    assert got.reason == "nonce_mismatch"
    for change in ({"policy": {"mrenclave": "00"}}, {"verify_time": None}):
        with pytest.raises(InputError):
            judging.judge(judge_ratls_cert, {**case, **change})


def test_a_certificate_whose_parts_fit_is_verified() -> None:
    verified = verify(GOOD.der())
    assert verified.spki == ratls.spki()
    assert verified.claims["nonce"] == b"fresh"
    pem = b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % base64.encodebytes(
        GOOD.der()
    )
    assert verify(pem) == verified


def test_the_quote_is_given_as_it_came() -> None:
    assert ratls_quote(GOOD.der()) == QUOTE
    with pytest.raises(EvidenceError):
        ratls_quote(b"no certificate")


def test_attack_evidence_relayed_in_a_certificate_for_another_key() -> None:
    assert rejected(Tls(value=GOOD.value, key=ratls.other_key()).der()) == "pubkey_binding_mismatch"


def test_attack_claims_rewritten_around_a_genuine_quote() -> None:
    mine = claims(ratls.other_key(), nonce=b"fresh")
    relayed = Tls(value=evidence(mine), key=ratls.other_key()).der()
    assert rejected(relayed) == "claims_binding_mismatch"


def test_a_whole_certificate_with_a_signed_quote_is_verified_and_read() -> None:
    body = dcap.enclave_report(mr_enclave=b"\x07" * 32, report_data=ratls.report_data(CLAIMS))
    raw = Tls(value=evidence(CLAIMS, dcap.Platform.sgx(body=body).quote())).der()

    def prove(quote: bytes) -> Quote:
        return verify_quote_crypto(quote, dcap.roots(), now=NOW).quote

    verified = verify(raw, prove)
    assert isinstance(verified.quote.body, EnclaveReport)
    assert verified.quote.body.mr_enclave == b"\x07" * 32
    certificate, quote, said = read_ratls(raw)
    assert (certificate.spki, quote, said) == (verified.spki, verified.quote, verified.claims)


@pytest.mark.parametrize("at", [0, 31, 32, 63])
def test_attack_16_only_a_part_of_report_data_compared(at: int) -> None:
    data = bytearray(ratls.report_data(CLAIMS))
    data[at] ^= 1
    assert rejected(GOOD.der(), proving(CLAIMS, bytes(data))) == "claims_binding_mismatch"


def test_what_the_quote_verifier_refuses_is_refused() -> None:
    assert rejected(Tls(value=evidence(CLAIMS, b"other")).der()) == "signature"


def test_a_certificate_signed_by_another_key_is_refused() -> None:
    assert rejected(Tls(value=GOOD.value, signer=ratls.other_key()).der()) == (
        "certificate_signature"
    )


@pytest.mark.parametrize("nonce", [b"", b"fres", b"fresh\x00"])
def test_the_nonce_is_compared_unless_unchecked(nonce: bytes) -> None:
    assert rejected(GOOD.der(), nonce=nonce) == "nonce_mismatch"
    verify(GOOD.der(), nonce=UNCHECKED)


def test_claims_without_a_nonce_answer_no_challenge() -> None:
    said = claims()
    raw = Tls(value=evidence(said)).der()
    assert rejected(raw, proving(said), nonce=b"") == "nonce_mismatch"
    verify(raw, proving(said), nonce=UNCHECKED)


def test_it_is_valid_only_between_its_dates() -> None:
    second = timedelta(seconds=1)
    verify(GOOD.der(), now=ratls.FROM)
    verify(GOOD.der(), now=ratls.UNTIL)
    assert rejected(GOOD.der(), now=ratls.FROM - second) == "not_yet_valid"
    assert rejected(GOOD.der(), now=ratls.UNTIL + second) == "expired"


def test_an_unknown_critical_extension_is_refused() -> None:
    assert rejected(Tls(value=GOOD.value, critical="1.2.3.4").der()) == "critical_extension"


@pytest.mark.parametrize("kind", [SHA384(), SHA512()], ids=["sha384", "sha512"])
def test_other_sha2_signatures_are_taken(kind: SHA384 | SHA512) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    said = claims(key, nonce=b"fresh")
    verify(Tls(value=evidence(said), key=key, hash=kind).der(), proving(said))


@pytest.mark.parametrize(("number", "name"), [(1, "sha256"), (7, "sha384"), (8, "sha512")])
def test_pubkey_hash_names_its_hash(number: int, name: str) -> None:
    for named in (1, 7, 8):
        bound = cbor([named, hashlib.new(name, ratls.spki()).digest()])
        said = cbor({"pubkey-hash": bound, "nonce": b"fresh"})
        raw = Tls(value=evidence(said)).der()
        if named == number:
            verify(raw, proving(said))
        else:
            assert rejected(raw, proving(said)) == "pubkey_binding_mismatch"


def test_other_kinds_of_keys_are_unsupported() -> None:
    for tls in (
        Tls(value=GOOD.value, key=ratls.rsa_key()),
        Tls(value=GOOD.value, key=ratls.rsa_key(), signer=ratls.key()),
    ):
        with pytest.raises(UnsupportedEvidenceError):
            verify(tls.der())


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        cbor([QUOTE, CLAIMS]),
        evidence(CLAIMS, tag=60001),
        evidence(CLAIMS) + b"\x00",
        evidence(CLAIMS)[:-1],
        ratls.head(6, 60000) + cbor([QUOTE]),
        ratls.head(6, 60000) + cbor([QUOTE, CLAIMS, b""]),
        ratls.head(6, 60000) + cbor(["quote", CLAIMS]),
        ratls.head(6, 60000) + cbor({"quote": QUOTE}),
        evidence(b""),
        evidence(cbor([])),
        evidence(cbor({"nonce": b"fresh"})),
        evidence(cbor({"pubkey-hash": 5, "nonce": b"fresh"})),
        evidence(cbor({"pubkey-hash": b"", "nonce": b"fresh"})),
        evidence(cbor({"pubkey-hash": cbor([2, bytes(32)])})),
        evidence(cbor({"pubkey-hash": cbor(["sha256", bytes(32)])})),
        evidence(cbor({"pubkey-hash": cbor([1])})),
    ],
)
def test_evidence_in_another_form_is_malformed(value: bytes | None) -> None:
    with pytest.raises(MalformedEvidenceError):
        verify(Tls(value=value).der())


def test_several_certificates_are_refused() -> None:
    body = base64.encodebytes(GOOD.der())
    pem = b"-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % body
    with pytest.raises(MalformedEvidenceError):
        verify(pem + pem)


def test_an_unreadable_key_is_malformed() -> None:
    raw = GOOD.der()
    point = ratls.spki()[-64:]
    with pytest.raises(MalformedEvidenceError):
        verify(raw.replace(point, bytes(64)))


def test_every_truncation_and_every_changed_byte_is_refused() -> None:
    raw = GOOD.der()
    for size in range(len(raw)):
        with pytest.raises(EvidenceError):
            verify(raw[:size])
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        with pytest.raises(EvidenceError):
            verify(bytes(changed))


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        verify(raw)
    with pytest.raises(EvidenceError):
        verify(b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(raw))


@given(st.binary(max_size=120))
@settings(max_examples=100, deadline=None)
def test_an_extension_of_arbitrary_bytes_is_malformed(value: bytes) -> None:
    with pytest.raises(MalformedEvidenceError):
        verify(Tls(value=value).der())
