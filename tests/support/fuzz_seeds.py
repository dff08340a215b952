"""Good inputs for the fuzz targets that no vector is of, by the target's name."""

import hashlib
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll.corim.codec import to_cbor
from atoll.corim.signed import sign_corim
from atoll.corim.snp import SnpReferenceValues, snp_to_corim
from atoll.evidence import cmw
from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.ear import issue_ear
from atoll.evidence.ear_cwt import issue_ear_cwt
from atoll.evidence.keystone import eat
from atoll.evidence.policy import policy_to_json
from atoll.identity import PartyKeys
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.signed import sign_policy
from atoll.receipt.statement import (
    OutputRef,
    PartyRef,
    Receipt,
    Resources,
    StepRef,
    to_statement,
)
from atoll.receipt.verify import make_receipt
from atoll.sealing.signature import SigningKey
from support import dcap, evidence, fuzz_seeds_own, keystone, ratls, tpm

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
"""The key that the targets `ear`, `ear_cwt` and `signed_corim` know as "key"."""
SIGNER = SigningKey(b"\x01" * 32)


@cache
def made() -> dict[str, bytes]:
    """One seed for each such target."""
    return _evidence() | _policies() | _receipts() | _plain() | fuzz_seeds_own.made()


def _plain() -> dict[str, bytes]:
    record = cmw.Record(type="application/eat+jwt", value=b"a token", ind=cmw.CmType(4))
    several = cmw.Collection(members=(("one", record), ("two", record)))
    token = eat.KeystoneEat(
        nonce=b"a challenge",
        ueid=eat.ueid_of(keystone.DEVICE.public),
        report=keystone.Content(data=b"a challenge").report(),
    )
    return {
        "pck_extension": dcap.pck_extension(),
        "td_report": tpm.td_report(bytes(64), bytes(400)),
        "cbor": ratls.evidence(ratls.claims(nonce=b"fresh")),
        "cmw_json": cmw.to_json(several),
        "cmw_cbor": cmw.to_cbor(several),
        "keystone_eat": eat.to_uccs(token),
    }


def _evidence() -> dict[str, bytes]:
    raw = documents.encode(evidence.document())
    appraisal = appraise_document(
        raw,
        trust=evidence.trust(),
        policy=evidence.policy(),
        manifest_digest=evidence.MANIFEST,
        nonce=evidence.NONCE,
        now=evidence.NOW,
    )
    about: dict[str, Any] = {
        "evidence_digest": documents.digest(raw),
        "nonce": evidence.NONCE,
        "issuer": "urn:example",
        "key": KEY,
        "kid": "key",
        "now": evidence.NOW,
        "ttl_s": 60,
    }
    return {
        "evidence_document": raw,
        "ear": issue_ear(appraisal, **about).encode(),
        "ear_cwt": issue_ear_cwt(appraisal, **about),
    }


def _policies() -> dict[str, bytes]:
    document = PolicyDocument(
        name="example",
        version=3,
        not_before=0,
        mode=Mode.ENFORCE,
        sections={"sev-snp": evidence.policy()},
    )
    owner = PartyKeys.generate("owner", bytes)
    values = SnpReferenceValues(measurements=frozenset({evidence.MEASUREMENT}))
    corim = snp_to_corim(values, corim_id="example", tag_id="example")
    return {
        "snp_policy": policy_to_json(evidence.policy()),
        "policy_document": document.to_bytes(),
        "signed_policy": sign_policy(document, [owner]).to_bytes(),
        "corim": to_cbor(corim),
        "signed_corim": sign_corim(corim, KEY, kid=b"key", signer="example"),
    }


def _receipts() -> dict[str, bytes]:
    binding = evidence.Binding(signing_key=SIGNER.public_bytes)
    raw = documents.encode(evidence.document(binding=binding))
    none = Resources(wall_ms=0, fuel=None, memory_bytes=0, output_bytes=0, output_files=0)
    receipt = Receipt(
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
                limits=none,
                used=none,
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
        outcome="workload.exited",
        started="2026-01-02T03:04:05.006Z",
        finished="2026-01-02T03:04:06.000Z",
        previous=(),
        agent_version="0.1.0",
    )
    return {
        "statement": to_statement(receipt),
        "receipt": make_receipt(receipt, key=SIGNER, evidence=raw),
    }
