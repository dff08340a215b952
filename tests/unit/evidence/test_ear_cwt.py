"""The CBOR token: what the JWT says, only ours, only now, only about this evidence."""

from datetime import timedelta
from typing import Any

import cbor2
import pytest
import scitt_cose
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt as other_jwt
from joserfc.jwk import OKPKey

from atoll import cbor, cose
from atoll.errors import RejectedEvidenceError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.ear import PROFILE, issue_ear, verify_ear
from atoll.evidence.ear_cwt import MEDIA_TYPE, issue_ear_cwt, verify_ear_cwt
from atoll.evidence.findings import Appraisal
from support import evidence
from support.evidence import MANIFEST, NONCE, NOW

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
KEYS = {"k1": KEY.public_key()}
RAW = documents.encode(evidence.document())
DIGEST = documents.digest(RAW)
GIVEN: dict[str, Any] = {
    "evidence_digest": DIGEST,
    "nonce": NONCE,
    "issuer": "urn:test:attestor",
    "key": KEY,
    "kid": "k1",
    "now": NOW,
    "ttl_s": 300,
}


def _appraisal(**options: Any) -> Appraisal:
    return appraise_document(
        RAW,
        trust=evidence.trust(),
        policy=evidence.policy(**options),
        manifest_digest=MANIFEST,
        nonce=NONCE,
        now=NOW,
    )


def _issue(**options: Any) -> bytes:
    return issue_ear_cwt(_appraisal(), **(GIVEN | options))


TOKEN = _issue()


def _code(token: bytes, **options: Any) -> str:
    given: dict[str, Any] = {"keys": KEYS, "evidence_digest": DIGEST, "now": NOW}
    with pytest.raises(RejectedEvidenceError) as caught:
        verify_ear_cwt(token, **(given | options))
    return caught.value.code


def _claims() -> dict[Any, Any]:
    claims: dict[Any, Any] = cbor2.loads(cbor2.loads(TOKEN).value[2])
    return claims


def _forge(claims: Any) -> bytes:
    return cose.sign1(cbor.dumps(claims), KEY, kid=b"k1", protected={cose.TYP: MEDIA_TYPE})


def test_says_the_same_as_the_jwt() -> None:
    from_jwt = verify_ear(issue_ear(_appraisal(), **GIVEN), KEYS, evidence_digest=DIGEST, now=NOW)
    assert verify_ear_cwt(TOKEN, KEYS, evidence_digest=DIGEST, now=NOW) == from_jwt


def test_is_smaller_than_the_jwt() -> None:
    assert len(TOKEN) < len(issue_ear(_appraisal(), **GIVEN))


def test_an_independent_library_reads_it_by_the_labels_of_the_draft() -> None:
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    read = scitt_cose.verify_sign1(TOKEN, public_key_pem=public)
    claims = cbor2.loads(read.payload)
    assert read.protected == {1: -8, 4: b"k1", 16: "application/eat+cwt"}
    assert claims[265] == PROFILE
    assert (claims[1], claims[10]) == ("urn:test:attestor", NONCE)
    assert (claims[6], claims[4]) == (int(NOW.timestamp()), int(NOW.timestamp()) + 300)
    assert claims[1004] == {0: "urn:test:attestor", 1: "atoll-attestor"}
    submodule = claims[266]["sev-snp"]
    assert submodule[1000] == 2
    assert submodule[1001] == {0: 0, 1: 2, 2: 2, 4: 0, 5: 0}
    assert submodule[1003][0].startswith("ni:///sha-256;")


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # by RFC 9864; the drafts still use it
def test_an_independent_library_reads_the_jwt() -> None:
    key = OKPKey.import_key(
        KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    read = other_jwt.decode(issue_ear(_appraisal(), **GIVEN), key, algorithms=["Ed25519", "EdDSA"])
    assert read.header == {"alg": "EdDSA", "kid": "k1", "typ": "JWT"}
    assert read.claims["eat_profile"] == PROFILE
    assert read.claims["submods"]["sev-snp"]["ear_status"] == "affirming"


def test_refuses_a_result_that_is_not_affirming() -> None:
    bad = issue_ear_cwt(_appraisal(measurements=frozenset({bytes(48)})), **GIVEN)
    assert cbor2.loads(cbor2.loads(bad).value[2])[266]["sev-snp"][1000] == 96
    assert _code(bad) == "ear.status"


def test_refuses_other_evidence_and_other_times() -> None:
    assert _code(TOKEN, evidence_digest=bytes(32)) == "ear.evidence"
    assert _code(TOKEN, now=NOW + timedelta(seconds=300)) == "ear.expired"
    assert _code(TOKEN, now=NOW - timedelta(seconds=61)) == "ear.not_yet_valid"
    verify_ear_cwt(TOKEN, KEYS, evidence_digest=DIGEST, now=NOW - timedelta(seconds=60))


def test_refuses_another_signer() -> None:
    assert _code(_issue(kid="k2")) == "ear.key"
    assert _code(_issue(key=OTHER)) == "ear.signature"


def test_refuses_a_message_of_another_type_by_the_same_key() -> None:
    assert _code(cose.sign1(cbor.dumps(_claims()), KEY, kid=b"k1", protected={})) == "ear.malformed"
    other = cose.sign1(
        cbor.dumps(_claims()), KEY, kid=b"k1", protected={cose.TYP: "application/rim+cbor"}
    )
    assert _code(other) == "ear.malformed"


@pytest.mark.parametrize("label", sorted(_claims()))
def test_refuses_a_missing_claim(label: int) -> None:
    claims = _claims()
    del claims[label]
    assert _code(_forge(claims)) == "ear.malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {7: b"cti"},
        {265: "tag:ietf.org,2026:rats/ear#03"},
        {266: {}},
        {266: {"sev-snp": {}, "tdx": {}}},
        {266: {"sgx": _claims()[266]["sev-snp"]}},
        {266: []},
        {-75301: 0},
        {-75300: "00"},
        {6: True},
        {6: 1 << 62},
        {1: b"x"},
        {10: "x"},
    ],
)
def test_refuses_claims_that_are_unknown_or_of_another_type(changes: dict[int, Any]) -> None:
    assert _code(_forge(_claims() | changes)) == "ear.malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {1005: 1},
        {1000: True},
        {1001: {0: 128}},
        {1001: {0: True}},
        {1001: {8: 2}},
        {1001: []},
        {1003: []},
        {1003: ["ni:///sha-256;AAAA"]},
        {1003: ["https://example.org/policy"]},
        {1003: [1]},
    ],
)
def test_refuses_a_submodule_that_is_not_ours(changes: dict[int, Any]) -> None:
    submodule = _claims()[266]["sev-snp"] | changes
    assert _code(_forge(_claims() | {266: {"sev-snp": submodule}})) == "ear.malformed"


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_and_payloads_give_the_one_documented_error(raw: bytes) -> None:
    assert _code(raw) == "ear.malformed"
    signed = cose.sign1(raw, KEY, kid=b"k1", protected={cose.TYP: MEDIA_TYPE})
    assert _code(signed) == "ear.malformed"


def test_no_bit_of_a_token_is_ignored() -> None:
    for at in range(len(TOKEN)):
        raw = bytearray(TOKEN)
        raw[at] ^= 1 << (at % 8)
        assert _code(bytes(raw)) in {"ear.malformed", "ear.key", "ear.signature"}


def test_our_own_mistakes_are_no_token() -> None:
    with pytest.raises(ValueError, match="other evidence"):
        _issue(evidence_digest=bytes(32))
    for ttl_s in (0, 24 * 3600 + 1):
        with pytest.raises(ValueError, match="lifetime"):
            _issue(ttl_s=ttl_s)
