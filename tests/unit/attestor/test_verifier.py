"""The attestor's answers: a signed verdict on evidence, an error for what is none."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atoll.errors import AtollError, MalformedEvidenceError
from atoll.evidence import document as documents
from atoll.evidence.ear import verify_ear
from atoll.wire import schema
from atoll.wire.messages import AppraiseReply, AppraiseRequest, KeysRequest, NonceRequest
from atoll_attestor import verifier as verifiers
from atoll_attestor.main import make_verifier
from atoll_attestor.verifier import Verifier
from support.evidence import NOW, Binding, document, other_chain
from unit.attestor import files

NOW_MS = int(NOW.timestamp() * 1000)


class Frozen(datetime):
    """`datetime` at the moment of `NOW`."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        assert tz is UTC
        return NOW


@pytest.fixture
def verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verifier:
    monkeypatch.setattr(verifiers, "_now_ms", lambda: NOW_MS)
    monkeypatch.setattr(verifiers, "datetime", Frozen)
    return make_verifier(files.write(tmp_path))


async def appraised(verifier: Verifier, **changes: Any) -> AppraiseReply:
    """Evidence made over a nonce of this attestor."""
    reply = await verifier.nonce(NonceRequest(), bytes(8))
    made = document(binding=Binding(nonce=reply.nonce), **changes)
    answer = await verifier.appraise(AppraiseRequest(evidence=documents.encode(made)))
    return schema.decode(AppraiseReply, schema.encode(answer))


async def test_good_evidence_gets_a_word_that_verifies_under_the_published_key(
    verifier: Verifier,
) -> None:
    answer = await appraised(verifier)
    assert (answer.verdict, answer.reason) == ("pass", "")
    (key,) = (await verifier.keys(KeysRequest())).keys
    assert key.kid == verifier.kid
    public = files.KEY.public_key()
    assert key.public_key == public.public_bytes_raw()
    made = document(binding=Binding(nonce=(await verifier.nonce(NonceRequest(), bytes(8))).nonce))
    ear = verify_ear(
        answer.ear,
        {key.kid: public},
        evidence_digest=documents.digest(documents.encode(made)),
        now=NOW,
    )
    assert ear.simulated


async def test_bad_evidence_gets_a_verdict_with_the_failed_check(verifier: Verifier) -> None:
    answer = await appraised(verifier, measurement=bytes(48))
    assert answer.verdict == "fail"
    assert answer.reason == "snp.measurement"


async def test_evidence_under_a_root_that_nobody_named_fails(verifier: Verifier) -> None:
    assert (await appraised(verifier, signer=other_chain())).verdict == "fail"


async def test_simulated_evidence_fails_where_no_development_root_is_named(
    tmp_path: Path, verifier: Verifier
) -> None:
    config = replace(files.write(tmp_path), development_root_file=None)
    production = make_verifier(config)
    assert not production.trust.has_simulated
    assert (await appraised(production)).verdict == "fail"


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
    nonce = (await verifier.nonce(NonceRequest(), bytes(8))).nonce
    monkeypatch.setattr(verifiers, "_now_ms", lambda: NOW_MS + 120_001)
    error = await refused(verifier, documents.encode(document(binding=Binding(nonce=nonce))))
    assert error.code == "evidence.stale"


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
    assert "Ed25519PrivateKey" not in repr(verifier)
    assert "NonceIssuer" not in repr(verifier)
