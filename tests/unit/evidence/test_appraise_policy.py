"""Every field of a SEV-SNP policy can pass and fail, and fails alone."""

from dataclasses import replace
from typing import Any

import pytest

from atoll.evidence.certs import Signer
from atoll.evidence.findings import Outcome
from atoll.evidence.policy import UNCHECKED
from atoll.evidence.products import Product
from atoll.evidence.snp import AbiVersion, GuestPolicy, PlatformInfo, ReportBody
from atoll.evidence.snp_findings import Subject, snp_findings
from support import evidence
from support.evidence import TCB
from support.reports import appraise, failed

BASE = 0x30133


POLICY_CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # id, policy that passes, policy that fails, changes to the report (for both)
    ("snp.debug", {"allow_debug": True}, {}, {"policy": BASE | GuestPolicy.DEBUG}),
    ("snp.migrate_ma", {"allow_migrate_ma": True}, {}, {"policy": BASE | GuestPolicy.MIGRATE_MA}),
    ("snp.smt", {"allow_smt": True}, {"allow_smt": False}, {}),
    ("snp.vmpl", {"vmpls": frozenset({0, 2})}, {}, {"vmpl": 2}),
    ("snp.vmpl", {"vmpls": UNCHECKED}, {"vmpls": frozenset()}, {}),
    ("snp.measurement", {"measurements": frozenset({bytes(48)})}, {}, {"measurement": bytes(48)}),
    ("snp.measurement", {"measurements": UNCHECKED}, {"measurements": frozenset()}, {}),
    ("snp.host_data", {"host_data": b"h" * 32}, {"host_data": bytes(32)}, {"host_data": b"h" * 32}),
    ("snp.family_id", {"family_id": bytes(16)}, {"family_id": b"f" * 16}, {}),
    ("snp.image_id", {"image_id": bytes(16)}, {"image_id": b"f" * 16}, {}),
    ("snp.guest_svn", {"minimum_guest_svn": 3}, {"minimum_guest_svn": 4}, {"guest_svn": 3}),
    (
        "snp.id_key",
        {"id_key_digests": frozenset({b"k" * 48})},
        {"id_key_digests": frozenset({bytes(48)})},
        {"id_key_digest": b"k" * 48},
    ),
    (
        "snp.author_key",
        {"author_key_digests": frozenset({b"a" * 48})},
        {"author_key_digests": frozenset({bytes(48)})},
        {"author_key_digest": b"a" * 48, "author_key_en": True},
    ),
    (
        "snp.author_key",
        {"author_key_digests": UNCHECKED},
        {"author_key_digests": frozenset({b"a" * 48})},
        {"author_key_digest": b"a" * 48, "author_key_en": False},
    ),
    (
        "snp.chip_id",
        {"chip_ids": frozenset({evidence.CHIP_ID})},
        {"chip_ids": frozenset({bytes(64)})},
        {},
    ),
    ("snp.csp_id", {"csp_ids": UNCHECKED}, {"csp_ids": frozenset({"CN=cloud"})}, {}),
    ("snp.key_kind", {"signers": UNCHECKED}, {"signers": frozenset({Signer.VLEK})}, {}),
    ("snp.product_line", {"products": UNCHECKED}, {"products": frozenset({Product.MILAN})}, {}),
    (
        "snp.provisional",
        {"allow_provisional_firmware": True},
        {},
        {"committed_tcb": bytes.fromhex("03010000000018db")},
    ),
    ("snp.provisional", {"allow_provisional_firmware": True}, {}, {"committed_version": (1, 0, 0)}),
    (
        "snp.platform.required",
        {"platform_info_required": PlatformInfo.ECC_EN | PlatformInfo.SMT_EN},
        {"platform_info_required": PlatformInfo.ECC_EN | PlatformInfo.TSME_EN},
        {},
    ),
    (
        "snp.platform.forbidden",
        {"platform_info_forbidden": PlatformInfo.TSME_EN},
        {"platform_info_forbidden": PlatformInfo.TSME_EN | PlatformInfo.SMT_EN},
        {},
    ),
    ("snp.revocation", {"require_crl": False}, {"require_crl": True}, {}),
    *(
        (
            f"snp.{prefix}tcb.{name}",
            {f"minimum_{prefix}tcb": TCB},
            {f"minimum_{prefix}tcb": replace(TCB, **{name: value + 1})},
            {},
        )
        for prefix in ("", "launch_", "committed_", "current_")
        for name, value in TCB.components()
    ),
    *(
        (
            f"snp.{which}_version",
            {f"minimum_{which}_version": AbiVersion(1, 55)},
            {f"minimum_{which}_version": AbiVersion(*least)},
            {"current_version": (1, 55, 21), "committed_version": (1, 55, 21)},
        )
        for which in ("current", "committed")
        for least in ((1, 56), (2, 0))
    ),
    *(
        (
            f"snp.{which}_build",
            {f"minimum_{which}_build": 21},
            {f"minimum_{which}_build": 22},
            {"current_version": (1, 55, 21), "committed_version": (1, 55, 21)},
        )
        for which in ("current", "committed")
    ),
    (
        "snp.policy.required",
        {"guest_policy_required": GuestPolicy.SINGLE_SOCKET | GuestPolicy.RESERVED_ONE},
        {"guest_policy_required": GuestPolicy.SINGLE_SOCKET | GuestPolicy.RAPL_DIS},
        {"policy": BASE | GuestPolicy.SINGLE_SOCKET},
    ),
    (
        "snp.policy.forbidden",
        {"guest_policy_forbidden": GuestPolicy.CXL_ALLOW},
        {"guest_policy_forbidden": GuestPolicy.CXL_ALLOW | GuestPolicy.SINGLE_SOCKET},
        {"policy": BASE | GuestPolicy.SINGLE_SOCKET},
    ),
    *(
        (
            "snp.policy.abi",
            {"minimum_guest_abi": AbiVersion(1, 55)},
            {"minimum_guest_abi": AbiVersion(*least)},
            {"policy": BASE & ~0xFFFF | 1 << 8 | 55},
        )
        for least in ((1, 56), (2, 0))
    ),
    ("snp.id_block", {"require_id_block": False}, {"require_id_block": True}, {}),
    ("snp.author_key_en", {"require_author_key": False}, {"require_author_key": True}, {}),
    (
        "snp.report_id",
        {"report_ids": frozenset({evidence.REPORT_ID})},
        {"report_ids": frozenset({bytes(32)})},
        {},
    ),
    (
        "snp.report_id_ma",
        {"report_id_mas": frozenset({b"m" * 32})},
        {"report_id_mas": frozenset({b"\xff" * 32})},
        {"report_id_ma": b"m" * 32},
    ),
    (
        "snp.report_version",
        {"minimum_report_version": 3},
        {"minimum_report_version": 4},
        {"version": 3},
    ),
    (
        "snp.stepping",
        {"steppings": frozenset({1})},
        {"steppings": frozenset({0})},
        {"cpuid_step": 1},
    ),
    *(
        (
            f"snp.{which}_mitigations",
            {f"{which}_mitigations_required": b"\x01" + bytes(7)},
            {f"{which}_mitigations_required": b"\x01\x01" + bytes(6)},
            {"version": 5, f"{which}_mit_vector": 3},
        )
        for which in ("launch", "current")
    ),
]


@pytest.mark.parametrize(("name", "passing", "failing", "changes"), POLICY_CASES)
def test_each_field_of_a_policy_can_pass_and_fail(
    name: str, passing: dict[str, Any], failing: dict[str, Any], changes: dict[str, Any]
) -> None:
    document = evidence.document(**changes)
    good = appraise(document, policy=evidence.policy(**passing))
    assert good.passed, good.reason
    assert good.finding(name).outcome is not Outcome.FAIL
    bad = appraise(document, policy=evidence.policy(**failing))
    assert failed(bad) == [name]
    assert bad.finding(name).expected != bad.finding(name).actual


def test_a_signed_launch_and_a_vouched_owner_meet_what_is_required() -> None:
    policy = evidence.policy(require_id_block=True, require_author_key=True)
    document = evidence.document(id_key_digest=b"k" * 48, author_key_en=True)
    appraisal = appraise(document, policy=policy)
    assert appraisal.passed
    for name in ("snp.id_block", "snp.author_key_en"):
        assert appraisal.finding(name).outcome is Outcome.PASS


def test_a_version_2_report_has_no_stepping_to_accept() -> None:
    body = ReportBody(version=2)
    policy = evidence.policy(steppings=frozenset({0}))
    findings = {item.id: item for item in snp_findings(Subject.claimed(body), policy)}
    assert findings["snp.stepping"].outcome is Outcome.FAIL


def test_a_report_that_is_not_verified_has_no_tcb_to_compare() -> None:
    document = evidence.document(signer=evidence.other_chain())
    policy = evidence.policy(minimum_launch_tcb=TCB, minimum_current_tcb=UNCHECKED)
    appraisal = appraise(document, policy=policy)
    assert appraisal.finding("snp.launch_tcb.snp").outcome is Outcome.FAIL
    assert appraisal.finding("snp.launch_tcb.snp").actual == "not verified"
    assert appraisal.finding("snp.current_tcb.snp").outcome is Outcome.UNCHECKED


def test_a_higher_microcode_does_not_make_up_for_an_older_firmware() -> None:
    lowest = replace(TCB, snp=TCB.snp + 1, microcode=0)
    appraisal = appraise(evidence.document(), policy=evidence.policy(minimum_tcb=lowest))
    assert failed(appraisal) == ["snp.tcb.snp"]
