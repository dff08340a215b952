"""`atoll checksum`."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from atoll.client.tree import tree_pieces
from atoll.computation.manifest import digest
from support import computations
from unit.cli.console import Console

ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
ABC_SHA3 = "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"


@pytest.fixture
def abc(tmp_path: Path) -> Path:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    return path


def test_prints_the_digest_of_a_file_as_sha256sum_does(console: Console, abc: Path) -> None:
    said = console("checksum", abc)
    assert (said.status, said.out) == (0, f"{ABC_SHA256}  {abc}\n")


def test_prints_sha3_beside_it_when_asked(console: Console, abc: Path) -> None:
    said = console("checksum", abc, "--sha3")
    assert said.out == f"sha256:{ABC_SHA256}  {abc}\nsha3-256:{ABC_SHA3}  {abc}\n"
    document = console("checksum", abc, "--sha3", "--json").document()
    row = {"path": str(abc), "kind": "file", "size": 3, "sha256": ABC_SHA256, "sha3_256": ABC_SHA3}
    assert document == {"checksums": [row]}


def test_a_directory_stands_for_its_archive(console: Console, abc: Path) -> None:
    (row,) = console("checksum", abc.parent, "--json").document()["checksums"]
    raw = b"".join(tree_pieces(abc.parent))
    assert row["kind"] == "directory"
    assert (row["size"], row["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())


def test_a_manifest_counts_in_canonical_form(console: Console, tmp_path: Path) -> None:
    raw = computations.manifest().to_bytes()
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(raw), indent=2) + "\n")
    (row,) = console("checksum", "--manifest", path, "--json").document()["checksums"]
    assert row["kind"] == "manifest"
    assert row["sha256"] == digest(raw).hex()


def test_the_digest_of_a_manifest_by_hand_is_the_one_that_parties_sign(
    console: Console, tmp_path: Path
) -> None:
    plain = json.loads(computations.manifest().to_bytes())
    del plain["previous"]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(plain))
    (row,) = console("checksum", "--manifest", path, "--json").document()["checksums"]
    assert row["sha256"] == console("computation", "show", path, "--json").document()["digest"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1.5]", b"{}", b"[" * 5000, b'{"a":1,"a":2}'])
def test_refuses_what_is_no_manifest(console: Console, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    said = console("checksum", "--manifest", path, "--json")
    assert said.status == 1
    assert said.document()["error"]["code"].startswith("manifest.")
    assert "Traceback" not in said.err


def test_refuses_a_directory_with_a_link(console: Console, abc: Path) -> None:
    abc.with_name("link").symlink_to(abc)
    said = console("checksum", abc.parent, "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] == "archive.kind"


def test_refuses_a_pipe(console: Console, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    said = console("checksum", tmp_path / "pipe", "--json")
    assert said.document()["error"]["code"] == "file.not_regular"


@pytest.mark.parametrize("arguments", [(), ("gone",), ("--manifest", "gone")])
def test_without_a_file_it_is_wrong_usage(console: Console, arguments: tuple[str, ...]) -> None:
    said = console("checksum", *arguments, "--json")
    assert said.status == 2
    assert said.document()["error"]["code"] == "usage"


def test_a_path_cannot_rewrite_the_terminal(console: Console, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2J"
    path.write_bytes(b"")
    assert "\x1b" not in console("checksum", path).out
