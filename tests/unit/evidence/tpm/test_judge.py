"""Published TPM quotes and Azure VMs, and what their policies may say."""

from typing import Any

import pytest

from atoll.errors import InputError
from atoll.evidence.tpm.judge import judge_azure_hcl_snp, judge_azure_hcl_tdx, judge_tpm_quote
from atoll.evidence.tpm.quote import Attest
from support import judging, vectors

JUDGES = {
    "tpm_quote": judge_tpm_quote,
    "azure_hcl_snp": judge_azure_hcl_snp,
    "azure_hcl_tdx": judge_azure_hcl_tdx,
}
CASES = [case for kind in JUDGES for case in vectors.of_kind(kind)]


def case_named(name: str) -> dict[str, Any]:
    vectors.require()
    return next(case for case in CASES if case["id"] == name)


@pytest.mark.parametrize("case", CASES, ids=judging.name)
def test_published_vector_is_judged_as_it_says(case: dict[str, Any]) -> None:
    judging.agrees(JUDGES[case["kind"]], case)


@pytest.mark.parametrize(
    "case",
    [case for case in vectors.of_kind("tpm_quote") if case.get("fields")],
    ids=judging.name,
)
def test_published_quote_parses_to_its_fields(case: dict[str, Any]) -> None:
    attest = Attest.from_bytes(vectors.read(case["path"]))
    assert attest.extra_data.hex() == case["fields"]["extra_data"]
    assert attest.pcr_digest.hex() == case["fields"]["pcr_digest"]


def test_another_vmpl_is_refused_by_policy() -> None:
    case = case_named("azure-trustee-snp-v0")
    got = judging.judge(judge_azure_hcl_snp, {**case, "policy": {"vmpl": 1}})
    assert (got.verdict, got.reason) == ("invalid", "policy_vmpl")


def test_absent_keys_of_a_policy_are_not_checked() -> None:
    for name in ("azure-trustee-snp-v0-nonce", "azure-trustee-tdx-v0-nonce"):
        case = case_named(name)
        assert judging.judge(JUDGES[case["kind"]], {**case, "policy": {}}).verdict == "valid"


def test_evidence_of_the_other_hardware_is_refused() -> None:
    snp, tdx = case_named("azure-trustee-snp-v0"), case_named("azure-trustee-tdx-v0")
    got = judging.judge(judge_azure_hcl_snp, {**snp, "path": tdx["path"]})
    assert got.reason == "hcl_kind"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("azure-trustee-snp-v0", {"policy": {"vmpl": 4}}),
        ("azure-trustee-snp-v0", {"policy": {"vmpl": True}}),
        ("azure-trustee-snp-v0", {"policy": {"measurement": "00"}}),
        ("azure-trustee-snp-v0", {"policy": {"mrtd": "00" * 48}}),
        ("azure-trustee-snp-v0", {"files": {}}),
        ("azure-trustee-snp-v0", {"verify_time": None}),
        ("azure-trustee-tdx-v0", {"policy": {"vmpl": 0}}),
        ("azure-trustee-tdx-v0", {"policy": {"accept_tcb_status": ["UpToDate"]}}),
        ("azure-trustee-tdx-v0", {"verify_time": None}),
        ("tpm-trustee", {"policy": {"nonce": "x"}}),
        ("tpm-trustee", {"files": {}}),
    ],
)
def test_inputs_that_are_not_understood_are_an_error_and_not_a_verdict(
    name: str, changes: dict[str, Any]
) -> None:
    case = case_named(name)
    with pytest.raises(InputError):
        judging.judge(JUDGES[case["kind"]], {**case, **changes})
