"""The signed token: only ours, only now, only about this evidence, only affirming."""

from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import RejectedEvidenceError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.ear import PROFILE, issue_ear, trust_vector, verify_ear
from atoll.evidence.findings import Appraisal
from atoll.evidence.trust import PRODUCTION
from support import evidence
from support.evidence import MANIFEST, NONCE, NOW

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
KEYS = {"k1": KEY.public_key()}
RAW = documents.encode(evidence.document())
DIGEST = documents.digest(RAW)


def _appraisal(**options: Any) -> Appraisal:
    given: dict[str, Any] = {"trust": evidence.trust(), "policy": evidence.policy()}
    return appraise_document(
        RAW, manifest_digest=MANIFEST, nonce=NONCE, now=NOW, **(given | options)
    )


def _issue(appraisal: Appraisal | None = None, **options: Any) -> str:
    given: dict[str, Any] = {
        "evidence_digest": DIGEST,
        "nonce": NONCE,
        "issuer": "urn:test:attestor",
        "key": KEY,
        "kid": "k1",
        "now": NOW,
        "ttl_s": 300,
    }
    return issue_ear(appraisal or _appraisal(), **(given | options))


def _code(token: str, **options: Any) -> str:
    given: dict[str, Any] = {"keys": KEYS, "evidence_digest": DIGEST, "now": NOW}
    with pytest.raises(RejectedEvidenceError) as caught:
        verify_ear(token, **(given | options))
    return caught.value.code


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _forge(changes: dict[str, Any], *, drop: str = "", key: Any = KEY, **options: Any) -> str:
    claims = _claims(_issue()) | changes
    claims.pop(drop, None)
    headers = {"kid": "k1", "typ": "JWT"} | options.get("headers", {})
    return jwt.encode(claims, key, algorithm=options.get("algorithm", "EdDSA"), headers=headers)


def test_a_token_says_what_was_appraised() -> None:
    ear = verify_ear(_issue(), KEYS, evidence_digest=DIGEST, now=NOW)
    assert (ear.tee.value, ear.issuer) == ("sev-snp", "urn:test:attestor")
    assert (ear.issued_at, ear.expires_at) == (NOW, NOW + timedelta(seconds=300))
    assert (ear.evidence_digest, ear.nonce) == (DIGEST, NONCE)
    assert ear.policy_digest == evidence.policy().digest


def test_a_simulated_result_is_loud_and_claims_no_hardware() -> None:
    ear = verify_ear(_issue(), KEYS, evidence_digest=DIGEST, now=NOW)
    assert ear.simulated
    claims = _claims(_issue())
    assert claims["atoll.simulated"] is True
    vector = claims["submods"]["sev-snp"]["ear_trustworthiness_vector"]
    assert (vector["hardware"], vector["instance-identity"], vector["runtime-opaque"]) == (0, 0, 0)
    assert (vector["executables"], vector["configuration"]) == (2, 2)


def test_follows_the_profile_of_the_draft() -> None:
    claims = _claims(_issue())
    assert claims["eat_profile"] == PROFILE
    assert claims["ear_verifier_id"]["developer"] == "urn:test:attestor"
    submodule = claims["submods"]["sev-snp"]
    assert submodule["ear_status"] == "affirming"
    assert submodule["ear_appraisal_policy_ids"][0].startswith("ni:///sha-256;")


def test_a_failed_appraisal_is_contraindicated_and_refused() -> None:
    failed = _appraisal(trust=PRODUCTION)
    assert trust_vector(failed)["hardware"] == 96
    assert trust_vector(failed)["executables"] == 0
    token = _issue(failed)
    assert _claims(token)["submods"]["sev-snp"]["ear_status"] == "contraindicated"
    assert _code(token) == "ear.status"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"now": NOW + timedelta(seconds=300)}, "ear.expired"),
        ({"now": NOW - timedelta(seconds=61)}, "ear.not_yet_valid"),
        ({"evidence_digest": bytes(32)}, "ear.evidence"),
        ({"keys": {}}, "ear.key"),
        ({"keys": {"k2": KEY.public_key()}}, "ear.key"),
        ({"keys": {"k1": OTHER.public_key()}}, "ear.signature"),
    ],
)
def test_refuses_a_token_out_of_place(options: dict[str, Any], code: str) -> None:
    assert _code(_issue(), **options) == code


@pytest.mark.parametrize(
    "changes",
    [
        {"eat_profile": "tag:example.org,2026:other"},
        {"atoll.simulated": "true"},
        {"atoll.evidence_digest": 7},
        {"iat": "now"},
        {"exp": 1.5},
        {"exp": True},
        {"exp": 1 << 70},
        {"eat_nonce": 5},
        {"iss": 5},
        {"submods": {}},
        {"submods": {"tdx": {}}},
        {"submods": {"sev-snp": 5}},
        {"submods": 5},
    ],
)
def test_refuses_claims_that_are_not_ours_even_when_signed(changes: dict[str, Any]) -> None:
    token = _forge(changes) if changes.get("iss") != 5 else _raw_forge(changes)
    assert _code(token) == "ear.malformed"


def _raw_forge(changes: dict[str, Any]) -> str:
    """As `_forge`, past PyJWT's own check of the issuer's type."""
    import json

    claims = json.dumps(_claims(_issue()) | changes).encode()
    return jwt.api_jws.encode(claims, KEY, algorithm="EdDSA", headers={"kid": "k1", "typ": "JWT"})


@pytest.mark.parametrize(
    "drop",
    ["eat_profile", "iat", "exp", "submods", "atoll.simulated", "atoll.evidence_digest", "iss"],
)
def test_refuses_a_token_without_a_claim(drop: str) -> None:
    assert _code(_forge({}, drop=drop)) == "ear.malformed"


@pytest.mark.parametrize("payload", [b"[]", b"7", b"{", b"\xff"])
def test_refuses_a_signed_payload_that_is_no_object(payload: bytes) -> None:
    headers = {"kid": "k1", "typ": "JWT"}
    assert _code(jwt.api_jws.encode(payload, KEY, "EdDSA", headers)) == "ear.malformed"


def test_refuses_other_algorithms() -> None:
    assert _code(_forge({}, key="", algorithm="none")) == "ear.malformed"
    secret = b"s" * 64
    assert _code(_forge({}, key=secret, algorithm="HS256")) == "ear.malformed"


@pytest.mark.parametrize("headers", [{"crit": ["x"], "x": 1}, {"jku": "https://example.org"}])
def test_refuses_headers_that_it_does_not_know(headers: dict[str, Any]) -> None:
    assert _code(_forge({}, headers=headers)) == "ear.malformed"


@given(st.data())
@settings(max_examples=150)
def test_no_character_of_a_token_is_ignored(data: st.DataObject) -> None:
    token = _issue()
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABab01-_.="))
    changed = token[:at] + other + token[at + 1 :]
    if changed == token:
        return
    with pytest.raises(RejectedEvidenceError):
        verify_ear(changed, KEYS, evidence_digest=DIGEST, now=NOW)


def test_there_is_one_text_of_one_token() -> None:
    token = _issue()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in set(alphabet) - {token[-1]}:
        # The last character of a signature has four bits that carry nothing.
        assert _code(token[:-1] + other) in ("ear.malformed", "ear.signature")
    for tail in ("=", "==", "\n", " ", "."):
        assert _code(token + tail) == "ear.malformed"


@given(st.text(max_size=60))
@settings(max_examples=80)
def test_arbitrary_text_is_refused(text: str) -> None:
    assert _code(text).startswith("ear.")


def test_refuses_an_endless_token() -> None:
    assert _code("a" * 20_000) == "ear.malformed"


@pytest.mark.parametrize(
    "options", [{"evidence_digest": bytes(32)}, {"ttl_s": 0}, {"ttl_s": 90_000}]
)
def test_our_own_mistakes_are_not_signed(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"other evidence|lifetime"):
        _issue(**options)
