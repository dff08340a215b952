"""`atoll attest verify|parse|explain` on files, offline."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from atoll.evidence.policy import policy_to_json
from atoll.evidence.snp import GuestPolicy
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.templates import strict_keystone, strict_tdx
from atoll_cli.evidence_files import collateral, device_key
from atoll_cli.explanations import SENTENCES, sentence
from atoll_cli.session import BANNER
from support import evidence, id_block, ovmf, vectors
from support.keystone import DEVICE, ENCLAVE_HASH, Content
from unit.cli.console import Console, Said

AT = "2026-06-01T12:00:00Z"
REPORT_DATA = b"\x42" * 64


@dataclass(frozen=True, kw_only=True)
class _Files:
    folder: Path

    def write(self, name: str, raw: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(raw)
        return path

    def report(self, **changes: Any) -> Path:
        report = evidence.guest().attest(REPORT_DATA)
        return self.write("report", evidence.resign(report, **changes) if changes else report)

    def certs(self) -> Path:
        pem = evidence.chain().to_pem().partition(b"-----BEGIN PRIVATE KEY")[0]
        return self.write("chain.pem", b"# vcek, ask, ark\r\n" + pem)

    def root(self) -> Path:
        return self.write("root.pem", evidence.chain().ark_pem)

    def policy(self, value: Any) -> Path:
        return self.write("policy.json", json.dumps(value, indent=2).encode())


@pytest.fixture
def files(tmp_path: Path) -> _Files:
    return _Files(folder=tmp_path)


def _verify(console: Console, files: _Files, *more: str | Path, **changes: Any) -> Said:
    fixed = ("--kind", "snp", "--certs", files.certs(), "--root", files.root(), "--at", AT)
    return console("attest", "verify", files.report(**changes), *fixed, *more)


def test_passes_good_evidence_and_says_simulated(console: Console, files: _Files) -> None:
    said = _verify(console, files)
    assert said.status == 0, said.err
    assert said.out.startswith("PASS: snp_report of Simulated, SIMULATED\n")
    assert BANNER in said.out
    assert REPORT_DATA.hex() in said.out


def test_the_document_has_the_promised_keys(console: Console, files: _Files) -> None:
    document = _verify(console, files, "--json").document()
    assert (document["verdict"], document["reason"]) == ("pass", "")
    assert (document["kind"], document["product"]) == ("snp_report", "Simulated")
    assert document["simulated"] is True
    assert document["claims"]["measurement"] == evidence.MEASUREMENT.hex()
    assert {tuple(sorted(item)) for item in document["checks"]} == {
        ("actual", "expected", "id", "outcome")
    }
    assert {item["outcome"] for item in document["checks"]} == {"pass", "unchecked"}


def test_without_its_root_simulated_evidence_fails(console: Console, files: _Files) -> None:
    arguments = ("--kind", "snp", "--certs", files.certs(), "--at", AT, "--json")
    said = console("attest", "verify", files.report(), *arguments)
    assert said.status == 1
    assert said.document()["verdict"] == "fail"
    assert said.document()["reason"] == "snp.root"
    assert said.document()["claims"] == {}


def test_debug_fails_without_a_policy(console: Console, files: _Files) -> None:
    said = _verify(console, files, policy=0x30133 | GuestPolicy.DEBUG)
    assert said.status == 1
    assert "FAIL: snp_report of Simulated, SIMULATED: snp.debug" in said.out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--report-data", REPORT_DATA.hex()), ""),
        (("--report-data", REPORT_DATA.hex().upper()), ""),
        (("--report-data", REPORT_DATA[:32].hex()), "snp.report_data"),
        (("--measurement", evidence.MEASUREMENT.hex()), ""),
        (("--measurement", "00" * 48), "snp.measurement"),
        (("--product", "simulated"), ""),
        (("--product", "Milan"), "snp.product_line"),
        (("--at", "2050-01-01T00:00:00Z"), "snp.chain"),
        (("--at", "2020-01-01T00:00:00+01:00"), "snp.chain"),
    ],
)
def test_options_are_requirements(
    console: Console, files: _Files, options: tuple[str, str], reason: str
) -> None:
    said = _verify(console, files, *options, "--json")
    assert said.document()["reason"] == reason
    assert said.status == (1 if reason else 0)


def test_takes_a_whole_policy_and_a_list_of_requirements(console: Console, files: _Files) -> None:
    whole = json.loads(policy_to_json(evidence.policy()))
    assert _verify(console, files, "--policy", files.policy(whole)).status == 0
    assert _verify(console, files, "--policy", files.policy({"vmpl": 0})).status == 0
    said = _verify(console, files, "--json", "--policy", files.policy({"vmpl": 1}))
    assert said.document()["reason"] == "snp.vmpl"


def _policy_document(**sections: Any) -> Any:
    document = PolicyDocument(
        name="fleet", version=1, not_before=0, mode=Mode.ENFORCE, sections=sections
    )
    return document.to_plain()


def test_takes_the_section_of_a_policy_document_that_is_about_the_kind(
    console: Console, files: _Files
) -> None:
    good = {"sev-snp": evidence.policy(), "tdx": strict_tdx(frozenset())}
    document = files.policy(_policy_document(**good))
    assert _verify(console, files, "--policy", document).status == 0
    other = {"sev-snp": evidence.policy(measurements=frozenset({bytes(48)}))}
    bad = files.policy(_policy_document(**other))
    said = _verify(console, files, "--json", "--policy", bad)
    assert (said.status, said.document()["reason"]) == (1, "snp.measurement")


def test_a_policy_document_without_the_section_is_a_usage_error(
    console: Console, files: _Files
) -> None:
    document = files.policy(_policy_document(tdx=strict_tdx(frozenset())))
    said = _verify(console, files, "--policy", document)
    assert said.status == 2
    assert "no section about snp_report; its sections: tdx" in said.err
    broken = files.policy(_policy_document(tdx=strict_tdx(frozenset())) | {"mode": "off"})
    assert _verify(console, files, "--policy", broken).status == 2


def test_a_keystone_report_is_judged_by_a_policy_document(console: Console, files: _Files) -> None:
    report = files.write("report", Content().report())
    key = files.write("device", DEVICE.public.hex().encode())
    fixed = ("--kind", "keystone", "--root", key, "--json")
    document = files.policy(_policy_document(keystone=strict_keystone(frozenset({ENCLAVE_HASH}))))
    said = console("attest", "verify", report, *fixed, "--policy", document)
    assert said.status == 0, said.out
    for option, value in (("--report-data", b"other"), ("--measurement", bytes(64))):
        more = ("--policy", document, option, value.hex())
        assert console("attest", "verify", report, *fixed, *more).status == 1


def test_takes_der_certificates_one_after_another_and_in_any_order(
    console: Console, files: _Files
) -> None:
    both = files.write("two.der", evidence.chain().ark + evidence.chain().vcek)
    last = files.write("one.der", evidence.chain().ask)
    arguments = ("--kind", "snp", "--root", files.root(), "--at", AT)
    said = console("attest", "verify", files.report(), *arguments, "--certs", both, "--certs", last)
    assert said.status == 0, said.out


@pytest.mark.parametrize(
    "raw", [b"", b"text\n", b"-----BEGIN", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"0\x80" * 99]
)
def test_malformed_files_fail_by_name(console: Console, files: _Files, raw: bytes) -> None:
    bad = files.write("bad", raw)
    arguments = ("--kind", "snp", "--root", files.root(), "--at", AT, "--json")
    said = console("attest", "verify", bad, *arguments, "--certs", files.certs())
    assert (said.status, said.document()["reason"]) == (1, "snp.report")
    for option in ("--certs", "--crl"):
        said = console("attest", "verify", files.report(), *arguments, option, bad)
        assert (said.status, said.document()["reason"]) == (1, "snp.chain")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--kind", "sev"),
        ("--at", "yesterday"),
        ("--at", "2026-06-01"),
        ("--at", "2026-06-01T12:00:00"),
        ("--report-data", "xyz"),
        ("--measurement", "0"),
        ("--product", "Rome"),
        ("--certs", "/does/not/exist"),
        ("--with", "auth"),
        ("--with", "auth=/does/not/exist"),
        ("--param", "=1"),
        ("--event-log", __file__),
        ("--collateral", __file__),
        ("--policy", __file__),
        ("--root", __file__),
        ("--unknown",),
    ],
)
def test_wrong_options_are_usage_errors(
    console: Console, files: _Files, arguments: tuple[str, ...]
) -> None:
    said = _verify(console, files, *arguments)
    assert said.status == 2
    assert said.err.startswith("error: ")


@pytest.mark.parametrize("kind", ["tdx", "keystone", "snp_parse"])
def test_a_product_that_would_not_be_compared_is_a_usage_error(
    console: Console, files: _Files, kind: str
) -> None:
    said = console("attest", "verify", files.report(), "--kind", kind, "--product", "Milan")
    assert said.status == 2


def test_a_policy_that_contradicts_an_option_is_a_usage_error(
    console: Console, files: _Files
) -> None:
    policy = files.policy({"measurement": "11" * 48})
    assert _verify(console, files, "--policy", policy, "--measurement", "22" * 48).status == 2


@pytest.mark.parametrize("text", ["[]", "{", '{"vmpl": 0, "vmpl": 1}', '{"vmpl": 9}', '{"x": 1}'])
def test_what_is_no_policy_is_a_usage_error(console: Console, files: _Files, text: str) -> None:
    policy = files.write("policy.json", text.encode())
    assert _verify(console, files, "--policy", policy).status == 2


def test_explains_each_step_and_both_values_of_a_failure(console: Console, files: _Files) -> None:
    fixed = ("--kind", "snp", "--certs", files.certs(), "--root", files.root(), "--at", AT)
    said = console("attest", "explain", files.report(), *fixed, "--measurement", "00" * 48)
    assert said.status == 1
    assert SENTENCES["snp.signature"] in said.out
    assert "NO (snp.measurement)" in said.out
    assert "00" * 48 in said.out
    assert evidence.MEASUREMENT.hex() in said.out


def test_every_snp_check_has_a_sentence_of_its_own(console: Console, files: _Files) -> None:
    checks = _verify(console, files, "--json").document()["checks"]
    assert [item["id"] for item in checks if sentence(item["id"]).startswith("Does this")] == []
    assert sentence("new.check") == "Does this hold: new: check?"


def test_parses_without_a_verdict(console: Console, files: _Files) -> None:
    said = console("attest", "parse", files.report(), "--kind", "snp", "--json")
    assert said.status == 0
    assert said.document()["fields"]["report_data"] == REPORT_DATA.hex()
    assert "verdict" not in said.document()
    plain = console("attest", "parse", files.report(), "--kind", "snp_parse")
    assert evidence.MEASUREMENT.hex() in plain.out


def test_parsing_what_is_malformed_is_a_failure(console: Console, files: _Files) -> None:
    bad = files.write("bad", b"x")
    said = console("attest", "parse", bad, "--kind", "tdx", "--json")
    assert said.status == 1
    assert said.document()["error"]["code"].startswith("evidence.")


def test_evidence_that_can_only_be_parsed_does_not_pass(console: Console, files: _Files) -> None:
    said = console("attest", "verify", files.report(), "--kind", "snp_parse", "--json")
    assert (said.status, said.document()["reason"]) == (1, "not_verifiable")
    said = console("attest", "explain", files.report(), "--kind", "snp_parse")
    assert "nothing about it is proven" in said.out


def test_a_keystone_report_is_believed_under_the_device_key_that_is_given(
    console: Console, files: _Files
) -> None:
    vectors.require()
    cases = vectors.of_kind("keystone_report")
    case = next(case for case in cases if case["expected"]["verdict"] == "valid")
    report = files.write("report", vectors.read(case["path"]))
    key = files.write("key", case["policy"]["device_public_key"].encode())
    said = console("attest", "verify", report, "--kind", "keystone", "--root", key, "--json")
    assert said.status == 0, said.out
    assert said.document()["claims"]["data"] == case["fields"]["data"]
    for option, name in (("--report-data", "data"), ("--measurement", "enclave_hash")):
        said = console(
            "attest", "verify", report, "--kind", "keystone", "--root", key, "--json",
            option, "00" * 64,
        )  # fmt: skip
        assert said.document()["reason"] == f"keystone.{name}_mismatch"
    said = console("attest", "verify", report, "--kind", "keystone", "--json")
    assert said.document()["reason"] == "keystone.root"


def test_parameters_are_numbers_or_text(console: Console, files: _Files) -> None:
    image = files.write("ovmf", ovmf.image())
    measured = console(
        "measure", "snp", "--ovmf", image, "--vcpus", "3", "--vcpu-type", "0x00a00f11"
    )
    launch = ("--param", "vcpus=3", "--param", "vcpu_sig=0x00a00f11", "--param", "vmm=qemu")
    said = console(
        "attest", "verify", image, "--kind", "snp_launch_digest", *launch,
        "--measurement", measured.out.strip(),
    )  # fmt: skip
    assert said.status == 0, said.out


def test_other_files_of_a_kind_go_by_their_role(console: Console, files: _Files) -> None:
    raw = id_block.block()
    block, auth = files.write("block", raw), files.write("auth", id_block.auth(raw))
    assert (
        console(
            "attest", "verify", block, "--kind", "snp_id_block", "--with", f"auth={auth}"
        ).status
        == 0
    )
    assert console("attest", "verify", block, "--kind", "snp_id_block").status == 2


def test_names_from_evidence_cannot_write_to_the_terminal(console: Console, files: _Files) -> None:
    name = files.write("\x1b[2J", b"x")
    said = console("attest", "verify", name, "--kind", "keystone")
    assert "\x1b" not in said.out + said.err


def _tdx() -> dict[str, Any]:
    vectors.require()
    cases = [
        case
        for case in vectors.of_kind("tdx_quote")
        if case["expected"].get("tcb_status") == "UpToDate"
        and case["expected"]["verdict"] == "valid"
        and not case["policy"].get("allow_debug")
        and set(case) & {"trusted_root_spki"} == set()
        and "pck_chain" not in case["files"]
    ]
    return cases[0]


def _collateral(case: dict[str, Any]) -> dict[str, str]:
    named = {}
    for role, path in case["files"].items():
        raw = vectors.read(path)
        named[role] = raw.hex() if role.endswith("crl") else raw.decode()
    return named


def test_verifies_a_genuine_quote_with_collateral_in_one_file(
    console: Console, files: _Files
) -> None:
    case = _tdx()
    quote = files.write("quote", vectors.read(case["path"]))
    beside = files.write("collateral.json", json.dumps(_collateral(case)).encode())
    fixed = ("attest", "verify", quote, "--kind", "tdx", "--at", case["verify_time"], "--json")
    said = console(*fixed, "--collateral", beside)
    assert said.status == 0, said.out
    assert said.document()["tcb_status"] == "UpToDate"
    fields = case.get("fields") or said.document()["claims"]
    assert said.document()["claims"]["mrtd"] == fields["mrtd"]
    right = ("--measurement", fields["mrtd"], "--report-data", fields["report_data"])
    assert console(*fixed, "--collateral", beside, *right).status == 0
    wrong = console(*fixed, "--collateral", beside, "--measurement", "00" * 48)
    assert wrong.document()["reason"] == "tdx.mr_td"
    assert console(*fixed).document()["reason"] == "tdx.collateral"


def test_lists_and_chains_may_come_in_files_of_their_own(console: Console, files: _Files) -> None:
    case = _tdx()
    named = _collateral(case)
    lists = [files.write(role, bytes.fromhex(named.pop(role))) for role in ("pck_crl", "root_crl")]
    quote = files.write("quote", vectors.read(case["path"]))
    beside = files.write("collateral.json", json.dumps(named).encode())
    said = console(
        "attest", "verify", quote, "--kind", "tdx", "--at", case["verify_time"],
        "--collateral", beside, "--crl", lists[0], "--crl", lists[1],
    )  # fmt: skip
    assert said.status == 0, said.out


def test_collateral_has_the_names_of_intels_structure_too(files: _Files) -> None:
    value = {
        "version": 3,
        "tcb_info": "{}",
        "tcb_info_signature": "ab" * 64,
        "root_ca_crl": "30" * 4,
        "qe_identity_issuer_chain": "-----BEGIN",
        "pck_certificate_chain": None,
    }
    path = files.write("c.json", json.dumps(value).encode())
    assert collateral(path) == {
        "tcb_info": b"{}",
        "tcb_info_sig": b"ab" * 64,
        "root_crl": b"\x30" * 4,
        "qe_chain": b"-----BEGIN",
    }


def test_a_list_that_cannot_be_read_is_not_left_out(console: Console, files: _Files) -> None:
    case = _tdx()
    quote = files.write("quote", vectors.read(case["path"]))
    beside = files.write("collateral.json", json.dumps(_collateral(case)).encode())
    fixed = ("--kind", "tdx", "--at", case["verify_time"], "--collateral", beside)
    bad = files.write("bad", b"0")
    assert console("attest", "verify", quote, *fixed, "--crl", bad).status == 2


@pytest.mark.parametrize(
    "value", [{"tcb": "x"}, {"tcb_info": {}}, {"root_crl": "30", "root_ca_crl": "30"}]
)
def test_collateral_of_another_form_is_a_usage_error(
    console: Console, files: _Files, value: Any
) -> None:
    path = files.write("c.json", json.dumps(value).encode())
    quote = files.write("quote", b"x")
    assert console("attest", "verify", quote, "--kind", "tdx", "--collateral", path).status == 2


def test_a_device_key_may_be_text_or_bytes() -> None:
    assert device_key(b"0a" * 32 + b"\n") == b"\x0a" * 32
    assert device_key(bytes(32)) == bytes(32)
