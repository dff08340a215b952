"""`atoll attest verify --collateral`: what Intel signs, as people have it in files."""

import json
from typing import Any

import pytest

from atoll_cli.evidence_files import collateral
from support import vectors
from unit.cli.attest import Files
from unit.cli.console import Console


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
    console: Console, files: Files
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


def test_lists_and_chains_may_come_in_files_of_their_own(console: Console, files: Files) -> None:
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


def test_collateral_has_the_names_of_intels_structure_too(files: Files) -> None:
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


def test_a_list_that_cannot_be_read_is_not_left_out(console: Console, files: Files) -> None:
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
    console: Console, files: Files, value: Any
) -> None:
    path = files.write("c.json", json.dumps(value).encode())
    quote = files.write("quote", b"x")
    assert console("attest", "verify", quote, "--kind", "tdx", "--collateral", path).status == 2
