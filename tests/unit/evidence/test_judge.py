"""The verification API: every published vector, and what the requests themselves must be."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, InputError, NotFoundError
from atoll.evidence.cert_table import ARK, ASK, VCEK, CertificateTable
from atoll.evidence.dcap.intel_chain import read_certificate
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.judge import ALIASES, FIELDS, JUDGES, UNSUPPORTED, judge, judge_vector, parse
from atoll.evidence.judgement import Judgement, Request, Roots
from atoll.evidence.policy import UNCHECKED, policy_to_json
from atoll.evidence.quote_fields import fields_of
from atoll.evidence.snp import GuestPolicy
from atoll.evidence.x509 import ders
from support import dcap, evidence, id_block, ovmf, vectors
from support.evidence import NOW

BASE = 0x30133
ROOTS = Roots(certificates=(evidence.chain().ark_pem,))
WITHOUT_SIDE_FILES = sorted(set(JUDGES) - {"snp_crl", "snp_id_block", "tpm_quote"})


def _report(**changes: Any) -> bytes:
    report = evidence.guest().attest(b"\x42" * 64)
    return evidence.resign(report, **changes) if changes else report


def _judge(report: bytes, kind: str = "snp", **options: Any) -> Judgement:
    given: dict[str, Any] = {
        "files": {"certs": evidence.chain().certificates},
        "now": NOW,
        "roots": ROOTS,
    }
    return judge(kind, report, **(given | options))


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
    judgement = _judge(_report())
    assert (judgement.verdict, judgement.reason) == ("valid", "")
    assert judgement.simulated
    assert judgement.product == "Simulated"
    assert judgement.claims["report_data"] == "42" * 64
    ids = [item.id for item in judgement.checks]
    assert len(set(ids)) == len(ids)


def test_the_pinned_roots_alone_refuse_simulated_evidence() -> None:
    judgement = _judge(_report(), roots=None)
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
    assert _judge(_report(**changes), policy=policy).reason == reason


def test_requirements_on_a_tcb_fail_when_the_report_is_not_genuine() -> None:
    judgement = _judge(_report(), roots=None, policy={"min_launch_tcb": {"snp": 0}})
    checks = {item.id: item.outcome.value for item in judgement.checks}
    assert checks["snp.launch_tcb.snp"] == "fail"
    assert checks["snp.current_tcb.snp"] == "unchecked"


def _whole(**fields: Any) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads(policy_to_json(evidence.policy(**fields)))
    return policy


def test_a_whole_policy_counts_with_every_field() -> None:
    assert _judge(_report(), policy=_whole()).verdict == "valid"
    other = _whole(measurements=frozenset({bytes(48)}))
    assert _judge(_report(), policy=other).reason == "snp.measurement"


def test_a_measurement_beside_a_whole_policy_narrows_it_and_never_widens_it() -> None:
    own = evidence.MEASUREMENT.hex()
    assert _judge(_report(), policy={**_whole(), "measurement": own}).verdict == "valid"
    for policy in (
        {**_whole(), "measurement": "00" * 48},
        {**_whole(measurements=frozenset({bytes(48)})), "measurement": own},
    ):
        assert _judge(_report(), policy=policy).reason == "snp.measurement"


def test_another_product_than_was_asked_for_fails() -> None:
    assert _judge(_report(), product="Simulated").verdict == "valid"
    assert _judge(_report(), product="Milan").reason == "snp.product_line"
    assert _judge(_report(), policy=_whole(), product="Milan").reason == "snp.product_line"
    any_product = _whole(products=UNCHECKED)
    assert _judge(_report(), policy=any_product, product="Milan").reason == "snp.product_line"
    assert _judge(_report(), product="a label").verdict == "valid"


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
        _judge(_report(), **options)
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["", "sev", "SNP", "data"])
def test_an_unknown_kind_is_an_error(kind: str) -> None:
    with pytest.raises(InputError) as caught:
        judge(kind, b"")
    assert caught.value.code == "judge.kind"
    with pytest.raises(InputError):
        parse(kind, b"")


def _extended(entries: dict[Any, bytes]) -> bytes:
    return _report() + CertificateTable(entries=tuple(entries.items())).to_bytes()


def test_an_extended_report_takes_authorities_from_files_only_if_it_lacks_them() -> None:
    chain, other = evidence.chain(), evidence.other_chain()
    whole = _extended({VCEK: chain.vcek, ASK: chain.ask, ARK: chain.ark})
    kind = "snp_extended_report"
    assert _judge(whole, kind, files={"certs": other.certificates}).verdict == "valid"
    leaf = _extended({VCEK: chain.vcek})
    assert _judge(leaf, kind, files={"certs": [chain.ask, chain.ark]}).verdict == "valid"
    assert _judge(leaf, kind, files={}).reason == "snp.chain"
    foreign = _extended({VCEK: chain.vcek, ASK: other.ask, ARK: other.ark})
    assert _judge(foreign, kind).verdict == "invalid"
    assert _judge(whole[:-1], kind).reason == "snp.cert_table"


def test_a_chain_without_a_vek_is_judged_with_its_product() -> None:
    chain = evidence.chain()
    files = {"certs": [chain.ask]}
    assert _judge(chain.ark, "snp_cert_chain", files=files).verdict == "valid"
    assert (
        _judge(chain.ark, "snp_cert_chain", files=files, product="Genoa").reason
        == "snp.product_line"
    )
    assert _judge(chain.ark, "snp_cert_chain", files={}).reason == "snp.chain"
    assert _judge(chain.ark, "snp_cert_chain", files=files, roots=None).reason == "snp.root"


def _vector(kind: str, **wanted: Any) -> dict[str, Any]:
    vectors.require()
    return next(
        case
        for case in vectors.of_kind(kind)
        if all(case.get(key, case["expected"].get(key)) == value for key, value in wanted.items())
    )


def test_a_chain_without_a_vek_is_held_against_its_revocation_lists() -> None:
    case = _vector("snp_report", reason="revoked")
    named = {name: bytes.fromhex(value) for name, value in case["trusted_roots"].items()}
    certs = [vectors.read(path) for path in case["files"]["certs"] if "ark" in path or "as" in path]
    crls = [vectors.read(path) for path in case["files"]["crls"]]
    given: dict[str, Any] = {
        "now": datetime.fromisoformat(case["verify_time"]),
        "roots": Roots(amd_spki_sha256=named),
    }
    alone = judge("snp_cert_chain", certs[-1], files={"certs": certs}, **given)
    assert alone.verdict == "valid"
    revoked = judge("snp_cert_chain", certs[-1], files={"certs": certs, "crls": crls}, **given)
    assert revoked.reason == "snp.crl"
    assert "revoked: SEV-" in revoked.checks[-1].actual
    broken = judge("snp_cert_chain", certs[-1], files={"certs": certs, "crls": [b""]}, **given)
    assert broken.verdict == "invalid"


def test_a_revocation_list_of_a_root_that_nobody_trusts_is_refused() -> None:
    case = _vector("snp_crl", verdict="valid")
    given: dict[str, Any] = {
        "files": {"issuer": [vectors.read(case["files"]["issuer"])]},
        "now": datetime.fromisoformat(case["verify_time"]),
    }
    crl = vectors.read(case["path"])
    assert judge("snp_crl", crl, **given).claims["revoked_serials"] == "20001"
    nobody = judge("snp_crl", crl, **given, roots=Roots(amd_spki_sha256={}))
    assert (nobody.reason, nobody.claims) == ("snp.root", {})
    intermediate = vectors.read("snp/certs/ask-genoa.pem")
    not_a_root = judge("snp_crl", crl, **(given | {"files": {"issuer": [intermediate]}}))
    assert not_a_root.reason == "snp.root"
    other = judge("snp_crl", crl, **given, product="Milan")
    assert other.reason == "snp.product_line"


def _tdx(quote: str) -> tuple[bytes, dict[str, Any]]:
    case = _vector("tdx_quote", path=quote, verdict="valid")
    files = {role: [vectors.read(path)] for role, path in case["files"].items()}
    now = datetime.fromisoformat(case["verify_time"])
    return vectors.read(quote), {"files": files, "policy": case["policy"], "now": now}


@pytest.mark.parametrize("kind", ["ccel", "rtmr_json_log"])
def test_the_rtmrs_of_a_genuine_quote_must_follow_from_the_event_log(kind: str) -> None:
    vectors.require()
    logs = [case for case in vectors.of_kind(kind) if "quote" in case["files"]]
    quotes = {case["path"] for case in vectors.of_kind("tdx_quote") if _accepted(case)}
    outcomes = set()
    for log in logs:
        if log["files"]["quote"] not in quotes:
            continue
        quote, given = _tdx(log["files"]["quote"])
        given["files"]["event_log"] = [vectors.read(log["path"])]
        outcomes.add((log["expected"]["verdict"], judge("tdx", quote, **given).reason))
    assert ("invalid", "") not in outcomes
    assert outcomes & {("valid", ""), ("invalid", "tdx.event_log")}


def _accepted(case: dict[str, Any]) -> bool:
    return bool(case["expected"]["verdict"] == "valid")


def test_roots_for_quotes_are_believed_beside_intels() -> None:
    case = _vector("tdx_quote", verdict="valid")
    quote, given = _tdx(case["path"])
    genuine = read_certificate(ders(given["files"]["tcb_chain"][0])[-1]).der
    for certificates in ((genuine,), (dcap.root_der(),), (genuine, dcap.root_der())):
        judgement = judge("tdx", quote, **given, roots=Roots(certificates=certificates))
        assert (judgement.verdict, judgement.simulated) == ("valid", False)
    with pytest.raises(InputError) as caught:
        judge("tdx", quote, **given, roots=Roots(certificates=(b"x",)))
    assert caught.value.code == "trust.root"


def test_a_quote_under_a_root_that_is_not_intels_is_called_simulated() -> None:
    made = dcap.collateral()
    files = {
        "tcb_info": [made.tcb_info.raw],
        "tcb_info_sig": [made.tcb_info.signature.hex().encode()],
        "tcb_chain": [made.tcb_info_chain],
        "qe_identity": [made.qe_identity.raw],
        "qe_identity_sig": [made.qe_identity.signature.hex().encode()],
        "qe_chain": [made.qe_identity_chain],
        "root_crl": [made.root_crl],
        "pck_crl": [made.pck_crl],
    }
    (own,) = dcap.roots().roots
    quote = dcap.Platform().quote()
    assert judge("tdx", quote, files=files, now=dcap.NOW).reason == "tdx.untrusted_root"
    for roots in (
        Roots(certificates=(dcap.root_der(),)),
        Roots(intel_spki_sha256=frozenset({own.spki_sha256})),
    ):
        judgement = judge("tdx", quote, files=files, now=dcap.NOW, roots=roots)
        assert (judgement.verdict, judgement.simulated) == ("valid", True)


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


def test_only_one_root_can_stand_in_for_intels() -> None:
    case = _vector("tdx_quote", verdict="valid")
    quote, given = _tdx(case["path"])
    two = frozenset({bytes(32), b"\x01" * 32})
    with pytest.raises(InputError) as caught:
        judge("tdx", quote, **given, roots=Roots(intel_spki_sha256=two))
    assert caught.value.code == "trust.root"


def test_a_log_without_anything_to_compare_with_is_only_parsed() -> None:
    raw = vectors.read(_vector("ccel", verdict="valid")["path"])
    assert judge("ccel", raw).verdict == "parse-only"


def test_an_extended_report_is_parsed_with_its_table() -> None:
    chain = evidence.chain()
    fields = parse("snp_extended_report", _extended({VCEK: chain.vcek}))
    assert fields[f"cert_table.{VCEK}"] == chain.vcek.hex()
    assert fields["report_data"] == "42" * 64


def test_an_id_block_is_judged_by_signatures_digests_and_policy() -> None:
    raw = id_block.block()
    files = {"auth": [id_block.auth(raw)]}
    assert judge("snp_id_block", raw, files=files).verdict == "valid"
    for policy, reason in (
        ({"id_key_digest": "00" * 48}, "idblock.id_key_digest"),
        ({"author_key_digest": "00" * 48}, "idblock.author_key_digest"),
        ({"measurement": "00" * 48}, "idblock.measurement"),
    ):
        assert judge("snp_id_block", raw, files=files, policy=policy).reason == reason
    debug = id_block.block(policy=0xB0000)
    files = {"auth": [id_block.auth(debug)]}
    assert judge("snp_id_block", debug, files=files).reason == "idblock.debug"
    assert judge("snp_id_block", debug, files=files, policy={"allow_debug": True}).reason == ""


def test_an_id_block_is_parsed_with_and_without_its_authentication() -> None:
    raw = id_block.block()
    assert parse("snp_id_block", raw)["guest_svn"] == "7"
    files = {"auth": [id_block.auth(raw, author=False)]}
    assert "author_key_digest" not in judge("snp_id_block", raw, files=files).claims


def test_a_quote_is_parsed_also_when_its_certificates_cannot_be() -> None:
    quote = Quote.from_bytes(vectors.read(_vector("tdx_quote", verdict="valid")["path"]))
    assert "fmspc" in fields_of(quote)
    bad = replace(quote, certification=replace(quote.certification, chain=(b"x",)))
    assert "fmspc" not in fields_of(bad)


def test_an_id_block_without_an_author_does_not_satisfy_one_who_wants_that_author() -> None:
    raw = id_block.block()
    files = {"auth": [id_block.auth(raw, author=False)]}
    policy = {"author_key_digest": "61" * 48}
    assert (
        judge("snp_id_block", raw, files=files, policy=policy).reason == "idblock.author_key_digest"
    )


@pytest.mark.parametrize(
    "params",
    [
        {"vcpus": "1"},
        {"vcpus": True},
        {"vmm": "kvm"},
        {"append": 3},
        {"vcpus": 0},
        {"unknown": 1},
        {"ovmf_hash": "00"},
    ],
)
def test_a_launch_that_cannot_be_computed_has_no_digest(params: dict[str, Any]) -> None:
    policy = {"measurement": "00" * 48}
    judgement = judge("snp_launch_digest", ovmf.image(), params=params, policy=policy)
    assert judgement.reason == "measure.launch_digest"


def test_a_launch_digest_wants_something_to_compare_with() -> None:
    with pytest.raises(InputError, match="measurement"):
        judge("snp_launch_digest", ovmf.image())


@pytest.mark.parametrize(
    "kind", ["keystone", "ccel", "rtmr_json_log", "tpm_quote", "azure_hcl_snp", "ratls_cert"]
)
def test_files_and_roots_that_would_not_be_looked_at_are_refused(kind: str) -> None:
    with pytest.raises(InputError) as caught:
        judge(kind, b"x", files={"crls": [b"x"]}, now=NOW)
    assert caught.value.code == "judge.files"
    if kind != "keystone":
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


def _case(**fields: Any) -> dict[str, Any]:
    return {
        "id": "one",
        "kind": "snp_parse",
        "path": "a",
        "files": {},
        "policy": {},
        **fields,
    }


def test_a_vector_of_an_unknown_kind_is_unsupported() -> None:
    row = judge_vector(_case(kind="tdx_quote_v9"), lambda _: b"")
    assert (row.got, row.reason) == (UNSUPPORTED, "judge.kind")


def test_a_vector_is_never_told_what_is_expected() -> None:
    case = _case()
    for verdict in ("valid", "invalid", "parse-only", None, 7):
        row = judge_vector({**case, "expected": {"verdict": verdict}}, lambda _: _report())
        assert row.got == "parse-only"


def _missing(path: str) -> bytes:
    raise NotFoundError(f"no {path}", code="file.not_found")


def test_a_vector_whose_file_is_missing_or_policy_unknown_is_invalid() -> None:
    assert judge_vector(_case(), _missing).reason == "file.not_found"
    row = judge_vector(_case(policy={"new": 1}), lambda _: _report())
    assert (row.got, row.reason) == ("invalid", "policy.invalid")


@pytest.mark.parametrize(
    "fields",
    [
        {"path": 1},
        {"files": []},
        {"files": {"certs": [1]}},
        {"files": {"certs": 1}},
        {"policy": None},
        {"verify_time": "yesterday"},
        {"verify_time": "2026-01-01T00:00:00"},
        {"verify_time": 3},
        {"trusted_roots": "x"},
        {"trusted_roots": {"Milan": "zz"}},
        {"trusted_root_spki": 4},
    ],
)
def test_a_vector_of_another_form_is_invalid_with_that_reason(fields: dict[str, Any]) -> None:
    assert judge_vector(_case(**fields), lambda _: _report()).reason == "vectors.case"


@pytest.mark.parametrize("fields", [{"id": 1}, {"kind": None}])
def test_a_vector_without_a_name_is_an_error(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        judge_vector(_case(**fields), lambda _: b"")


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
