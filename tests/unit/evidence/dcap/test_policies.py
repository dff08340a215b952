"""Policies for TDX and SGX: explicit, closed, and one finding for every field."""

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

import pytest

from atoll import canonical
from atoll.errors import InputError
from atoll.evidence.dcap.quote import INTEL_QE_VENDOR
from atoll.evidence.dcap.reports import TdAttributes
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.dcap.verify import VerifiedQuote, verify_quote
from atoll.evidence.findings import Outcome
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.sgx_policy import (
    SgxPolicy,
    sgx_findings,
    sgx_policy_from_json,
    sgx_policy_to_json,
)
from atoll.evidence.tdx_findings import tdx_findings
from atoll.evidence.tdx_policy import (
    MAX_POLICY,
    TdxPolicy,
    tdx_policy_from_json,
    tdx_policy_to_json,
)
from support import dcap
from support.dcap import NOW, Platform


def _tdx(**changes: Any) -> TdxPolicy:
    values: dict[str, Any] = {field.name: UNCHECKED for field in fields(TdxPolicy)}
    values |= {"allow_debug": False, "tcb_statuses": frozenset({TcbStatus.UP_TO_DATE})}
    return TdxPolicy(**(values | changes))


def _sgx(**changes: Any) -> SgxPolicy:
    values: dict[str, Any] = {field.name: UNCHECKED for field in fields(SgxPolicy)}
    values |= {"allow_debug": False, "tcb_statuses": frozenset({TcbStatus.UP_TO_DATE})}
    return SgxPolicy(**(values | changes))


def _td(newer: bool = False, **report: Any) -> VerifiedQuote:  # noqa: FBT001, FBT002
    body = dcap.td_report(newer=newer, **report)
    quote = Platform(version=5, body=body).quote()
    return verify_quote(quote, dcap.collateral(), dcap.roots(), now=NOW)


def _enclave(**report: Any) -> VerifiedQuote:
    quote = Platform.sgx(body=dcap.enclave_report(**report)).quote()
    return verify_quote(quote, dcap.collateral("SGX"), dcap.roots(), now=NOW)


def _failed(verified: VerifiedQuote, policy: TdxPolicy) -> list[str]:
    return [item.id for item in tdx_findings(verified, policy) if item.outcome is Outcome.FAIL]


ONE = b"\x2a" * 48
STRICT: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "mr_tds": ("tdx.mr_td", frozenset({ONE}), {"mr_td": ONE}),
    "rtmr0s": ("tdx.rtmr0", frozenset({ONE}), {"rtmr0": ONE}),
    "rtmr1s": ("tdx.rtmr1", frozenset({ONE}), {"rtmr1": ONE}),
    "rtmr2s": ("tdx.rtmr2", frozenset({ONE}), {"rtmr2": ONE}),
    "rtmr3s": ("tdx.rtmr3", frozenset({ONE}), {"rtmr3": ONE}),
    "mr_config_ids": ("tdx.mr_config_id", frozenset({ONE}), {"mr_config_id": ONE}),
    "mr_owners": ("tdx.mr_owner", frozenset({ONE}), {"mr_owner": ONE}),
    "mr_owner_configs": ("tdx.mr_owner_config", frozenset({ONE}), {"mr_owner_config": ONE}),
    "mr_service_tds": ("tdx.mr_service_td", frozenset({ONE}), {"mr_service_td": ONE}),
    "mr_seams": ("tdx.mr_seam", frozenset({ONE}), {"mr_seam": ONE}),
    "minimum_tee_tcb_svn": (
        "tdx.tee_tcb_svn",
        bytes([5, 1, 7]) + bytes(13),
        {"tee_tcb_svn": bytes([5, 1, 7]) + bytes(13)},
    ),
    "minimum_tee_tcb_svn_2": (
        "tdx.tee_tcb_svn_2",
        b"\xf0" + bytes(15),
        {"tee_tcb_svn_2": b"\xf0" + bytes(15)},
    ),
    "td_attributes": (
        "tdx.td_attributes",
        frozenset({bytes(3) + b"\x50" + bytes(4)}),
        {"td_attributes": 1 << 28 | 1 << 30},
    ),
    "report_data": ("tdx.report_data", b"\x01" * 64, {"report_data": b"\x01" * 64}),
    "xfams": ("tdx.xfam", frozenset({b"\xe7" + bytes(7)}), {"xfam": b"\xe7" + bytes(7)}),
    "attributes_required": (
        "tdx.attributes.required",
        TdAttributes.SEPT_VE_DISABLE | TdAttributes.PKS,
        {"td_attributes": 1 << 28 | 1 << 30},
    ),
    "attributes_forbidden": (
        "tdx.attributes.forbidden",
        TdAttributes.SEPT_VE_DISABLE,
        {"td_attributes": 0},
    ),
}


@pytest.mark.parametrize("field", STRICT)
def test_a_field_passes_with_its_value_and_fails_without(field: str) -> None:
    name, wanted, report = STRICT[field]
    policy = _tdx(**{field: wanted})
    assert _failed(_td(newer=True, **report), policy) == []
    assert _failed(_td(newer=True), policy) == [name]


def test_compares_report_data_over_its_whole_length() -> None:
    wanted = b"\x01" * 64
    policy = _tdx(report_data=wanted)
    prefix = wanted[:32] + bytes(32)
    assert _failed(_td(report_data=prefix), policy) == ["tdx.report_data"]


def test_a_td_report_10_has_no_service_td_to_accept() -> None:
    policy = _tdx(mr_service_tds=frozenset({bytes(48)}))
    assert _failed(_td(), policy) == ["tdx.mr_service_td"]
    assert _failed(_td(newer=True), policy) == []


def test_a_td_report_10_has_no_second_tcb_to_accept() -> None:
    policy = _tdx(minimum_tee_tcb_svn_2=bytes(16))
    assert _failed(_td(), policy) == ["tdx.tee_tcb_svn_2"]
    assert _failed(_td(newer=True), policy) == []


def test_the_quoting_enclave_is_checked() -> None:
    td = _td()
    svn = td.quote.qe_report.isv_svn
    assert _failed(td, _tdx(minimum_qe_svn=svn)) == []
    assert _failed(td, _tdx(minimum_qe_svn=svn + 1)) == ["tdx.qe_svn"]
    assert _failed(td, _tdx(qe_vendor_ids=frozenset({INTEL_QE_VENDOR}))) == []
    assert _failed(td, _tdx(qe_vendor_ids=frozenset({bytes(16)}))) == ["tdx.qe_vendor_id"]


def test_refuses_debug_unless_allowed() -> None:
    td = _td(td_attributes=1)
    assert _failed(td, _tdx()) == ["tdx.debug"]
    assert _failed(td, _tdx(allow_debug=True)) == []


@pytest.mark.parametrize("bit", range(1, 8))
def test_reserved_debug_bits_fail_though_debug_is_allowed(bit: int) -> None:
    td = _td(td_attributes=1 << bit)
    assert _failed(td, _tdx(allow_debug=True)) == ["tdx.reserved_debug"]


def test_status_platform_and_evaluation_are_checked() -> None:
    td = _td()
    assert _failed(td, _tdx(tcb_statuses=frozenset())) == ["tdx.tcb_status"]
    assert _failed(td, _tdx(fmspcs=frozenset({bytes(6)}))) == ["tdx.fmspc"]
    assert _failed(td, _tdx(fmspcs=frozenset({bytes.fromhex(dcap.FMSPC)}))) == []
    assert _failed(td, _tdx(minimum_tcb_evaluation_data_number=18)) == ["tdx.tcb_evaluation"]
    assert _failed(td, _tdx(minimum_tcb_evaluation_data_number=17)) == []


def test_there_is_always_one_finding_for_every_field_and_one_more() -> None:
    findings = tdx_findings(_td(), _tdx())
    assert len(findings) == len({item.id for item in findings}) == len(fields(TdxPolicy)) + 1


def test_an_empty_set_accepts_nothing() -> None:
    assert _failed(_td(), _tdx(mr_tds=frozenset())) == ["tdx.mr_td"]


def test_findings_of_the_other_tee_are_a_bug() -> None:
    with pytest.raises(TypeError):
        tdx_findings(_enclave(), _tdx())
    with pytest.raises(TypeError):
        sgx_findings(_td(), _sgx())


@pytest.mark.parametrize(
    "changes",
    [
        {"tcb_statuses": frozenset({TcbStatus.REVOKED})},
        {"tcb_statuses": UNCHECKED},
        {"allow_debug": UNCHECKED},
        {"allow_debug": 1},
        {"mr_tds": frozenset({b"short"})},
        {"mr_tds": ONE},
        {"mr_tds": None},
        {"report_data": bytes(63)},
        {"minimum_tcb_evaluation_data_number": -1},
        {"minimum_tcb_evaluation_data_number": True},
        {"attributes_required": 1},
    ],
)
def test_refuses_an_illegal_policy(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        _tdx(**changes)
    assert caught.value.code == "policy.invalid"


def test_sgx_policy_cannot_accept_revoked_either() -> None:
    with pytest.raises(InputError, match="never acceptable"):
        _sgx(tcb_statuses=frozenset({TcbStatus.REVOKED}))


SGX: dict[str, Any] = {
    "mr_enclaves": frozenset({bytes(32), b"\x01" * 32}),
    "mr_signers": frozenset({b"\x02" * 32}),
    "isv_prod_ids": frozenset({0, 65535}),
    "minimum_isv_svn": 3,
    "report_data": bytes(64),
    "allow_debug": True,
    "tcb_statuses": frozenset(),
    "minimum_tcb_evaluation_data_number": 17,
}


def test_an_sgx_policy_reads_back_and_is_named_by_its_json() -> None:
    for policy in (_sgx(), _sgx(**SGX)):
        raw = sgx_policy_to_json(policy)
        assert sgx_policy_from_json(raw) == policy
        assert policy.digest == hashlib.sha256(raw).digest()
    assert len({_sgx(**{name: SGX[name]}).digest for name in SGX} | {_sgx().digest}) == 9


@pytest.mark.parametrize("name", [field.name for field in fields(SgxPolicy)])
def test_an_sgx_policy_has_no_defaults(name: str) -> None:
    value = json.loads(sgx_policy_to_json(_sgx()))
    del value[name]
    with pytest.raises(InputError, match="lacks"):
        sgx_policy_from_json(canonical.dumps(value))


@pytest.mark.parametrize(
    "changes",
    [
        {"mr_enclaves": frozenset({bytes(48)})},
        {"isv_prod_ids": frozenset({65536})},
        {"minimum_isv_svn": True},
        {"report_data": b""},
        {"allow_debug": UNCHECKED},
        {"tcb_statuses": UNCHECKED},
    ],
)
def test_refuses_an_illegal_sgx_policy(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        _sgx(**changes)
    assert caught.value.code == "policy.invalid"


def test_writes_and_reads_json() -> None:
    values = {field: wanted for field, (_, wanted, _) in STRICT.items()}
    policy = _tdx(**values, fmspcs=frozenset({bytes(6)}), minimum_tcb_evaluation_data_number=3)
    assert tdx_policy_from_json(tdx_policy_to_json(policy)) == policy
    assert tdx_policy_from_json(tdx_policy_to_json(_tdx())) == _tdx()
    assert policy.digest != _tdx().digest


def _json(**changes: Any) -> bytes:
    value = json.loads(tdx_policy_to_json(_tdx())) | changes
    kept = {name: item for name, item in value.items() if item is not None}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        _json(mr_tds=None),
        _json(news=1),
        _json(version=2),
        _json(version=True),
        _json(tee="sev-snp"),
        _json(tcb_statuses="unchecked"),
        _json(allow_debug="unchecked"),
        _json(tcb_statuses=["Revoked"]),
        _json(tcb_statuses=["Fine"]),
        _json(mr_tds=["AA" * 48]),
        _json(attributes_required=["nothing"]),
        b" " * (MAX_POLICY + 1),
    ],
)
def test_refuses_json_of_another_form(raw: bytes) -> None:
    with pytest.raises(InputError):
        tdx_policy_from_json(raw)


@pytest.mark.parametrize(
    ("name", "policy", "report"),
    [
        ("sgx.debug", {}, {"attributes": b"\x07" + bytes(15)}),
        ("sgx.mr_enclave", {"mr_enclaves": frozenset({bytes(32)})}, {"mr_enclave": b"\x01" * 32}),
        ("sgx.mr_signer", {"mr_signers": frozenset({bytes(32)})}, {"mr_signer": b"\x01" * 32}),
        ("sgx.isv_prod_id", {"isv_prod_ids": frozenset({5})}, {"isv_prod_id": 6}),
        ("sgx.isv_svn", {"minimum_isv_svn": 5}, {"isv_svn": 4}),
        ("sgx.report_data", {"report_data": bytes(64)}, {"report_data": b"\x01" * 64}),
        ("sgx.tcb_status", {"tcb_statuses": frozenset()}, {}),
        ("sgx.tcb_evaluation", {"minimum_tcb_evaluation_data_number": 18}, {}),
    ],
)
def test_an_enclave_fails_by_the_field_that_differs(
    name: str, policy: dict[str, Any], report: dict[str, Any]
) -> None:
    findings = sgx_findings(_enclave(**report), _sgx(**policy))
    assert [item.id for item in findings if item.outcome is Outcome.FAIL] == [name]
    assert len(findings) == len(fields(SgxPolicy))


def test_an_enclave_passes_with_the_right_values() -> None:
    policy = _sgx(
        mr_enclaves=frozenset({b"\x07" * 32}),
        mr_signers=frozenset({dcap.QE_MR_SIGNER}),
        isv_prod_ids=frozenset({9}),
        minimum_isv_svn=4,
        report_data=bytes(64),
        minimum_tcb_evaluation_data_number=17,
    )
    verified = _enclave(mr_enclave=b"\x07" * 32, isv_prod_id=9)
    assert all(item.outcome is Outcome.PASS for item in sgx_findings(verified, policy))


def test_a_debug_enclave_may_be_allowed() -> None:
    verified = _enclave(attributes=b"\x07" + bytes(15))
    findings = sgx_findings(verified, replace(_sgx(), allow_debug=True))
    assert not [item.id for item in findings if item.outcome is Outcome.FAIL]
