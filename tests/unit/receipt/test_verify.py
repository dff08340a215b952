"""Receipt files from end to end, with a small stand-in for the evidence format."""

import dataclasses
import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import AtollError, ReceiptError
from atoll.receipt.dsse import sign
from atoll.receipt.statement import (
    OutputRef,
    PartyRef,
    Receipt,
    Resources,
    StepRef,
    to_statement,
)
from atoll.receipt.verify import (
    ReceiptFile,
    VerifiedReceipt,
    make_receipt,
    receipt_digest,
    verify_receipt,
)
from atoll.sealing.signature import SigningKey
from atoll.wire import schema
from atoll.wire.schema import Size, message

KEY = SigningKey(b"\x01" * 32)
OTHER = SigningKey(b"\x02" * 32)
MANIFEST = b"m" * 32


@message
class Note:
    """Evidence as far as a receipt needs it; real evidence has its own tests."""

    signing_key: Annotated[bytes, Size(32, 32)]
    manifest_digest: Annotated[bytes, Size(0, 32)]


class Outcome(Enum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    verdict: Outcome
    reason: str | None = None
    simulated: bool = True


EVIDENCE = schema.encode(Note(signing_key=KEY.public_bytes, manifest_digest=MANIFEST))
RESOURCES = Resources(wall_ms=0, fuel=None, memory_bytes=0, output_bytes=0, output_files=0)
RECEIPT = Receipt(
    job_id="job-1",
    attempt=1,
    manifest_digest=MANIFEST.hex(),
    evidence_digest=hashlib.sha256(EVIDENCE).hexdigest(),
    parties=(PartyRef(name="alice", signing_key="33" * 32, roles=("consumer",)),),
    steps=(
        StepRef(
            name="run",
            kind="wasm",
            algorithm="55" * 32,
            bundle=None,
            invocation="77" * 32,
            outcome="workload.exited",
            exit_code=None,
            limits=RESOURCES,
            used=RESOURCES,
        ),
    ),
    datasets=(),
    outputs=(
        OutputRef(
            name="results",
            step="run",
            consumers=("alice",),
            outcome="workload.exited",
            commitment="88" * 32,
            sha256="99" * 32,
            size=1234,
        ),
    ),
    outcome="completed",
    started="2026-01-02T03:04:05.006Z",
    finished="2026-01-02T03:04:06.000Z",
    previous=(),
    agent_version="0.1.0",
)
GOOD = make_receipt(RECEIPT, key=KEY, evidence=EVIDENCE)


def read_note(raw: bytes) -> Note:
    return schema.decode(Note, raw)


def content_opinion(evidence: bytes, manifest_digest: bytes) -> Opinion:
    """Passes the one evidence for the one manifest, like an appraisal would."""
    good = (evidence, manifest_digest) == (EVIDENCE, MANIFEST)
    return Opinion(verdict=Outcome.PASS if good else Outcome.FAIL, reason="snp.report_data")


def check(raw: bytes) -> VerifiedReceipt[Opinion]:
    return verify_receipt(raw, read_evidence=read_note, appraise=content_opinion)


def code_of(raw: bytes) -> str:
    with pytest.raises(ReceiptError) as caught:
        check(raw)
    return caught.value.code


def file_with(receipt: Receipt, evidence: bytes = EVIDENCE, key: SigningKey = KEY) -> bytes:
    """A signed file, without the checks of `make_receipt`."""
    envelope = sign(to_statement(receipt), key)
    return ReceiptFile(envelope=envelope, evidence=evidence).to_bytes()


def test_verifies_and_says_what_was_checked() -> None:
    verified = check(GOOD)
    assert verified.receipt == RECEIPT
    assert verified.evidence == EVIDENCE
    assert verified.signing_key == KEY.public_bytes
    assert verified.appraisal.simulated
    assert verified.digest == receipt_digest(GOOD) == hashlib.sha256(GOOD).digest()


def test_refuses_a_signature_of_another_key() -> None:
    assert code_of(file_with(RECEIPT, key=OTHER)) == "receipt.signature"


def test_refuses_the_evidence_of_another_enclave() -> None:
    other = schema.encode(Note(signing_key=OTHER.public_bytes, manifest_digest=MANIFEST))
    assert code_of(file_with(RECEIPT, evidence=other)) == "receipt.signature"


def test_refuses_other_evidence_of_the_same_key() -> None:
    other = schema.encode(Note(signing_key=KEY.public_bytes, manifest_digest=b"o" * 32))
    assert code_of(file_with(RECEIPT, evidence=other)) == "receipt.evidence"


def test_refuses_a_statement_about_another_manifest() -> None:
    receipt = dataclasses.replace(RECEIPT, manifest_digest="00" * 32)
    assert code_of(file_with(receipt)) == "receipt.manifest"


def test_refuses_evidence_bound_to_no_manifest() -> None:
    unbound = schema.encode(Note(signing_key=KEY.public_bytes, manifest_digest=b""))
    digest = hashlib.sha256(unbound).hexdigest()
    receipt = dataclasses.replace(RECEIPT, evidence_digest=digest)
    assert code_of(file_with(receipt, evidence=unbound)) == "receipt.manifest"


def test_refuses_evidence_that_does_not_parse() -> None:
    assert code_of(file_with(RECEIPT, evidence=b"junk")) == "receipt.evidence"


def test_refuses_a_signed_payload_that_is_no_statement() -> None:
    file = ReceiptFile(envelope=sign(b"{}", KEY), evidence=EVIDENCE)
    assert code_of(file.to_bytes()) == "receipt.unsupported"


@pytest.mark.parametrize("verdict", [Outcome.FAIL, Outcome.UNKNOWN])
def test_refuses_evidence_that_does_not_pass(verdict: Outcome) -> None:
    with pytest.raises(ReceiptError, match=r"snp\.debug") as caught:
        verify_receipt(
            GOOD,
            read_evidence=read_note,
            appraise=lambda _evidence, _digest: Opinion(verdict=verdict, reason="snp.debug"),
        )
    assert caught.value.code == "receipt.appraisal"


def test_appraises_for_the_manifest_that_the_receipt_names() -> None:
    asked: list[tuple[bytes, bytes]] = []

    def appraise(evidence: bytes, manifest_digest: bytes) -> Opinion:
        asked.append((evidence, manifest_digest))
        return Opinion(verdict=Outcome.PASS)

    verify_receipt(GOOD, read_evidence=read_note, appraise=appraise)
    assert asked == [(EVIDENCE, MANIFEST)]


def changed(**fields: object) -> bytes:
    return canonical.dumps(canonical.loads(GOOD) | fields)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"version": 2}, "receipt.unsupported"),
        ({"version": True}, "receipt.unsupported"),
        ({"format": "other"}, "receipt.malformed"),
        ({"more": 1}, "receipt.malformed"),
        ({"evidence": "?"}, "receipt.malformed"),
        ({"envelope": None}, "receipt.malformed"),
    ],
    ids=str,
)
def test_refuses_a_changed_file(fields: dict[str, object], code: str) -> None:
    assert code_of(changed(**fields)) == code


def test_refuses_every_flipped_bit() -> None:
    for bit in range(len(GOOD) * 8):
        flipped = bytearray(GOOD)
        flipped[bit // 8] ^= 1 << bit % 8
        assert code_of(bytes(flipped)).startswith("receipt.")


def test_refuses_every_truncation_and_extension() -> None:
    for size in range(len(GOOD)):
        assert code_of(GOOD[:size]) == "receipt.malformed"
    assert code_of(GOOD + b"\n") == "receipt.malformed"


def test_refuses_a_file_that_is_too_large_unread() -> None:
    assert code_of(b" " * (256 * 1024 + 1)) == "receipt.malformed"


@given(st.binary(max_size=300) | st.text(max_size=80).map(str.encode))
def test_arbitrary_bytes_raise_only_receipt_error(raw: bytes) -> None:
    with pytest.raises(ReceiptError):
        check(raw)


@given(st.binary(max_size=200))
def test_arbitrary_evidence_raises_only_receipt_error(evidence: bytes) -> None:
    assert code_of(file_with(RECEIPT, evidence=evidence)).startswith("receipt.")


def test_makes_no_receipt_that_names_other_evidence_or_is_too_large() -> None:
    with pytest.raises(ReceiptError) as caught:
        make_receipt(RECEIPT, key=KEY, evidence=b"other")
    assert caught.value.code == "receipt.evidence"
    with pytest.raises(AtollError):
        file_with(RECEIPT, evidence=bytes(128 * 1024 + 1))
