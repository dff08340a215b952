"""Receipts under simulated evidence, made in this process."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atoll.evidence import document as documents
from atoll.evidence.policy import SnpPolicy, policy_to_json
from atoll.receipt.statement import (
    DatasetRef,
    OutputRef,
    PartyRef,
    Receipt,
    Resources,
    StepRef,
)
from atoll.receipt.verify import make_receipt
from atoll.sealing.signature import SigningKey
from support import evidence

SIGNING = SigningKey(b"\x31" * 32)
BINDING = evidence.Binding(signing_key=SIGNING.public_bytes)
RESOURCES = Resources(wall_ms=1000, fuel=None, memory_bytes=1, output_bytes=1, output_files=1)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A receipt with what a verifier needs, as files."""

    receipt: Path
    root: Path
    policy: Path
    evidence: bytes = field(repr=False)

    def options(self) -> tuple[str, ...]:
        """As on the command line."""
        return ("--root", str(self.root), "--policy", str(self.policy))


def receipt_bytes(raw_evidence: bytes) -> bytes:
    """A receipt about that evidence, signed by the key it attests."""
    return make_receipt(
        Receipt(
            job_id="job-1",
            attempt=1,
            manifest_digest=BINDING.manifest_digest.hex(),
            evidence_digest=hashlib.sha256(raw_evidence).hexdigest(),
            parties=(PartyRef(name="alice", signing_key="11" * 32, roles=("result-consumer",)),),
            steps=(
                StepRef(
                    name="run",
                    kind="wasm",
                    algorithm="22" * 32,
                    bundle=None,
                    invocation="44" * 32,
                    outcome="workload.exited",
                    exit_code=0,
                    limits=RESOURCES,
                    used=RESOURCES,
                ),
            ),
            datasets=(DatasetRef(name="iris", commitment="33" * 32),),
            outputs=(
                OutputRef(
                    name="results",
                    step="run",
                    consumers=("alice",),
                    outcome="workload.exited",
                    commitment="55" * 32,
                    sha256="66" * 32,
                    size=1234,
                ),
            ),
            outcome="workload.exited",
            started="2026-06-01T12:00:00.000Z",
            finished="2026-06-01T12:00:01.000Z",
            previous=(),
            agent_version="0.1.0",
        ),
        key=SIGNING,
        evidence=raw_evidence,
    )


def case(folder: Path, *, policy: SnpPolicy | None = None, **changes: Any) -> Case:
    """Files of a receipt; `changes` to the report's body make its evidence bad."""
    document = evidence.document(binding=BINDING, **changes)
    raw = documents.encode(document)
    made = Case(
        receipt=folder / "receipt.json",
        root=folder / "root.pem",
        policy=folder / "policy.json",
        evidence=raw,
    )
    made.receipt.write_bytes(receipt_bytes(raw))
    made.root.write_bytes(evidence.chain().ark_pem)
    # As a person would write it: with lines and spaces.
    plain = json.loads(policy_to_json(policy or evidence.policy()))
    made.policy.write_text(json.dumps(plain, indent=2) + "\n")
    return made
