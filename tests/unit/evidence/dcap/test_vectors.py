"""Every published case of the five kinds about Intel's evidence, for the reason it says."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import pytest

from atoll.evidence.dcap.judge import JUDGES, Case, CaseResult
from atoll.evidence.dcap.tcb import TcbVerdict
from support import vectors

CASES = tuple(case for kind in JUDGES for case in vectors.of_kind(kind))
FIELDS: dict[str, Callable[[TcbVerdict], Any]] = {
    "tcb_status": lambda tcb: tcb.status.value,
    "platform_tcb_status": lambda tcb: tcb.platform.value,
    "tdx_module_tcb_status": lambda tcb: tcb.tdx_module.value if tcb.tdx_module else None,
    "qe_tcb_status": lambda tcb: tcb.qe.value,
    "tcb_evaluation_data_number": lambda tcb: tcb.tcb_evaluation_data_number,
    "advisory_ids": lambda tcb: list(tcb.advisory_ids),
}
# The manifest's reason is one of several true ones: some cases are wrong in two ways.
REASONS = {
    "bad_signature": {"evidence.signature"},
    "cert_expired": {"evidence.expired"},
    "cert_extension_missing": {"evidence.chain_extension"},
    "cert_not_yet_valid": {"evidence.not_yet_valid"},
    "chain_bad_names": {"evidence.chain_names"},
    "chain_bad_signature": {"evidence.chain_signature"},
    "chain_incomplete": {"evidence.chain_incomplete"},
    "chain_not_ca": {"evidence.chain_ca"},
    "chain_untrusted_root": {"evidence.untrusted_root"},
    "crl_bad_signature": {"evidence.crl_signature"},
    "crl_expired": {"evidence.crl_expired", "evidence.tcb_info_expired"},
    "crl_wrong_issuer": {"evidence.crl_issuer"},
    "malformed": {"evidence.malformed", "evidence.quote_body"},
    "mrconfigid_mismatch": {"tdx.mr_config_id"},
    "mrowner_mismatch": {"tdx.mr_owner"},
    "mrownerconfig_mismatch": {"tdx.mr_owner_config"},
    "mrseam_mismatch": {"tdx.mr_seam"},
    "mrservicetd_mismatch": {"tdx.mr_service_td"},
    "mrtd_mismatch": {"tdx.mr_td"},
    "pck_extension_missing": {"evidence.pck_extension"},
    "policy_debug": {"sgx.debug", "tdx.debug"},
    "policy_sept_ve_disable": {"tdx.attributes.required"},
    "qe_identity_bad_signature": {"evidence.qe_identity_signature"},
    "qe_identity_expired": {"evidence.qe_identity_expired"},
    "qe_identity_mismatch": {"evidence.qe_identity"},
    "qe_identity_wrong_type": {"evidence.qe_identity_type"},
    "qe_report_bad_signature": {"evidence.qe_report_signature"},
    "qe_report_data_mismatch": {"evidence.qe_report_data"},
    "report_data_mismatch": {"tdx.report_data", "sgx.report_data"},
    "revoked": {"evidence.revoked"},
    "rtmr0_mismatch": {"tdx.rtmr0"},
    "rtmr1_mismatch": {"tdx.rtmr1"},
    "rtmr2_mismatch": {"tdx.rtmr2"},
    "rtmr3_mismatch": {"tdx.rtmr3"},
    "tcb_eval_too_old": {"tdx.tcb_evaluation"},
    "tcb_info_bad_signature": {"evidence.tcb_info_signature"},
    "tcb_info_expired": {"evidence.tcb_info_expired"},
    "tcb_info_fmspc_mismatch": {"evidence.tcb_info_fmspc", "evidence.tcb_info_pceid"},
    "tcb_info_not_yet_valid": {"evidence.tcb_info_not_yet_valid"},
    "tcb_info_wrong_type": {"evidence.tcb_info_type"},
    "tcb_not_supported": {"evidence.tcb_not_supported"},
    "tcb_status": {"sgx.tcb_status", "tdx.tcb_status"},
    "tdx_module_mismatch": {"evidence.tdx_module"},
    "tdx_module_tcb_not_supported": {"evidence.tdx_module_tcb"},
    "unsupported_att_key_type": {"evidence.quote_key_type"},
    "unsupported_cert_type": {"evidence.quote_certification"},
    "unsupported_qe_vendor": {"evidence.quote_vendor"},
    "unsupported_tee_type": {"evidence.quote_tee"},
    "unsupported_version": {"evidence.quote_version"},
}


@cache
def _read(path: str) -> bytes:
    return vectors.read(path)


def case_of(vector: dict[str, Any]) -> Case:
    """The inputs of a vector; never what is expected of it."""
    root = vector.get("trusted_root_spki")
    return Case(
        evidence=_read(vector["path"]),
        files={role: _read(path) for role, path in vector.get("files", {}).items()},
        policy=vector.get("policy", {}),
        now=datetime.fromisoformat(vector.get("verify_time", "2026-01-01T00:00:00Z")),
        trusted_root_spki=bytes.fromhex(root) if root else None,
    )


def _judge(vector: dict[str, Any]) -> CaseResult:
    return JUDGES[vector["kind"]](case_of(vector))


def test_there_are_cases_of_every_kind() -> None:
    vectors.require()
    assert {case["kind"] for case in CASES} == set(JUDGES)


@pytest.mark.parametrize("vector", CASES, ids=lambda vector: vector["id"])
def test_judges_a_published_case_as_its_manifest_says(vector: dict[str, Any]) -> None:
    expected, result = vector["expected"], _judge(vector)
    assert result.verdict.value == expected["verdict"], result.reason
    if "reason" in expected:
        assert result.reason in REASONS[expected["reason"]]
    for name, read in FIELDS.items():
        if name in expected and result.verified is not None:
            assert read(result.verified.tcb) == expected[name], name
