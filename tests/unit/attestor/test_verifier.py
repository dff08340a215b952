"""The attestor's answers: a signed verdict on evidence, an error for what is none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from atoll.errors import AtollError, MalformedEvidenceError, RefusedError, UnreachableError
from atoll.evidence import document as documents
from atoll.evidence.document import Tee
from atoll.evidence.ear import Ear, verify_ear
from atoll.policy.document import Mode
from atoll.policy.records import judge_with, replay
from atoll.wire import schema
from atoll.wire.messages import (
    ActivateRequest,
    AppraiseReply,
    AppraiseRequest,
    KeysRequest,
    NonceRequest,
)
from atoll_attestor import verifier as verifiers
from atoll_attestor.verifier import Verifier
from support.evidence import NOW, Binding, document, other_chain
from unit.attestor import given
from unit.attestor.given import Attestor, attestor

NOW_MS = int(NOW.timestamp() * 1000)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "_now_ms", lambda: NOW_MS)


@pytest.fixture
def made(tmp_path: Path) -> Attestor:
    return attestor(given.write(tmp_path), given.document())


@pytest.fixture
def verifier(made: Attestor) -> Verifier:
    return made.verifier


async def evidence(verifier: Verifier, **changes: Any) -> bytes:
    """Evidence made over a nonce of this attestor."""
    reply = await verifier.nonce(NonceRequest(), bytes(8))
    return documents.encode(document(binding=Binding(nonce=reply.nonce), **changes))


async def appraised(verifier: Verifier, **changes: Any) -> AppraiseReply:
    answer = await verifier.appraise(AppraiseRequest(evidence=await evidence(verifier, **changes)))
    return schema.decode(AppraiseReply, schema.encode(answer))


async def test_good_evidence_gets_a_word_that_verifies_under_the_published_key(
    verifier: Verifier,
) -> None:
    raw = await evidence(verifier)
    answer = await verifier.appraise(AppraiseRequest(evidence=raw))
    assert (answer.verdict, answer.reason, answer.warning) == ("pass", "", "")
    (key,) = (await verifier.published_keys(KeysRequest())).keys
    assert key.public_key == given.KEY.public_bytes_raw()
    ear = verify_ear(
        answer.ear, {key.kid: given.KEY}, evidence_digest=documents.digest(raw), now=NOW
    )
    assert ear.simulated
    assert ear.policy_digest == given.document().digest


async def test_bad_evidence_gets_a_verdict_with_the_failed_check(verifier: Verifier) -> None:
    answer = await appraised(verifier, measurement=bytes(48))
    assert answer.verdict == "fail"
    assert answer.reason == "snp.measurement"


async def test_evidence_under_a_root_that_nobody_named_fails(verifier: Verifier) -> None:
    assert (await appraised(verifier, signer=other_chain())).verdict == "fail"


async def test_simulated_evidence_fails_where_no_development_root_is_named(tmp_path: Path) -> None:
    config = replace(given.write(tmp_path), development_root_file=None)
    production = attestor(config, given.document()).verifier
    assert not production.gathering.trust.has_simulated
    assert (await appraised(production)).verdict == "fail"


async def test_without_a_policy_nothing_passes(tmp_path: Path) -> None:
    made = attestor(given.write(tmp_path))
    answer = await appraised(made.verifier)
    assert (answer.verdict, answer.reason) == ("fail", "policy.none")
    ((role, record),) = made.archive.kept
    assert (role, record.reason, record.policy_version) == ("enforce", "policy.none", 0)


async def test_a_policy_without_a_section_for_the_tee_refuses(tmp_path: Path) -> None:
    made = attestor(given.write(tmp_path), given.document(sections={}))
    answer = await appraised(made.verifier)
    assert (answer.verdict, answer.reason) == ("fail", "policy.no_section")


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.WARN])
async def test_a_policy_on_trial_alone_admits_nothing(tmp_path: Path, mode: Mode) -> None:
    made = attestor(given.write(tmp_path), given.document(mode=mode))
    assert (await appraised(made.verifier)).reason == "policy.none"
    assert [role for role, _ in made.archive.kept] == ["enforce", mode.value]


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.WARN])
async def test_a_policy_on_trial_is_recorded_beside_the_one_that_decides(
    tmp_path: Path, mode: Mode
) -> None:
    strict = given.document(2, mode, given.strange())
    made = attestor(given.write(tmp_path), given.document(), strict)
    answer = await appraised(made.verifier)
    assert answer.verdict == "pass"
    assert answer.warning == ("snp.measurement" if mode is Mode.WARN else "")
    (_, decided), (role, tried) = made.archive.kept
    assert role == mode.value
    assert decided.id == tried.id
    assert (decided.policy_version, decided.reason) == (1, "")
    assert (tried.policy_version, tried.reason) == (2, "snp.measurement")


async def test_a_looser_policy_on_trial_opens_no_door(tmp_path: Path) -> None:
    loose = given.document(2, Mode.WARN)
    made = attestor(given.write(tmp_path), given.document(section=given.strange()), loose)
    answer = await appraised(made.verifier)
    assert (answer.verdict, answer.warning) == ("fail", "")


async def test_what_is_kept_gives_the_same_verdict_again(made: Attestor) -> None:
    await appraised(made.verifier)
    await appraised(made.verifier, measurement=bytes(48))
    records = [record for _, record in made.archive.kept]
    judge = judge_with(made.verifier.gathering.trust)
    again = replay(records, given.document(), judge)
    assert (again.judged, again.changes) == (2, ())
    other = replay(records, given.document(2, section=given.strange()), judge)
    assert (other.now_refused, other.now_accepted) == (1, 1)


@pytest.mark.parametrize(("tee", "reason"), [(Tee.TDX, "tdx.mr_td"), (Tee.KEYSTONE, "")])
async def test_enclaves_of_the_other_kinds_are_appraised_under_their_section(
    tmp_path: Path, tee: Tee, reason: str
) -> None:
    made = attestor(given.write_all(tmp_path), given.document(sections=given.sections()))
    made.documents.known.update(given.intel_documents())
    nonce = (await made.verifier.nonce(NonceRequest(), bytes(8))).nonce
    answer = await made.verifier.appraise(AppraiseRequest(evidence=given.enclave(tee, nonce)))
    assert (answer.verdict, answer.reason) == ("pass", "")
    other = given.enclave(tee, nonce, mr_td=bytes(48))
    assert (await made.verifier.appraise(AppraiseRequest(evidence=other))).reason == reason
    records = [record for _, record in made.archive.kept]
    again = replay(
        records,
        given.document(sections=given.sections()),
        judge_with(made.verifier.gathering.trust),
    )
    assert (again.judged, again.changes) == (2, ())


@pytest.mark.parametrize("gone", sorted(given.intel_documents()))
async def test_a_td_without_collateral_is_refused_with_the_reason(
    tmp_path: Path, gone: str
) -> None:
    made = attestor(given.write_all(tmp_path), given.document(sections=given.sections()))
    made.documents.known.update(given.intel_documents())
    del made.documents.known[gone]
    nonce = (await made.verifier.nonce(NonceRequest(), bytes(8))).nonce
    answer = await made.verifier.appraise(AppraiseRequest(evidence=given.enclave(Tee.TDX, nonce)))
    assert (answer.verdict, answer.reason) == ("fail", "tdx.collateral")
    ((_, record),) = made.archive.kept
    assert gone in record.lacks


async def test_a_verdict_that_cannot_be_kept_is_not_given(made: Attestor) -> None:
    made.archive.down = True
    with pytest.raises(UnreachableError):
        await appraised(made.verifier)


async def test_an_activated_policy_decides_the_next_appraisal(verifier: Verifier) -> None:
    raw = given.signed(given.document(2, section=given.strange()))
    view = await verifier.activate(ActivateRequest(signed=raw))
    assert (view.enforced, view.changed) == (2, True)
    assert (await appraised(verifier)).reason == "snp.measurement"
    with pytest.raises(RefusedError) as caught:
        await verifier.activate(ActivateRequest(signed=given.signed(given.document())))
    assert caught.value.code == "policy.rollback"


async def test_a_rotated_key_signs_and_the_one_before_stays_published_until_it_has_expired(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = await evidence(verifier)
    old = await verifier.appraise(AppraiseRequest(evidence=raw))
    fresh = given.RING.rotated(lambda size: b"\x09" * size, now=given.NOW_S)
    verifier.keys.use_bytes(fresh.to_bytes())
    new = await verifier.appraise(AppraiseRequest(evidence=raw))
    assert (await verified(verifier, old, raw)).nonce == (await verified(verifier, new, raw)).nonce
    kids = [key.kid for key in (await verifier.published_keys(KeysRequest())).keys]
    assert kids == [fresh.active.kid, given.RING.active.kid]
    late = NOW_MS + (verifier.result_ttl_s + 61) * 1000
    monkeypatch.setattr(verifiers, "_now_ms", lambda: late)
    kids = [key.kid for key in (await verifier.published_keys(KeysRequest())).keys]
    assert kids == [fresh.active.kid]


async def verified(verifier: Verifier, answer: AppraiseReply, raw: bytes) -> Ear:
    reply = await verifier.published_keys(KeysRequest())
    keys = {key.kid: Ed25519PublicKey.from_public_bytes(key.public_key) for key in reply.keys}
    return verify_ear(answer.ear, keys, evidence_digest=documents.digest(raw), now=NOW)


async def refused(verifier: Verifier, raw: bytes) -> AtollError:
    with pytest.raises(AtollError) as caught:
        await verifier.appraise(AppraiseRequest(evidence=raw))
    return caught.value


async def test_evidence_over_no_challenge_of_ours_is_refused(verifier: Verifier) -> None:
    error = await refused(verifier, documents.encode(document()))
    assert error.code == "evidence.nonce"


async def test_evidence_over_an_old_challenge_is_refused(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = await evidence(verifier)
    monkeypatch.setattr(verifiers, "_now_ms", lambda: NOW_MS + 120_001)
    assert (await refused(verifier, raw)).code == "evidence.stale"


@pytest.mark.parametrize("raw", [b"x", b"\x80", bytes(1000), b"\xdf" + b"\xff" * 20])
async def test_what_is_no_evidence_document_is_malformed(verifier: Verifier, raw: bytes) -> None:
    assert isinstance(await refused(verifier, raw), MalformedEvidenceError)


@pytest.mark.parametrize("report", [b"x", bytes(1184), b"\xff" * 1184])
async def test_a_report_that_is_none_is_a_verdict_and_fits_its_message(
    verifier: Verifier, report: bytes
) -> None:
    nonce = (await verifier.nonce(NonceRequest(), bytes(8))).nonce
    made = replace(document(binding=Binding(nonce=nonce)), report=report)
    answer = await verifier.appraise(AppraiseRequest(evidence=documents.encode(made)))
    assert schema.decode(AppraiseReply, schema.encode(answer)).verdict == "fail"


def test_a_verifier_does_not_show_its_key(verifier: Verifier) -> None:
    assert "SigningKeys" not in repr(verifier)
    assert "NonceIssuer" not in repr(verifier)
