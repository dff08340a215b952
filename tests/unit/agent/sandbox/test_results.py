"""The scan of /results trusts nothing it sees."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atoll_agent.sandbox.limits import MAX_DEPTH, Limits
from atoll_agent.sandbox.outcome import Kind, ResultFile
from atoll_agent.sandbox.results import is_legal_name, scan


@given(st.binary(max_size=300))
@example(b"")
@example(b".")
@example(b"..")
@example(b"a/b")
@example(b"a\\b")
@example(b"\xff")
@example("\u202e".encode())
@example("\u2028".encode())
def test_a_legal_name_is_short_printable_and_no_path(raw: bytes) -> None:
    if is_legal_name(raw):
        text = raw.decode("utf-8")
        assert 0 < len(raw) <= 255
        assert text not in {".", ".."}
        assert not set(text) & set("/\\\0\n\r\t\x1b\x7f\u202e\u2028")


@pytest.mark.parametrize("name", ["a", "model.json", ".hidden", "two words", "\u00fcml", "..."])
def test_ordinary_names_are_legal(name: str) -> None:
    assert is_legal_name(name.encode())


def test_an_empty_directory_is_an_empty_result(tmp_path: Path) -> None:
    seen = scan(tmp_path, Limits())
    assert (seen.problem, seen.entries, seen.size, seen.files) == (None, 0, 0, ())


def test_files_come_sorted_by_the_bytes_of_their_path(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/x", "b.txt", "a", "\u00e9"):
        (tmp_path / name).write_text(name)
    seen = scan(tmp_path, Limits())
    names = ["a", "b.txt", "b/x", "\u00e9"]
    assert seen.files == tuple(ResultFile(name=name, size=len(name.encode())) for name in names)
    assert (seen.entries, seen.size) == (5, sum(len(name.encode()) for name in names))


def test_the_limits_are_inclusive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "d").mkdir()
    assert scan(tmp_path, Limits(output_bytes=10, output_files=2)).problem is None
    assert scan(tmp_path, Limits(output_bytes=9, output_files=2)).problem is Kind.OUTPUT_LIMIT
    assert scan(tmp_path, Limits(output_bytes=10, output_files=1)).problem is Kind.OUTPUT_LIMIT


def test_no_more_names_are_read_than_needed_to_refuse(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert scan(tmp_path, Limits(output_files=3)).entries == 4


def test_links_and_special_files_are_refused_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").write_bytes(bytes(100))
    link = tmp_path / "out" / "x"
    for target in ("../secret", "..", "x", "/etc/passwd"):
        link.symlink_to(target)
        assert scan(tmp_path / "out", Limits()).problem is Kind.OUTPUT_KIND
        assert scan(tmp_path / "out", Limits()).size == 0
        link.unlink()
    os.mkfifo(link)
    assert scan(tmp_path / "out", Limits()).problem is Kind.OUTPUT_KIND
    link.unlink()
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(link))
        assert scan(tmp_path / "out", Limits()).problem is Kind.OUTPUT_KIND


def test_a_hard_link_counts_under_each_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert scan(tmp_path, Limits()).size == 20


@pytest.mark.parametrize("name", [b"\xff", b"a\nb", b"\x7f", "a\u0085b".encode(), b"a\\b"])
def test_illegal_names_are_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / os.fsdecode(name)).touch()
    seen = scan(tmp_path, Limits())
    assert seen.problem is Kind.OUTPUT_NAMES
    assert seen.files == ()


def test_paths_may_have_so_many_names_and_no_more(tmp_path: Path) -> None:
    deepest = tmp_path.joinpath(*["d"] * (MAX_DEPTH - 1))
    deepest.mkdir(parents=True)
    (deepest / "file").touch()
    assert scan(tmp_path, Limits()).problem is None
    (deepest / "d").mkdir()
    assert scan(tmp_path, Limits()).problem is None
    (deepest / "d" / "file").touch()
    assert scan(tmp_path, Limits()).problem is Kind.OUTPUT_NAMES


def test_a_path_may_have_1024_bytes_and_no_more(tmp_path: Path) -> None:
    directory = tmp_path.joinpath(*["d" * 204] * 5)
    directory.parent.mkdir(parents=True)
    directory.touch()
    assert scan(tmp_path, Limits()).problem is None
    directory.with_name("d" * 205).touch()
    assert scan(tmp_path, Limits()).problem is Kind.OUTPUT_NAMES


def test_a_directory_that_vanished_is_empty(tmp_path: Path) -> None:
    assert scan(tmp_path / "gone", Limits()).problem is None
