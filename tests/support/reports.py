"""Simulated SEV-SNP reports judged and appraised with what makes good ones pass."""

from typing import Any

from atoll.evidence import document as documents
from atoll.evidence.appraise import appraise_document
from atoll.evidence.document import EvidenceDocument
from atoll.evidence.findings import Appraisal, Outcome
from atoll.evidence.judge import judge
from atoll.evidence.judgement import Judgement, Roots
from support import evidence
from support.evidence import MANIFEST, NONCE, NOW

ROOTS = Roots(certificates=(evidence.chain().ark_pem,))


def report(**changes: Any) -> bytes:
    """A good report; `changes` to its body are signed again."""
    raw = evidence.guest().attest(b"\x42" * 64)
    return evidence.resign(raw, **changes) if changes else raw


def judge_report(raw: bytes, kind: str = "snp", **options: Any) -> Judgement:
    """The judgement with the chain, the time and the root that believe `raw`."""
    given: dict[str, Any] = {
        "files": {"certs": evidence.chain().certificates},
        "now": NOW,
        "roots": ROOTS,
    }
    return judge(kind, raw, **(given | options))


def appraise(document: EvidenceDocument | bytes, **options: Any) -> Appraisal:
    """The appraisal under the policy, binding and root that a good document meets."""
    raw = document if isinstance(document, bytes) else documents.encode(document)
    given: dict[str, Any] = {
        "trust": evidence.trust(),
        "policy": evidence.policy(),
        "manifest_digest": MANIFEST,
        "nonce": NONCE,
        "now": NOW,
    }
    return appraise_document(raw, **(given | options))


def failed(appraisal: Appraisal) -> list[str]:
    """The ids of the findings that failed."""
    return [item.id for item in appraisal.findings if item.outcome is Outcome.FAIL]
