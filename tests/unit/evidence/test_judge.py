"""The verification API: every published vector, and what the requests themselves must be."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, InputError
from atoll.evidence.judge import ALIASES, FIELDS, JUDGES, judge, judge_vector, parse
from atoll.evidence.judgement import Judgement, Request, Roots
from atoll.evidence.policy import UNCHECKED, policy_to_json
from atoll.evidence.snp import GuestPolicy
from support import evidence, vectors
from support.evidence import NOW
from support.reports import ROOTS, judge_report, report

BASE = 0x30133


WITHOUT_SIDE_FILES = sorted(set(JUDGES) - {"snp_crl", "snp_id_block", "tpm_quote"})


def _all_cases() -> list[Any]:
    return [
        pytest.param(case, id=case["id"])
        for kind in sorted(JUDGES)
        for case in vectors.of_kind(kind)
    ]


@pytest.mark.parametrize("case", _all_cases())
def test_agrees_with_a_published_vector(case: dict[str, Any]) -> None:
    blind = {key: value for key, value in case.items() if key not in ("expected", "fields")}
    row = judge_vector(blind, vectors.read)
    expected = case["expected"]
    assert row.got == expected["verdict"]
    assert bool(row.reason) == (row.got == "invalid")
    assert not row.reason.startswith(("judge.", "vectors.", "input.", "policy."))
    if row.tcb_status and expected.get("tcb_status"):
        assert row.tcb_status == expected["tcb_status"]


def test_every_kind_of_the_vectors_is_known() -> None:
    vectors.require()
    manifest = vectors.all_kinds()
    assert manifest - JUDGES.keys() == set()
    assert set(FIELDS) == set(JUDGES)
    assert set(ALIASES.values()) <= set(JUDGES)


def _fields_agree(got: str, wanted: Any) -> bool:
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        return int(got, 0) == wanted
    return got.lower() == str(wanted).lower()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["id"])
        for kind in ("snp_report", "snp_parse", "tdx_quote", "sgx_quote", "keystone_report")
        for case in vectors.of_kind(kind)
        if case.get("fields")
    ],
)
def test_every_field_is_as_an_independent_tool_reads_it(case: dict[str, Any]) -> None:
    fields = parse(case["kind"], vectors.read(case["path"]))
    shared = fields.keys() & case["fields"].keys()
    assert "report_data" in shared or "data" in shared
    differ = [name for name in shared if not _fields_agree(fields[name], case["fields"][name])]
    assert differ == []


def test_a_good_report_passes_with_claims_and_says_simulated() -> None:
    judgement = judge_report(report())
    assert (judgement.verdict, judgement.reason) == ("valid", "")
    assert judgement.simulated
    assert judgement.product == "Simulated"
    assert judgement.claims["report_data"] == "42" * 64
    ids = [item.id for item in judgement.checks]
    assert len(set(ids)) == len(ids)


def test_the_pinned_roots_alone_refuse_simulated_evidence() -> None:
    judgement = judge_report(report(), roots=None)
    assert (judgement.verdict, judgement.reason) == ("invalid", "snp.root")
    assert judgement.claims == {}


@pytest.mark.parametrize(
    ("changes", "policy", "reason"),
    [
        ({"policy": BASE | GuestPolicy.DEBUG}, {}, "snp.debug"),
        ({"policy": BASE | GuestPolicy.DEBUG}, {"allow_debug": True}, ""),
        ({"policy": BASE | GuestPolicy.MIGRATE_MA}, {}, "snp.migrate_ma"),
        ({"policy": BASE | GuestPolicy.MIGRATE_MA}, {"allow_migrate_ma": True}, ""),
        ({}, {"report_data": "42" * 64}, ""),
        ({}, {"report_data": "42" * 32}, "snp.report_data"),
        ({}, {"report_id": "42" * 32}, "snp.report_id"),
        ({}, {"require_author_key": True}, "snp.author_key_en"),
        ({"author_key_en": True}, {"require_author_key": True}, ""),
        ({"author_key_digest": b"a" * 48}, {"author_key_digest": "61" * 48}, "snp.author_key"),
        (
            {"author_key_digest": b"a" * 48, "author_key_en": True},
            {"author_key_digest": "61" * 48},
            "",
        ),
        ({}, {"author_key_digest": "00" * 48}, ""),
        ({"author_key_digest": b"a" * 48}, {"author_key_digest": "00" * 48}, "snp.no_author_key"),
        ({}, {"require_id_block": True}, "snp.id_block"),
        ({"id_key_digest": b"k" * 48}, {"require_id_block": True}, ""),
        ({}, {"min_launch_tcb": {"snp": 24}}, ""),
        ({}, {"min_launch_tcb": {"snp": 25}}, "snp.launch_tcb.snp"),
        ({}, {"min_committed_tcb": {"microcode": 255}}, "snp.committed_tcb.microcode"),
        ({}, {"min_current_tcb": {"tee": 2}}, "snp.current_tcb.tee"),
        ({}, {"require_crl": True}, "snp.revocation"),
        ({"vmpl": 2}, {"vmpl": 2}, ""),
        ({"vmpl": 2}, {"vmpl": 0}, "snp.vmpl"),
    ],
)
def test_each_requirement_can_pass_and_fail(
    changes: dict[str, Any], policy: dict[str, Any], reason: str
) -> None:
    assert judge_report(report(**changes), policy=policy).reason == reason


def test_requirements_on_a_tcb_fail_when_the_report_is_not_genuine() -> None:
    judgement = judge_report(report(), roots=None, policy={"min_launch_tcb": {"snp": 0}})
    checks = {item.id: item.outcome.value for item in judgement.checks}
    assert checks["snp.launch_tcb.snp"] == "fail"
    assert checks["snp.current_tcb.snp"] == "unchecked"


def _whole(**fields: Any) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads(policy_to_json(evidence.policy(**fields)))
    return policy


def test_a_whole_policy_counts_with_every_field() -> None:
    assert judge_report(report(), policy=_whole()).verdict == "valid"
    other = _whole(measurements=frozenset({bytes(48)}))
    assert judge_report(report(), policy=other).reason == "snp.measurement"


def test_a_measurement_beside_a_whole_policy_narrows_it_and_never_widens_it() -> None:
    own = evidence.MEASUREMENT.hex()
    assert judge_report(report(), policy={**_whole(), "measurement": own}).verdict == "valid"
    for policy in (
        {**_whole(), "measurement": "00" * 48},
        {**_whole(measurements=frozenset({bytes(48)})), "measurement": own},
    ):
        assert judge_report(report(), policy=policy).reason == "snp.measurement"


def test_another_product_than_was_asked_for_fails() -> None:
    assert judge_report(report(), product="Simulated").verdict == "valid"
    assert judge_report(report(), product="Milan").reason == "snp.product_line"
    assert judge_report(report(), policy=_whole(), product="Milan").reason == "snp.product_line"
    any_product = _whole(products=UNCHECKED)
    assert judge_report(report(), policy=any_product, product="Milan").reason == "snp.product_line"
    assert judge_report(report(), product="a label").verdict == "valid"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"policy": {"measurment": "00" * 48}}, "policy.invalid"),
        ({"policy": {"measurement": "zz"}}, "policy.invalid"),
        ({"policy": {"measurement": "00"}}, "policy.invalid"),
        ({"policy": {"vmpl": 4}}, "policy.invalid"),
        ({"policy": {"allow_debug": 1}}, "policy.invalid"),
        ({"policy": {"min_tcb": {}}}, "policy.invalid"),
        ({"policy": {"min_tcb": {"snp": 256}}}, "policy.invalid"),
        ({"policy": {"min_tcb": {"snp": True}}}, "policy.invalid"),
        ({"policy": {"tee": "sev-snp"}}, "policy.invalid"),
        ({"files": {"cert": [b"x"]}}, "judge.files"),
        ({"params": {"vcpus": 1}}, "judge.params"),
        ({"now": None}, "judge.time"),
        ({"roots": Roots(certificates=(b"x",))}, "trust.root"),
        ({"roots": Roots(certificates=(evidence.chain().ask,))}, "trust.root"),
        ({"roots": Roots(amd_spki_sha256={"Rome": bytes(32)})}, "trust.root"),
        ({"roots": Roots(amd_spki_sha256={"Milan": bytes(31)})}, "trust.root"),
    ],
)
def test_a_request_that_cannot_be_meant_is_an_error(options: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught:
        judge_report(report(), **options)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["", "sev", "SNP", "data"])
def test_an_unknown_kind_is_an_error(kind: str) -> None:
    with pytest.raises(InputError) as caught:
        judge(kind, b"")
    assert caught.value.code == "judge.kind"
    with pytest.raises(InputError):
        parse(kind, b"")


@pytest.mark.parametrize("kind", ["snp", "tdx", "snp_cert_chain", "intel_pck_chain"])
def test_a_kind_with_certificates_needs_the_time(kind: str) -> None:
    collateral = ("root_crl", "pck_crl", "tcb_info", "tcb_info_sig", "tcb_chain")
    wanted: dict[str, tuple[str, ...]] = {
        "intel_pck_chain": ("root", "root_crl", "pck_crl"),
        "tdx": (*collateral, "qe_identity", "qe_identity_sig", "qe_chain"),
    }
    with pytest.raises(InputError) as caught:
        judge(kind, b"x", files={role: [b"x"] for role in wanted.get(kind, ())})
    assert caught.value.code == "judge.time"


@pytest.mark.parametrize("files", [{}, {"auth": [b"a", b"b"]}])
def test_a_role_of_one_file_wants_exactly_one(files: dict[str, list[bytes]]) -> None:
    with pytest.raises(InputError) as caught:
        judge("snp_id_block", b"x", files=files)
    assert caught.value.code == "judge.files"


@pytest.mark.parametrize(
    "kind", ["keystone", "ccel", "rtmr_json_log", "tpm_quote", "azure_hcl_tdx", "ratls_cert"]
)
def test_files_and_roots_that_would_not_be_looked_at_are_refused(kind: str) -> None:
    with pytest.raises(InputError) as caught:
        judge(kind, b"x", files={"crls": [b"x"]}, now=NOW)
    assert caught.value.code == "judge.files"
    if kind in {"ccel", "rtmr_json_log", "tpm_quote"}:
        with pytest.raises(InputError) as caught:
            judge(kind, b"x", now=NOW, roots=ROOTS)
        assert caught.value.code == "trust.root"


def test_keystone_without_a_device_key_believes_nothing() -> None:
    assert judge("keystone", bytes(1352), now=NOW).reason == "keystone.root"


def test_a_quote_without_collateral_is_refused_with_what_is_missing() -> None:
    judgement = judge("tdx", b"x", files={"root_crl": [b"x"]}, now=NOW)
    assert judgement.reason == "tdx.collateral"
    assert "pck_crl" in judgement.checks[0].actual
    assert "root_crl" not in judgement.checks[0].actual


@pytest.mark.parametrize("kind", WITHOUT_SIDE_FILES)
@given(raw=st.binary(max_size=300))
@settings(max_examples=15)
def test_arbitrary_bytes_are_never_valid_and_raise_nothing(kind: str, raw: bytes) -> None:
    policy = {"snp_launch_digest": {"measurement": "00" * 48}}.get(kind, {})
    roots = Roots(certificates=(bytes(32),)) if kind == "keystone_report" else Roots()
    files: dict[str, list[bytes]] = {}
    if kind.startswith("azure"):
        beside = "certs" if kind.endswith("snp") else "quote"
        files = {role: [raw] for role in ("tpm_message", "tpm_signature", "tpm_pcrs", beside)}
    judgement = judge(kind, raw, files=files, policy=policy, now=NOW, roots=roots)
    assert judgement.verdict == "invalid"
    assert judgement.reason


@pytest.mark.parametrize("kind", sorted(FIELDS))
@given(raw=st.binary(max_size=300))
@settings(max_examples=10)
def test_parsing_arbitrary_bytes_gives_the_documented_error(kind: str, raw: bytes) -> None:
    with pytest.raises((EvidenceError, InputError)):
        parse(kind, raw)


def test_a_judgement_without_a_check_cannot_be_made() -> None:
    request = Request(
        kind="snp_report",
        evidence=b"",
        files={},
        params={},
        policy={},
        product=None,
        now=NOW,
        roots=Roots(),
    )
    with pytest.raises(ValueError, match="check"):
        Judgement.of(request, ())
