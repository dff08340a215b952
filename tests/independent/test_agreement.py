"""The independent checker, the vectors' manifest and `atoll.evidence` say the same."""

import ast
import dataclasses
import hashlib
import io
import json
import sys
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import ReceiptError
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.document import EvidenceDocument
from atoll.evidence.findings import Appraisal
from atoll.evidence.judge import judge_vector
from atoll.receipt import dsse
from atoll.receipt.statement import (
    OutputRef,
    PartyRef,
    Receipt,
    Resources,
    StepRef,
    to_statement,
)
from atoll.receipt.verify import ReceiptFile, make_receipt, verify_receipt
from atoll.sealing.signature import SigningKey
from independent import checker
from support import evidence, signing, vectors

KEY = SigningKey(b"\x01" * 32)
CASES = [case for kind in checker.KINDS for case in vectors.of_kind(kind)]
OWN = Path(__file__).resolve().parents[1] / "vectors"


@cache
def trust() -> dict[str, Any]:
    return dict(json.loads(vectors.read("manifest.json"))["trust"])


@cache
def own_manifest() -> dict[str, Any]:
    return dict(json.loads((OWN / "manifest.json").read_text("utf-8")))


def of_checker(case: dict[str, Any]) -> tuple[str, str]:
    return checker.verdict(case, trust(), vectors.read)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_the_checker_agrees_with_the_manifest_and_with_atoll(case: dict[str, Any]) -> None:
    got, status = of_checker(case)
    assert got == case["expected"]["verdict"], status
    if got == "valid":
        assert status == case["expected"].get("tcb_status", "")
    row = judge_vector(case, vectors.read)
    if not (case.get("lenient_ok") or case.get("strict_ok")):
        assert row.got == got, row
        assert got != "valid" or row.tcb_status == status


def test_there_are_vectors_of_each_kind() -> None:
    vectors.require()
    for kind in checker.KINDS:
        verdicts = {case["expected"]["verdict"] for case in vectors.of_kind(kind)}
        assert verdicts == {"valid", "invalid"}


@pytest.mark.parametrize("kind", checker.KINDS)
def test_the_checker_agrees_on_the_projects_own_vectors(kind: str) -> None:
    cases = [case for case in own_manifest()["vectors"] if case["kind"] == kind]
    assert cases
    for case in cases:
        got, why = checker.verdict(case, own_manifest()["trust"], lambda p: (OWN / p).read_bytes())
        assert got == case["expected"]["verdict"], (case["id"], why)


def test_the_checker_uses_cryptography_and_the_standard_library_only() -> None:
    allowed = {"cryptography", "independent"} | sys.stdlib_module_names
    for path in Path(__file__).parent.glob("*.py"):
        if path.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= allowed, path.name


def code_lines(source: str) -> int:
    """Lines with code: no blank ones, comments or docstrings."""
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in {*skipped, tokenize.ENDMARKER}:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def test_the_checker_is_small_enough_to_audit_in_one_sitting() -> None:
    files = [one for one in Path(__file__).parent.glob("*.py") if not one.name.startswith("test_")]
    sizes = {path.stem: code_lines(path.read_text("utf-8")) for path in files}
    assert sum(sizes.values()) <= 530, sizes


# --- receipts ---------------------------------------------------------------------------

RESOURCES = Resources(wall_ms=0, fuel=None, memory_bytes=0, output_bytes=0, output_files=0)


def good_document(**changes: Any) -> EvidenceDocument:
    return evidence.document(binding=evidence.Binding(signing_key=KEY.public_bytes), **changes)


def statement(raw: bytes, **changes: Any) -> Receipt:
    said = Receipt(
        job_id="job-1",
        attempt=1,
        manifest_digest=evidence.MANIFEST.hex(),
        evidence_digest=hashlib.sha256(raw).hexdigest(),
        parties=(PartyRef(name="alice", signing_key="33" * 32, roles=("consumer",)),),
        steps=(
            StepRef(
                name="run",
                kind="wasm",
                algorithm="55" * 32,
                bundle=None,
                invocation="77" * 32,
                outcome="workload.exited",
                exit_code=0,
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
    return dataclasses.replace(said, **changes)


def receipt(document: EvidenceDocument, **changes: Any) -> bytes:
    raw = documents.encode(document)
    return make_receipt(statement(raw, **changes), key=KEY, evidence=raw)


@cache
def roots() -> dict[str, str]:
    ark = evidence.keys().ark.public_key()
    spki = ark.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {"Simulated": hashlib.sha256(spki).hexdigest()}


def appraise(raw: bytes, manifest_digest: bytes) -> Appraisal:
    return appraise_document(
        raw,
        trust=evidence.trust(),
        policy=evidence.policy(),
        manifest_digest=manifest_digest,
        nonce=None,
        now=evidence.NOW,
    )


def verdicts(raw: bytes) -> tuple[str, str]:
    """What the checker and Atoll say of a receipt."""
    policy = {
        "vmpl": 0,
        "measurement": evidence.MEASUREMENT.hex(),
        "forbid_provisional": True,
        "min_tcb": {"bootloader": 4, "tee": 1, "snp": 24, "microcode": 219},
    }
    found, _ = checker.receipt_verdict(raw, roots=roots(), now=evidence.NOW, policy=policy)
    try:
        verify_receipt(raw, read_evidence=documents.parse, appraise=appraise)
    except ReceiptError:
        return found, "invalid"
    return found, "valid"


def edited(raw: bytes, **changes: Any) -> bytes:
    return canonical.dumps(json.loads(raw) | changes)


def test_agrees_on_a_good_receipt() -> None:
    assert verdicts(receipt(good_document())) == ("valid", "valid")


def test_agrees_on_a_receipt_of_parties_with_imported_keys() -> None:
    # As many of the largest as a manifest can name.
    key = signing.imported("rsa4096").public_bytes.hex()
    large = tuple(PartyRef(name=f"p{at}", signing_key=key, roles=("data",)) for at in range(31))
    small = signing.imported("p256").public_bytes.hex()
    parties = (*large, PartyRef(name="q", signing_key=small, roles=("consumer",)))
    raw = receipt(good_document(), parties=parties)
    assert len(raw) > 48 << 10
    assert verdicts(raw) == ("valid", "valid")


@pytest.mark.parametrize(
    "changes",
    [
        {"vmpl": 1},
        {"policy": 0xB0000},
        {"policy": 0x70000},
        {"measurement": b"\1" * 48},
        {"report_data": b"\1" * 64},
        {"chip_id": bytes(64)},
        {"signing_key": 1},
        {"signing_key": 7},
        {"reported_tcb": b"\5\1" + bytes(4) + b"\x18\xdb"},
        {"committed_tcb": bytes(8)},
        {"cpuid_fam_id": 0x19, "cpuid_mod_id": 1},
        {"signer": evidence.other_chain},
    ],
    ids="-".join,
)
def test_agrees_on_a_receipt_with_bad_evidence(changes: dict[str, Any]) -> None:
    made = {name: value() if callable(value) else value for name, value in changes.items()}
    assert verdicts(receipt(good_document(**made))) == ("invalid", "invalid")


def test_agrees_on_receipts_that_were_changed() -> None:
    good = receipt(good_document())
    other = receipt(good_document(host_data=b"\1" * 32))
    assert verdicts(other) == ("valid", "valid")
    changed = [
        b"",
        good[:-1],
        good + b"\n",
        json.dumps(json.loads(good), sort_keys=True).encode(),
        edited(good, version=2),
        edited(good, more=1),
        edited(good, evidence=json.loads(other)["evidence"]),
        edited(good, envelope=json.loads(other)["envelope"]),
    ]
    assert [verdicts(raw) for raw in changed] == [("invalid", "invalid")] * len(changed)


def test_agrees_on_a_receipt_that_names_another_manifest() -> None:
    raw = documents.encode(good_document())
    forged = statement(raw, manifest_digest="44" * 32)
    envelope = dsse.sign(to_statement(forged), KEY)
    file = ReceiptFile(envelope=envelope, evidence=raw).to_bytes()
    assert verdicts(file) == ("invalid", "invalid")


def test_agrees_on_a_receipt_signed_by_a_key_that_is_not_attested() -> None:
    raw = documents.encode(good_document())
    envelope = dsse.sign(to_statement(statement(raw)), SigningKey(b"\x02" * 32))
    file = ReceiptFile(envelope=envelope, evidence=raw).to_bytes()
    assert verdicts(file) == ("invalid", "invalid")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_agrees_on_a_receipt_with_one_byte_changed(data: st.DataObject) -> None:
    raw = bytearray(receipt(good_document()))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert verdicts(bytes(raw)) == ("invalid", "invalid")
