"""`atoll attest collateral import`: nothing that no root signed gets to the attestor."""

from pathlib import Path

import pytest

from atoll.evidence.x509 import ders
from support import vectors
from support.crls import crl
from support.evidence import NOW, chain
from support.intel_pcs import Served, flipped, recorded
from unit.cli.console import Console

NAMES = {"tcb": "tcb.json", "qe": "qe.json"}


def write(directory: Path, documents: dict[str, Served]) -> list[Path]:
    """Each document and its chain in files of their own."""
    directory.mkdir(exist_ok=True)
    for at, (key, served) in enumerate(documents.items()):
        kind = key.split(".")[1]
        (directory / NAMES.get(kind, f"{at}.der")).write_bytes(served.body)
        (directory / f"{at}.pem").write_bytes(served.chain)
    return sorted(directory.iterdir())


@pytest.fixture
def intel(tmp_path: Path) -> list[Path]:
    vectors.require()
    return write(tmp_path / "given", recorded()[1])


def kept(console: Console) -> set[str]:
    directory = console.home / "stack" / "collateral"
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def test_intels_documents_are_imported_once(console: Console, intel: list[Path]) -> None:
    documents = recorded()[1]
    said = console("attest", "collateral", "import", *intel, "--json")
    assert said.status == 0, said.err
    rows = said.document()["documents"]
    assert {row["key"] for row in rows if row["imported"]} == set(documents)
    stored = {path.read_bytes() for path in (console.home / "stack" / "collateral").iterdir()}
    assert {served.body for served in documents.values()} <= stored
    again = console("attest", "collateral", "import", intel[0].parent)
    assert again.status == 0
    assert again.out.count("not newer") == len(documents)


def test_one_changed_document_stops_all(console: Console, tmp_path: Path) -> None:
    vectors.require()
    documents = recorded()[1]
    documents["intel.qe.tdx"] = flipped(documents["intel.qe.tdx"], 60)
    said = console("attest", "collateral", "import", *write(tmp_path / "given", documents))
    assert said.status == 1
    assert "qe.json" in said.err
    assert not kept(console)


def test_a_document_without_its_signer_is_refused(console: Console, intel: list[Path]) -> None:
    alone = [path for path in intel if path.suffix == ".json"]
    said = console("attest", "collateral", "import", *alone)
    assert said.status == 1
    assert "signer" in said.err
    assert not kept(console)


def test_certificates_alone_are_no_document(console: Console, tmp_path: Path) -> None:
    (tmp_path / "ark.pem").write_bytes(chain().ark_pem)
    said = console("attest", "collateral", "import", tmp_path / "ark.pem")
    assert said.status == 1
    assert "no document" in said.err


def test_amds_chip_chain_and_list_are_imported(console: Console, tmp_path: Path) -> None:
    vectors.require()
    given = tmp_path / "given"
    given.mkdir()
    for name in ("ask-genoa.pem", "ark-genoa.pem"):
        (given / name).write_bytes(vectors.read(f"snp/certs/{name}"))
    (given / "list.crl").write_bytes(vectors.read("snp/crls/crl-genoa-2024.der"))
    said = console("attest", "collateral", "import", given)
    assert said.status == 0, said.err
    assert kept(console) == {"amd.chain.vcek.Genoa.pem", "crl.Genoa.crl", "crl.Genoa.ark.pem"}


def test_the_simulated_roots_list_needs_the_stack_that_has_the_root(
    console: Console, tmp_path: Path
) -> None:
    given, stack = tmp_path / "given", tmp_path / "data"
    (stack / "simulated").mkdir(parents=True)
    given.mkdir()
    (given / "ark.der").write_bytes(ders(chain().ark_pem)[0])
    newest = crl(start=NOW)
    (given / "list.crl").write_bytes(newest)
    assert console("attest", "collateral", "import", given, "--data-dir", stack).status == 1
    (stack / "simulated" / "ark.pem").write_bytes(chain().ark_pem)
    said = console("attest", "collateral", "import", given, "--data-dir", stack)
    assert said.status == 0, said.err
    assert (stack / "collateral" / "crl.Simulated.crl").read_bytes() == newest
    (given / "list.crl").write_bytes(crl())
    older = console("attest", "collateral", "import", given, "--data-dir", stack)
    assert (older.status, "not newer" in older.out) == (0, True)
