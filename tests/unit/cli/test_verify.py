"""`atoll attest verify` on files, offline: options, kinds, and what is malformed."""

import pytest

from atoll_cli.evidence_files import device_key
from atoll_cli.session import BANNER
from support import evidence, id_block, ovmf, vectors
from unit.cli.attest import AT, REPORT_DATA, Files, verify
from unit.cli.console import Console


def test_passes_good_evidence_and_says_simulated(console: Console, files: Files) -> None:
    said = verify(console, files)
    assert said.status == 0, said.err
    assert said.out.startswith("PASS: snp_report of Simulated, SIMULATED\n")
    assert BANNER in said.out
    assert REPORT_DATA.hex() in said.out


def test_the_document_has_the_promised_keys(console: Console, files: Files) -> None:
    document = verify(console, files, "--json").document()
    assert (document["verdict"], document["reason"]) == ("pass", "")
    assert (document["kind"], document["product"]) == ("snp_report", "Simulated")
    assert document["simulated"] is True
    assert document["claims"]["measurement"] == evidence.MEASUREMENT.hex()
    assert {tuple(sorted(item)) for item in document["checks"]} == {
        ("actual", "expected", "id", "outcome")
    }
    assert {item["outcome"] for item in document["checks"]} == {"pass", "unchecked"}


def test_without_its_root_simulated_evidence_fails(console: Console, files: Files) -> None:
    arguments = ("--kind", "snp", "--certs", files.certs(), "--at", AT, "--json")
    said = console("attest", "verify", files.report(), *arguments)
    assert said.status == 1
    assert said.document()["verdict"] == "fail"
    assert said.document()["reason"] == "snp.root"
    assert said.document()["claims"] == {}


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
    console: Console, files: Files, options: tuple[str, str], reason: str
) -> None:
    said = verify(console, files, *options, "--json")
    assert said.document()["reason"] == reason
    assert said.status == (1 if reason else 0)


def test_takes_der_certificates_one_after_another_and_in_any_order(
    console: Console, files: Files
) -> None:
    both = files.write("two.der", evidence.chain().ark + evidence.chain().vcek)
    last = files.write("one.der", evidence.chain().ask)
    arguments = ("--kind", "snp", "--root", files.root(), "--at", AT)
    said = console("attest", "verify", files.report(), *arguments, "--certs", both, "--certs", last)
    assert said.status == 0, said.out


@pytest.mark.parametrize(
    "raw", [b"", b"text\n", b"-----BEGIN", b"\x30", b"\x30\x84\xff\xff\xff\xff", b"0\x80" * 99]
)
def test_malformed_files_fail_by_name(console: Console, files: Files, raw: bytes) -> None:
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
    console: Console, files: Files, arguments: tuple[str, ...]
) -> None:
    said = verify(console, files, *arguments)
    assert said.status == 2
    assert said.err.startswith("error: ")


@pytest.mark.parametrize("kind", ["tdx", "keystone", "snp_parse"])
def test_a_product_that_would_not_be_compared_is_a_usage_error(
    console: Console, files: Files, kind: str
) -> None:
    said = console("attest", "verify", files.report(), "--kind", kind, "--product", "Milan")
    assert said.status == 2


def test_a_keystone_report_is_believed_under_the_device_key_that_is_given(
    console: Console, files: Files
) -> None:
    vectors.require()
    cases = vectors.of_kind("keystone_report")
    case = next(case for case in cases if case["expected"]["verdict"] == "valid")
    report = files.write("report", vectors.read(case["path"]))
    key = files.write("key", case["policy"]["device_public_key"].encode())
    base = ("attest", "verify", report, "--kind", "keystone", "--root", key, "--json")
    said = console(*base)
    assert (said.status, said.document()["reason"]) == (1, "keystone.development_key")
    policy = files.write("policy", b'{"allow_development_key": true}')
    given = (*base, "--policy", policy)
    said = console(*given)
    assert said.status == 0, said.out
    assert said.document()["simulated"] is True
    assert said.document()["claims"]["data"] == case["fields"]["data"]
    for option, name in (("--report-data", "data"), ("--measurement", "enclave_hash")):
        said = console(*given, option, "00" * 64)
        assert said.document()["reason"] == f"keystone.{name}_mismatch"
    said = console("attest", "verify", report, "--kind", "keystone", "--json")
    assert said.document()["reason"] == "keystone.root"


def test_parameters_are_numbers_or_text(console: Console, files: Files) -> None:
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


def test_other_files_of_a_kind_go_by_their_role(console: Console, files: Files) -> None:
    raw = id_block.block()
    block, auth = files.write("block", raw), files.write("auth", id_block.auth(raw))
    assert (
        console(
            "attest", "verify", block, "--kind", "snp_id_block", "--with", f"auth={auth}"
        ).status
        == 0
    )
    assert console("attest", "verify", block, "--kind", "snp_id_block").status == 2


def test_names_from_evidence_cannot_write_to_the_terminal(console: Console, files: Files) -> None:
    name = files.write("\x1b[2J", b"x")
    said = console("attest", "verify", name, "--kind", "keystone")
    assert "\x1b" not in said.out + said.err


def test_a_device_key_may_be_text_or_bytes() -> None:
    assert device_key(b"0a" * 32 + b"\n") == b"\x0a" * 32
    assert device_key(bytes(32)) == bytes(32)
