"""Receipts under TDX evidence: appraised by its kind, with the collateral that is in ATOLL_HOME."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atoll.client.profile import Profile, ProfileFile
from atoll.evidence import document as documents
from atoll.evidence.document import Tee as EvidenceTee
from atoll.evidence.tdx_policy import tdx_policy_to_json
from atoll.policy.templates import strict_tdx
from atoll.wire.messages import Tee
from atoll_cli.collateral_files import FOLDERS
from support import dcap, evidence, intel_pcs, policies
from support.dcap import Platform
from unit.cli import receipts
from unit.cli.console import Console

MR_TD = b"\x2a" * 48
POLICY = strict_tdx(frozenset({MR_TD}))


def receipt(folder: Path) -> Path:
    """A receipt of an enclave that is a trust domain."""
    body = dcap.td_report(mr_td=MR_TD, report_data=receipts.BINDING.report_data)
    document = replace(
        evidence.document(binding=receipts.BINDING),
        tee=EvidenceTee.TDX,
        report=Platform(body=body).quote(),
        certs=(),
    )
    path = folder / "receipt.json"
    path.write_bytes(receipts.receipt_bytes(documents.encode(document)))
    return path


def root(folder: Path) -> Path:
    path = folder / "root.pem"
    path.write_bytes(dcap.pem(dcap.root_der()))
    return path


def policy(folder: Path, *, whole: bool) -> Path:
    """Of TDX alone or as a section, as a person writes it."""
    document = policies.document(sections={"tdx": POLICY})
    value = document.to_plain() if whole else json.loads(tdx_policy_to_json(POLICY))
    path = folder / "policy.json"
    path.write_text(json.dumps(value, indent=2))
    return path


def give_collateral(folder: Path, *, without: str = "") -> None:
    folder.mkdir(parents=True)
    for key, one in intel_pcs.own().items():
        if key == without:
            continue
        suffix = ".crl" if "crl" in key else ".json"
        (folder / f"{key}{suffix}").write_bytes(one.body)
        (folder / f"{key}.chain.pem").write_bytes(one.chain)
    (folder / "notes.txt").write_text("passed over")
    (folder / "broken.json").write_text("{")


def verify(console: Console, folder: Path, *, whole: bool = True) -> Any:
    options = ("--root", root(folder), "--policy", policy(folder, whole=whole), "--json")
    return console("receipt", "verify", receipt(folder), *options)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("whole", [False, True], ids=["policy", "document"])
def test_holds_with_the_collateral_in_either_folder(
    console: Console, tmp_path: Path, folder: str, *, whole: bool
) -> None:
    give_collateral(console.home / folder)
    said = verify(console, tmp_path, whole=whole)
    assert said.status == 0, said.err
    found = said.document()["evidence"]
    assert (found["verdict"], said.document()["simulated"]) == ("pass", True)


def test_fails_without_and_names_what_is_missing(console: Console, tmp_path: Path) -> None:
    give_collateral(console.home / "collateral", without="intel.qe.tdx")
    said = verify(console, tmp_path)
    assert said.status == 1
    assert "tdx.collateral" in said.out
    assert "intel.qe.tdx" in console("attest", "show", receipt(tmp_path), "--root",
        root(tmp_path), "--policy", policy(tmp_path, whole=True)).out  # fmt: skip


def test_the_profile_s_policy_may_be_of_tdx_or_a_document(console: Console, tmp_path: Path) -> None:
    give_collateral(console.home / "collateral")
    for whole in (False, True):
        value = json.loads(policy(tmp_path, whole=whole).read_text())
        profile = Profile(
            nats_url="nats://127.0.0.1:1",
            nats_creds="x",
            tee=Tee.TDX,
            policy=json.dumps(value, sort_keys=True, separators=(",", ":")),
            development_root=root(tmp_path).read_text(),
        )
        ProfileFile(console.home).save(profile)
        said = console("receipt", "verify", receipt(tmp_path))
        assert said.status == 0, said.err


def test_genuine_collateral_can_be_imported_into_the_home(console: Console, tmp_path: Path) -> None:
    _, recorded = intel_pcs.recorded()
    files = tmp_path / "files"
    files.mkdir()
    for key, one in recorded.items():
        suffix = ".crl" if "crl" in key else ".json"
        (files / f"{key}{suffix}").write_bytes(one.body)
        (files / f"{key}.pem").write_bytes(one.chain)
    console.home.mkdir(exist_ok=True)
    said = console("attest", "collateral", "import", files, "--data-dir", console.home, "--json")
    assert said.status == 0, said.err
    assert all(one["imported"] for one in said.document()["documents"])
