"""What changed in which direction, and what to look at before signing."""

from dataclasses import replace
from typing import Any

import pytest

from atoll.evidence.certs import Signer
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.snp import PlatformInfo
from atoll.policy.diff import Change, Direction, diff
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.lint import Severity, lint
from support.policies import IMAGE, NOW_S, OTHER_IMAGE, document

BASE = document()
VLEKS = frozenset({Signer.VCEK, Signer.VLEK})


def _with(tee: str, **changes: Any) -> PolicyDocument:
    section: Any = BASE.sections[tee]
    sections: dict[str, Any] = dict(BASE.sections) | {tee: replace(section, **changes)}
    return document(sections=sections)


def _one(old: PolicyDocument, new: PolicyDocument) -> Change:
    (change,) = diff(old, new)
    return change


def test_equal_documents_have_no_difference() -> None:
    assert diff(BASE, document()) == ()


def test_what_the_document_says_about_itself_has_no_direction() -> None:
    changes = diff(BASE, document(name="x", version=4, not_before=1, mode=Mode.WARN))
    assert [item.path for item in changes] == ["name", "version", "not_before", "mode"]
    assert {item.direction for item in changes} == {Direction.NONE}
    assert changes[1] == Change(path="version", old="3", new="4", direction=Direction.NONE)


def _tcb(**parts: int) -> TcbVersion:
    return TcbVersion(**({"bootloader": 4, "tee": 1, "snp": 24, "microcode": 219} | parts))


TIGHTENING: list[tuple[str, str, Any, Any]] = [
    ("sev-snp", "measurements", frozenset({IMAGE, OTHER_IMAGE}), frozenset({IMAGE})),
    ("sev-snp", "measurements", UNCHECKED, frozenset({IMAGE})),
    ("sev-snp", "minimum_tcb", UNCHECKED, _tcb()),
    ("sev-snp", "minimum_tcb", _tcb(), _tcb(snp=25)),
    ("sev-snp", "minimum_guest_svn", 1, 2),
    ("sev-snp", "allow_debug", True, False),
    ("sev-snp", "require_crl", False, True),
    ("sev-snp", "platform_info_forbidden", PlatformInfo(0), PlatformInfo.SMT_EN),
    ("sev-snp", "platform_info_required", PlatformInfo(0), PlatformInfo.SMT_EN),
    ("sev-snp", "host_data", UNCHECKED, bytes(32)),
    ("tdx", "minimum_tee_tcb_svn", bytes(16), b"\x01" + bytes(15)),
    (
        "tdx",
        "tcb_statuses",
        frozenset(TcbStatus) - {TcbStatus.REVOKED},
        frozenset({TcbStatus.UP_TO_DATE}),
    ),
    ("keystone", "allow_derivable_sm_key", True, False),
    ("vtpm", "allow_host_tpm", True, False),
    ("vtpm", "pcr9s", UNCHECKED, frozenset({bytes(32)})),
    ("vtpm", "pcr_values", UNCHECKED, {7: bytes(32)}),
    ("vtpm", "require_secure_boot", False, True),
]


@pytest.mark.parametrize(("tee", "name", "loose", "tight"), TIGHTENING)
def test_knows_the_direction_of_every_kind_of_field(
    tee: str, name: str, loose: Any, tight: Any
) -> None:
    wide, narrow = _with(tee, **{name: loose}), _with(tee, **{name: tight})
    assert _one(wide, narrow).direction is Direction.TIGHTER
    assert _one(narrow, wide).direction is Direction.LOOSER
    assert _one(wide, narrow).path == f"sections.{tee}.{name}"
    assert Direction.LOOSER.accepts_more
    assert not Direction.TIGHTER.accepts_more


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("measurements", frozenset({IMAGE}), frozenset({OTHER_IMAGE})),
        ("minimum_tcb", _tcb(snp=25), _tcb(tee=2)),
        ("host_data", bytes(32), b"\x01" * 32),
    ],
)
def test_what_takes_anothers_place_accepts_more_as_well(name: str, old: Any, new: Any) -> None:
    change = _one(_with("sev-snp", **{name: old}), _with("sev-snp", **{name: new}))
    assert change.direction is Direction.BOTH
    assert change.direction.accepts_more


def test_a_section_more_accepts_more_and_one_less_accepts_less() -> None:
    less = document(sections={"sev-snp": BASE.sections["sev-snp"]})
    assert {item.direction for item in diff(less, BASE)} == {Direction.LOOSER}
    assert {(item.new, item.direction) for item in diff(BASE, less)} == {
        ("absent", Direction.TIGHTER)
    }


def _remarks(made: PolicyDocument) -> dict[tuple[str, str], Severity]:
    return {(item.id, item.path): item.severity for item in lint(made, now=NOW_S)}


def test_a_strict_template_has_only_what_a_person_must_fill_in() -> None:
    assert _remarks(BASE) == {
        ("lint.rollback", "sections.sev-snp.minimum_tcb"): Severity.WARNING,
        (
            "lint.rollback",
            "sections.tdx.minimum_tcb_evaluation_data_number",
        ): Severity.WARNING,
        ("lint.any_kernel", "sections.vtpm.kernel_digests"): Severity.WARNING,
        ("lint.any_kernel", "sections.vtpm.pcr0s"): Severity.WARNING,
    }


@pytest.mark.parametrize(
    ("tee", "changes", "name", "severity"),
    [
        ("sev-snp", {"measurements": UNCHECKED}, "lint.any_code", Severity.ERROR),
        ("vtpm", {"pcr9s": UNCHECKED}, "lint.any_code", Severity.ERROR),
        ("vtpm", {"allow_host_tpm": True}, "lint.simulated", Severity.WARNING),
        ("sev-snp", {"measurements": frozenset()}, "lint.nothing", Severity.ERROR),
        ("sev-snp", {"allow_debug": True}, "lint.debug", Severity.ERROR),
        ("sev-snp", {"products": UNCHECKED}, "lint.simulated", Severity.WARNING),
        ("sev-snp", {"products": frozenset(Product)}, "lint.simulated", Severity.WARNING),
        ("sev-snp", {"allow_migrate_ma": True}, "lint.migration", Severity.WARNING),
        ("sev-snp", {"allow_provisional_firmware": True}, "lint.rollback", Severity.WARNING),
        ("sev-snp", {"require_crl": False}, "lint.revocation", Severity.WARNING),
        ("sev-snp", {"vmpls": UNCHECKED}, "lint.privilege", Severity.WARNING),
        ("sev-snp", {"signers": UNCHECKED}, "lint.any_cloud", Severity.WARNING),
        ("sev-snp", {"signers": VLEKS}, "lint.any_cloud", Severity.WARNING),
        ("tdx", {"mr_tds": UNCHECKED}, "lint.any_code", Severity.ERROR),
        ("tdx", {"allow_debug": True}, "lint.debug", Severity.ERROR),
        ("tdx", {"report_data": bytes(64)}, "lint.one_run", Severity.WARNING),
        (
            "tdx",
            {"tcb_statuses": frozenset({TcbStatus.OUT_OF_DATE})},
            "lint.tcb_status",
            Severity.WARNING,
        ),
        ("keystone", {"enclave_hashes": UNCHECKED}, "lint.any_code", Severity.ERROR),
        ("keystone", {"allow_derivable_sm_key": True}, "lint.derivable", Severity.ERROR),
        ("keystone", {"data": b""}, "lint.one_run", Severity.WARNING),
    ],
)
def test_remarks_on_what_is_loose(
    tee: str, changes: dict[str, Any], name: str, severity: Severity
) -> None:
    found = {
        key: value
        for key, value in _remarks(_with(tee, **changes)).items()
        if key not in _remarks(BASE)
    }
    assert {key[0]: value for key, value in found.items()} == {name: severity}


def test_remarks_on_the_whole_document() -> None:
    made = document(sections={}, mode=Mode.SHADOW, not_before=NOW_S + 1)
    assert [(item.id, item.severity) for item in lint(made, now=NOW_S)] == [
        ("lint.no_section", Severity.ERROR),
        ("lint.future", Severity.WARNING),
        ("lint.mode", Severity.NOTE),
    ]


def test_a_minimum_ends_the_remark_on_old_collateral() -> None:
    made = _with("tdx", minimum_tcb_evaluation_data_number=18)
    assert ("lint.rollback", "sections.sev-snp.minimum_tcb") in _remarks(made)
    assert len(_remarks(made)) == len(_remarks(BASE)) - 1


def test_vleks_of_named_clouds_are_no_remark() -> None:
    made = _with("sev-snp", signers=VLEKS, csp_ids=frozenset({"CN=cc.example.invalid"}))
    assert "lint.any_cloud" not in {item.id for item in lint(made, now=NOW_S)}
