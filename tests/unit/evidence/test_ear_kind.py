"""The signed token on evidence of a kind: either verdict, this evidence, now, and no enclave's."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import RejectedEvidenceError
from atoll.evidence import document as documents
from atoll.evidence.ear import MAX_TOKEN, PROFILE, issue_ear, trust_vector, verify_ear
from atoll.evidence.ear_kind import (
    MAX_CLAIM,
    MAX_CLAIM_NAME,
    MAX_CLAIMS,
    KindEar,
    issue_kind_ear,
    verify_kind_ear,
)
from atoll.evidence.findings import Appraisal
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.policy.kinds import appraise_kind
from support import evidence
from support.evidence import NONCE, NOW
from support.reports import appraise, report

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
KEYS = {"k1": KEY.public_key()}
HEADERS = {"kid": "k1", "typ": "JWT"}
KIND = "snp_report"
RAW = report()
DIGEST = documents.digest(RAW)
POLICY = b"\x33" * 32
REQUIRED = {
    *("eat_profile", "iss", "iat", "exp", "submods"),
    *("atoll.kind", "atoll.simulated", "atoll.evidence_digest"),
    *("ear_status", "ear_appraisal_policy_ids", "atoll.reason"),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@cache
def _appraisal(trust: TrustStore | None = None) -> Appraisal:
    return appraise_kind(
        KIND,
        RAW,
        files={"certs": evidence.chain().certificates},
        policy={},
        policy_digest=POLICY.hex(),
        product="",
        trust=trust or evidence.trust(),
        now=NOW,
        evidence_digest=DIGEST.hex(),
    )


def _issue(appraisal: Appraisal | None = None, **options: Any) -> str:
    given: dict[str, Any] = {
        "kind": KIND,
        "evidence_digest": DIGEST,
        "nonce": NONCE,
        "issuer": "urn:test:attestor",
        "key": KEY,
        "kid": "k1",
        "now": NOW,
        "ttl_s": 300,
    }
    return issue_kind_ear(appraisal or _appraisal(), **(given | options))


def _verify(token: str, **options: Any) -> KindEar:
    given: dict[str, Any] = {"keys": KEYS, "kind": KIND, "evidence_digest": DIGEST}
    given |= {"nonce": NONCE, "now": NOW}
    return verify_kind_ear(token, **(given | options))


def _code(token: str, **options: Any) -> str:
    with pytest.raises(RejectedEvidenceError) as caught:
        _verify(token, **options)
    return caught.value.code


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def _forge(claims: dict[str, Any]) -> str:
    """Whatever claims under the right key, past PyJWT's own checks of types."""
    return jwt.api_jws.encode(json.dumps(claims).encode(), KEY, algorithm="EdDSA", headers=HEADERS)


def _changed(changes: dict[str, Any]) -> str:
    return _forge(_claims(_issue()) | changes)


def test_a_token_says_what_was_appraised() -> None:
    ear = _verify(_issue())
    assert (ear.kind, ear.issuer, ear.nonce) == (KIND, "urn:test:attestor", NONCE)
    assert (ear.status, ear.reason, ear.is_affirming) == ("affirming", "", True)
    assert (ear.issued_at, ear.expires_at) == (NOW, NOW + timedelta(seconds=300))
    assert ear.policy_digest == POLICY


def test_a_failed_appraisal_is_read_with_its_reason() -> None:
    ear = _verify(_issue(_appraisal(PRODUCTION)))
    assert (ear.status, ear.reason, ear.is_affirming) == ("contraindicated", "snp.root", False)
    assert _claims(_issue(_appraisal(PRODUCTION)))["submods"][KIND]["atoll.claims"] == {}


def test_a_simulated_result_is_loud_and_claims_no_hardware() -> None:
    assert _verify(_issue()).simulated
    claims = _claims(_issue())
    assert claims["atoll.simulated"] is True
    vector = claims["submods"][KIND]["ear_trustworthiness_vector"]
    assert vector == trust_vector(_appraisal())
    assert (vector["hardware"], vector["instance-identity"], vector["runtime-opaque"]) == (0, 0, 0)


def test_an_empty_nonce_is_left_out_and_no_other_answers_it() -> None:
    token = _issue(nonce=b"")
    assert "eat_nonce" not in _claims(token)
    assert _verify(token, nonce=b"").nonce == b""
    assert _code(token) == "ear.nonce"
    assert _code(_issue(), nonce=b"") == "ear.nonce"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"now": NOW + timedelta(seconds=300)}, "ear.expired"),
        ({"now": NOW - timedelta(seconds=61)}, "ear.not_yet_valid"),
        ({"evidence_digest": bytes(32)}, "ear.evidence"),
        ({"kind": "snp_extended_report"}, "ear.evidence"),
        ({"nonce": NONCE[:-1]}, "ear.nonce"),
        ({"keys": {}}, "ear.key"),
        ({"keys": {"k2": KEY.public_key()}}, "ear.key"),
        ({"keys": {"k1": OTHER.public_key()}}, "ear.signature"),
    ],
)
def test_refuses_a_token_out_of_place(options: dict[str, Any], code: str) -> None:
    assert _code(_issue(), **options) == code


def test_a_token_holds_from_a_minute_before_it_was_issued_to_its_last_second() -> None:
    for seconds in (-60, 299):
        assert _verify(_issue(), now=NOW + timedelta(seconds=seconds)).is_affirming


def test_a_token_of_one_form_is_malformed_to_whoever_expects_the_other() -> None:
    with pytest.raises(RejectedEvidenceError) as caught:
        verify_ear(_issue(), KEYS, evidence_digest=DIGEST, now=NOW)
    assert caught.value.code == "ear.malformed"
    raw = documents.encode(evidence.document())
    digest = documents.digest(raw)
    given: dict[str, Any] = {"evidence_digest": digest, "nonce": NONCE, "now": NOW, "ttl_s": 300}
    token = issue_ear(appraise(raw), **given, issuer="urn:test:attestor", key=KEY, kid="k1")
    assert _code(token, kind="sev-snp", evidence_digest=digest) == "ear.malformed"


@pytest.mark.parametrize(
    "kind", ["", "SNP", "9th", "a" * 41, "snp_report\n", "sev-snp", "tdx", "keystone"]
)
def test_what_is_no_kind_or_could_be_an_enclaves_tee_is_not_signed(kind: str) -> None:
    with pytest.raises(ValueError, match="no name of a kind"):
        _issue(kind=kind)


@pytest.mark.parametrize(
    "options", [{"evidence_digest": bytes(32)}, {"ttl_s": 0}, {"ttl_s": 90_000}]
)
def test_our_own_mistakes_are_not_signed(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"other evidence|lifetime"):
        _issue(**options)


@pytest.mark.parametrize(
    "changes",
    [
        {"eat_profile": "tag:example.org,2026:other"},
        {"atoll.simulated": "true"},
        {"atoll.evidence_digest": 7},
        {"atoll.evidence_digest": "zz"},
        {"atoll.kind": "tdx_quote"},
        {"atoll.kind": None},
        {"iat": "now"},
        {"exp": 1.5},
        {"exp": True},
        {"exp": 1 << 70},
        {"eat_nonce": 5},
        {"eat_nonce": "\u00e9"},
        {"iss": 5},
        {"submods": {}},
        {"submods": {"tdx_quote": {}}},
        {"submods": {KIND: 5}},
        {"submods": {KIND: {}, "tdx_quote": {}}},
        {"submods": [KIND]},
    ],
)
def test_refuses_claims_that_are_not_ours_even_when_signed(changes: dict[str, Any]) -> None:
    assert _code(_changed(changes)) == "ear.malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"ear_status": "none"},
        {"ear_status": ["affirming"]},
        {"ear_appraisal_policy_ids": []},
        {"ear_appraisal_policy_ids": [5]},
        {"ear_appraisal_policy_ids": ["ni:///sha-256;~"]},
        {"atoll.reason": None},
    ],
)
def test_refuses_a_submodule_that_is_not_ours_even_when_signed(changes: dict[str, Any]) -> None:
    submodule = _claims(_issue())["submods"][KIND] | changes
    assert _code(_changed({"submods": {KIND: submodule}})) == "ear.malformed"


@pytest.mark.parametrize("drop", sorted(REQUIRED))
def test_refuses_a_token_without_a_claim(drop: str) -> None:
    claims = _claims(_issue())
    del (claims if drop in claims else claims["submods"][KIND])[drop]
    assert _code(_forge(claims)) == "ear.malformed"


@given(name=st.sampled_from(sorted(_claims(_issue()))), value=JSON)
@settings(max_examples=100, deadline=None)
def test_any_json_under_the_right_key_is_read_or_refused(name: str, value: Any) -> None:
    with suppress(RejectedEvidenceError):
        assert _verify(_changed({name: value})).is_affirming


@given(st.text(max_size=60))
@settings(max_examples=80)
def test_arbitrary_text_is_refused(text: str) -> None:
    assert _code(text).startswith("ear.")


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_character_of_a_token_is_ignored(data: st.DataObject) -> None:
    token = _issue()
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.sampled_from("ABab01-_.=")) + token[at + 1 :]
    if changed != token:
        assert _code(changed).startswith("ear.")


def test_an_independent_reader_takes_the_token_and_its_times() -> None:
    token = _issue(now=datetime.now(UTC))
    claims = jwt.decode(token, KEY.public_key(), algorithms=["EdDSA"], issuer="urn:test:attestor")
    assert (claims["eat_profile"], claims["atoll.kind"]) == (PROFILE, KIND)
    assert claims["ear_verifier_id"]["developer"] == "urn:test:attestor"
    assert claims["submods"][KIND]["ear_appraisal_policy_ids"][0].startswith("ni:///sha-256;")
    assert jwt.get_unverified_header(token) == HEADERS | {"alg": "EdDSA"}


def _repeated(**claims: str) -> dict[str, str]:
    token = _issue(replace(_appraisal(), claims=claims))
    assert _verify(token).is_affirming
    repeated: dict[str, str] = _claims(token)["submods"][KIND]["atoll.claims"]
    return repeated


def test_the_first_short_claims_are_repeated() -> None:
    claims = {f"c{number}": "x" * MAX_CLAIM for number in range(MAX_CLAIMS + 1)}
    short = dict(list(claims.items())[:MAX_CLAIMS])
    assert _repeated(long="x" * (MAX_CLAIM + 1), **claims) == short
    assert _repeated(**{"n" * MAX_CLAIM_NAME: "", "n" * (MAX_CLAIM_NAME + 1): ""}) == {
        "n" * MAX_CLAIM_NAME: ""
    }


@pytest.mark.parametrize("character", ["x", "\n", '"', "\u00e9", "\U0001f600"])
def test_no_claims_make_a_token_that_is_too_long_to_be_read(character: str) -> None:
    fits = MAX_CLAIM // (len(json.dumps(character)) - 2)
    claims = {f"{number:064}": character * fits for number in range(MAX_CLAIMS)}
    assert _repeated(longer=character * (fits + 1), **claims) == claims
    assert len(_issue(replace(_appraisal(), claims=claims))) <= MAX_TOKEN
