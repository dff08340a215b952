"""Evidence of every kind under a policy of every form, with Intel's collateral as needed."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from atoll import canonical
from atoll.client.appraisal import AcceptedPolicy, Appraiser, accepted_policy
from atoll.errors import InputError
from atoll.evidence import document as documents
from atoll.evidence.document import EvidenceDocument, Tee
from atoll.evidence.findings import Appraisal, Finding
from atoll.evidence.keystone.policy import keystone_policy_to_json
from atoll.evidence.keystone.verify import DeviceKeys
from atoll.evidence.policy import policy_to_json
from atoll.evidence.tdx_policy import tdx_policy_to_json
from atoll.policy.document import PolicyDocument
from atoll.policy.records import NO_SECTION
from atoll.policy.signed import sign_policy
from atoll.policy.templates import strict_keystone, strict_tdx
from support import dcap, evidence, intel_pcs, policies
from support.dcap import Platform
from support.evidence import MANIFEST, Binding
from support.keystone import DEVICE, ENCLAVE_HASH, Content

MR_TD = b"\x2a" * 48
TRUST = replace(
    evidence.trust(),
    intel=dcap.roots(simulated=True),
    keystone=DeviceKeys(keys=frozenset({DEVICE.public})),
)
POLICIES: dict[Tee, Any] = {
    Tee.SNP: evidence.policy(),
    Tee.TDX: strict_tdx(frozenset({MR_TD})),
    Tee.KEYSTONE: strict_keystone(frozenset({ENCLAVE_HASH})),
}
WHOLE = policies.document(sections={tee.value: policy for tee, policy in POLICIES.items()})


@cache
def documented(tee: Tee) -> EvidenceDocument:
    """A good document of each kind, over the same binding."""
    data = Binding().report_data
    if tee is Tee.SNP:
        return evidence.document()
    td = dcap.td_report(mr_td=MR_TD, report_data=data)
    report = Platform(body=td).quote() if tee is Tee.TDX else Content(data=data).report()
    return replace(evidence.document(), tee=tee, report=report, certs=())


def appraise(tee: Tee, policy: AcceptedPolicy, **changes: Any) -> Appraisal:
    given: dict[str, Any] = {"trust": TRUST, "policy": policy, "collateral": intel_pcs.own()}
    raw = documents.encode(documented(tee))
    return Appraiser(**(given | changes)).appraise(raw, manifest_digest=MANIFEST, now=dcap.NOW)


def failed(appraisal: Appraisal) -> Finding:
    return next(item for item in appraisal.findings if item.id == appraisal.reason)


@pytest.mark.parametrize("tee", list(POLICIES))
def test_each_kind_passes_under_the_policy_of_its_kind(tee: Tee) -> None:
    appraisal = appraise(tee, POLICIES[tee])
    assert appraisal.passed, appraisal.reason
    assert (appraisal.tee, appraisal.policy_digest) == (tee, POLICIES[tee].digest.hex())


@pytest.mark.parametrize("tee", list(POLICIES))
def test_each_kind_is_judged_by_its_section_of_a_document(tee: Tee) -> None:
    appraisal = appraise(tee, WHOLE)
    assert appraisal.passed, appraisal.reason
    assert appraisal.policy_digest == WHOLE.digest.hex()


@pytest.mark.parametrize(
    ("tee", "other"), [(tee, other) for tee in POLICIES for other in POLICIES if tee is not other]
)
def test_the_policy_of_another_kind_never_does(tee: Tee, other: Tee) -> None:
    assert appraise(tee, POLICIES[other]).reason == "document.tee"
    without = replace(WHOLE, sections={other.value: POLICIES[other]})
    appraisal = appraise(tee, without)
    assert (appraisal.passed, appraisal.reason) == (False, NO_SECTION)
    assert appraisal.tee is tee
    assert appraisal.policy_digest == without.digest.hex()


def test_a_section_is_as_strict_as_the_policy_by_itself() -> None:
    strict = strict_tdx(frozenset({bytes(48)}))
    section = replace(WHOLE, sections={"tdx": strict})
    assert appraise(Tee.TDX, section).reason == appraise(Tee.TDX, strict).reason == "tdx.mr_td"


@pytest.mark.parametrize("key", list(intel_pcs.own()))
def test_a_quote_without_complete_collateral_fails_and_what_is_missing_is_named(key: str) -> None:
    known = {name: one for name, one in intel_pcs.own().items() if name != key}
    appraisal = appraise(Tee.TDX, WHOLE, collateral=known)
    assert appraisal.reason == "tdx.collateral"
    assert key in failed(appraisal).actual


def test_collateral_of_somebody_else_is_not_believed() -> None:
    appraisal = appraise(Tee.TDX, WHOLE, trust=evidence.trust())
    assert not appraisal.passed
    assert appraisal.claims == {}


def test_collateral_that_is_not_what_is_signed_is_a_failed_check() -> None:
    key = f"intel.tcb.tdx.{dcap.FMSPC}"
    known = intel_pcs.own() | {key: intel_pcs.Served(body=b"{}")}
    assert appraise(Tee.TDX, WHOLE, collateral=known).reason == "tdx.collateral"


@pytest.mark.parametrize("policy", [WHOLE, POLICIES[Tee.SNP]])
def test_what_is_no_document_fails_for_that(policy: AcceptedPolicy) -> None:
    appraiser = Appraiser(trust=TRUST, policy=policy)
    found = appraiser.appraise(b"nonsense", manifest_digest=MANIFEST, now=dcap.NOW)
    assert found.reason == "document.parse"


@pytest.mark.parametrize(
    ("raw", "policy"),
    [
        (policy_to_json(POLICIES[Tee.SNP]), POLICIES[Tee.SNP]),
        (tdx_policy_to_json(POLICIES[Tee.TDX]), POLICIES[Tee.TDX]),
        (keystone_policy_to_json(POLICIES[Tee.KEYSTONE]), POLICIES[Tee.KEYSTONE]),
        (canonical.dumps(WHOLE.to_plain()), WHOLE),
    ],
    ids=["sev-snp", "tdx", "keystone", "document"],
)
def test_a_policy_of_every_form_is_read(raw: bytes, policy: AcceptedPolicy) -> None:
    found = accepted_policy(raw)
    assert found == policy
    assert isinstance(found, PolicyDocument) == isinstance(policy, PolicyDocument)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"[]", "policy.invalid"),
        (b"{}", "policy.invalid"),
        (b'{"tee":"sgx"}', "policy.invalid"),
        (b'{"tee":1}', "policy.invalid"),
        (b'{"tee":"tdx"}', "policy.invalid"),
        (b'{"format":"atoll-policy"}', "policy.invalid"),
        (b"{", "json.malformed"),
        (sign_policy(WHOLE, [policies.owner()]).to_bytes(), "policy.signed"),
    ],
)
def test_anything_else_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(InputError) as caught:
        accepted_policy(raw)
    assert caught.value.code == code
