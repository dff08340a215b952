"""The same tree gives the same bytes, and what is no plain tree is refused."""

import hashlib
import io
import os
import socket
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.client import tree
from atoll.client.tree import file_pieces, tree_pieces
from atoll.errors import InputError
from atoll.sealing.tar import MAX_FILE_SIZE

# Disjoint letters for directories and files, so that no name is both.
PATHS = st.builds(
    lambda above, name: "/".join((*above, name)),
    st.lists(st.text("abé", min_size=1, max_size=60), max_size=3),
    st.text("xyz .ß", min_size=1, max_size=60).filter(lambda name: name.strip(".")),
)
TREES = st.dictionaries(PATHS, st.binary(max_size=1100), max_size=8)


def plant(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def archive(root: Path) -> bytes:
    return b"".join(tree_pieces(root))


def code_of(root: Path, *, max_files: int = tree.MAX_FILES) -> str:
    with pytest.raises(InputError) as caught:
        next(tree_pieces(root, max_files=max_files))
    return caught.value.code


@given(files=TREES, order=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_same_tree_gives_the_same_bytes(files: dict[str, bytes], order: object) -> None:
    shuffled = list(files)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first = archive(plant(Path(one), files))
        plant(Path(two), {name: files[name] for name in shuffled})
        for path in Path(two).rglob("*"):
            path.chmod(0o700)
            os.utime(path, (1, 1))
        assert archive(Path(two)) == first


@given(files=TREES)
@settings(max_examples=60, deadline=None)
def test_any_tar_reads_it_back_in_the_order_of_bytes(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as one:
        raw = archive(plant(Path(one), files))
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:", encoding="utf-8") as read:
        found = [(item.name, read.extractfile(item).read()) for item in read]  # type: ignore[union-attr]
    assert found == sorted(files.items(), key=lambda item: item[0].encode())


@given(files=TREES.filter(bool), flip=st.integers(min_value=0))
@settings(max_examples=40, deadline=None)
def test_other_content_gives_other_bytes(files: dict[str, bytes], flip: int) -> None:
    name = sorted(files)[flip % len(files)]
    with tempfile.TemporaryDirectory() as one:
        root = plant(Path(one), files)
        before = archive(root)
        (root / name).write_bytes(files[name] + b"\0")
        assert archive(root) != before


def test_is_these_bytes_for_ever(tmp_path: Path) -> None:
    plant(tmp_path, {"b.txt": b"two", "a/c": b"one"})
    (tmp_path / "empty").mkdir()
    expected = b""
    for name, content in ((b"a/c", b"one"), (b"b.txt", b"two")):
        block = bytearray(512)
        block[: len(name)] = name
        block[100:156] = (
            b"0000644\0" + b"0000000\0" * 2 + b"00000000003\0" + b"0" * 11 + b"\0" + b" " * 8
        )
        block[156:265] = b"0" + bytes(100) + b"ustar\x0000"
        block[329:345] = b"0000000\0" * 2
        block[148:156] = b"%06o\0 " % sum(block)
        expected += bytes(block) + content.ljust(512, b"\0")
    assert archive(tmp_path) == expected + bytes(1024)


def test_refuses_a_link_even_to_a_file_of_the_tree(tmp_path: Path) -> None:
    plant(tmp_path, {"a": b"one"})
    (tmp_path / "b").symlink_to("a")
    assert code_of(tmp_path) == "archive.kind"


def test_refuses_a_link_to_a_directory(tmp_path: Path) -> None:
    (tmp_path / "up").symlink_to("..")
    assert code_of(tmp_path) == "archive.kind"


def test_refuses_a_pipe_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert code_of(tmp_path) == "archive.kind"


def test_refuses_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("s")
        assert code_of(tmp_path) == "archive.kind"


@pytest.mark.parametrize(
    "name", [b"\xff", b"a\nb", b"a\\b", "a\u202eb".encode(), "\u00a0".encode()]
)
def test_refuses_a_name_that_is_no_printable_text(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"")
    assert code_of(tmp_path) == "archive.name"


def test_refuses_more_files_than_the_limit_and_takes_as_many(tmp_path: Path) -> None:
    plant(tmp_path, {"a": b"", "b": b"", "c": b""})
    assert code_of(tmp_path, max_files=2) == "archive.too_many"
    assert next(tree_pieces(tmp_path, max_files=3))


def test_refuses_a_file_that_no_header_can_describe(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(MAX_FILE_SIZE + 1)
    assert code_of(tmp_path) == "archive.too_large"


def test_refuses_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert code_of(tmp_path / "gone") == "file.unreadable"


@pytest.mark.parametrize("content", [b"on", b"more"])
def test_refuses_a_file_that_changes_its_size_meanwhile(tmp_path: Path, content: bytes) -> None:
    pieces = tree_pieces(plant(tmp_path, {"a": b"one"}))
    next(pieces)
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(pieces)
    assert caught.value.code == "archive.size"


@pytest.mark.parametrize("target", ["link", "file"])
def test_refuses_what_takes_the_place_of_a_file(tmp_path: Path, target: str) -> None:
    other = plant(tmp_path, {"other": b"two"}) / "other"
    root = plant(tmp_path / "tree", {"a": b"one"})
    pieces = tree_pieces(root)
    next(pieces)
    if target == "file":
        other.replace(root / "a")
    else:
        (root / "a").unlink()
        (root / "a").symlink_to(other)
    with pytest.raises(InputError) as caught:
        list(pieces)
    assert caught.value.code == ("archive.changed" if target == "file" else "file.unreadable")


def test_a_file_comes_in_pieces_that_are_its_content(tmp_path: Path) -> None:
    content = hashlib.shake_256(b"content").digest(2 * tree.PIECE + 5)
    path = plant(tmp_path, {"a": content}) / "a"
    pieces = list(file_pieces(path))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= tree.PIECE


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError) as caught:
        next(file_pieces(tmp_path / "pipe"))
    assert caught.value.code == "file.not_regular"
