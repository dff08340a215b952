"""The root in memory takes plain paths once, and writes one archive for one content."""

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_cli.image import cpio as cpio_module
from atoll_cli.image import tree as tree_module
from atoll_cli.image.cpio import compressed, cpio
from atoll_cli.image.tree import Device, Entry, File, Folder, Link, Tree, mode, plain_path
from support.newc import newc

ENTRIES: dict[str, Entry] = {
    "usr/bin/program": File(b"code", runnable=True),
    "etc/passwd": File(b"root\n"),
    "bin": Link("usr/bin"),
    "tmp": Folder(shared=True),
    "dev/console": Device(5, 1),
}


def tree_of(entries: dict[str, Entry]) -> Tree:
    tree = Tree()
    for path, entry in entries.items():
        tree.add(path, entry)
    return tree


def code_of(path: str, entry: Entry, entries: dict[str, Entry] | None = None) -> str:
    tree = tree_of(entries or {})
    with pytest.raises(InputError) as caught:
        tree.add(path, entry)
    return caught.value.code


def test_folders_come_by_themselves_and_before_what_is_in_them() -> None:
    paths = [path for path, _ in tree_of(ENTRIES)]

    assert paths == [
        "bin", "dev", "dev/console", "etc", "etc/passwd", "tmp", "usr", "usr/bin",
        "usr/bin/program",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("./usr/x", "usr/x"),
        ("lib/x/y", "usr/lib/x/y"),
        ("lib64/ld", "usr/lib64/ld"),
        ("lib", "lib"),
    ],
)
def test_paths_are_made_plain(path: str, plain: str) -> None:
    assert plain_path(path) == plain


@pytest.mark.parametrize(
    "path", ["", "/", "/etc", "a/../b", "..", "a//b", "./.", "a\0b", "a\nb", "\u00e4", "x" * 256]
)
def test_other_paths_are_refused(path: str) -> None:
    assert code_of(path, File(b"")) == "image.path"


def test_a_path_is_one_thing() -> None:
    assert code_of("a", File(b"2"), {"a": File(b"1")}) == "image.twice"
    assert code_of("a/b", File(b""), {"a": File(b"")}) == "image.twice"
    assert code_of("a/b", File(b""), {"a": Link("/etc")}) == "image.twice"
    assert code_of("a", Link(""), {}) == "image.path"
    tree_of({"a": File(b"1")}).add("a", File(b"1"))


def test_it_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MAX_BYTES", 10)
    assert code_of("b", File(bytes(6)), {"a": File(bytes(5))}) == "image.limit"
    monkeypatch.setattr(tree_module, "MAX_ENTRIES", 3)
    assert code_of("a/b/c/d", File(b"")) == "image.limit"


def test_no_mode_has_a_setuid_bit() -> None:
    assert {mode(entry) & 0o6000 for entry in ENTRIES.values()} == {0}


def test_the_archive_says_what_the_tree_has() -> None:
    members = {item.name: item for item in newc(cpio(tree_of(ENTRIES)))}

    assert members["usr/bin/program"].content == b"code"
    assert members["usr/bin/program"].mode == 0o100755
    assert members["etc/passwd"].mode == 0o100644
    assert (members["bin"].mode, members["bin"].content) == (0o120777, b"usr/bin")
    assert members["tmp"].mode == 0o041777
    assert (members["dev/console"].mode, members["dev/console"].device) == (0o020600, (5, 1))
    assert {(item.uid, item.gid, item.mtime) for item in members.values()} == {(0, 0, 0)}
    assert [item.inode for item in members.values()] == list(range(1, len(members) + 1))


def test_one_content_has_one_archive_in_whatever_order_it_came() -> None:
    backwards = dict(reversed(ENTRIES.items()))

    assert cpio(tree_of(ENTRIES)) == cpio(tree_of(backwards))
    assert cpio(tree_of(ENTRIES)) != cpio(tree_of({**ENTRIES, "etc/passwd": File(b"toor\n")}))


def test_the_compressor_is_the_one_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = cpio(tree_of(ENTRIES))
    assert zstandard.decompress(compressed(raw)) == raw

    monkeypatch.setattr(cpio_module, "COMPRESSOR", "0.0.1")
    with pytest.raises(InputError) as caught:
        compressed(raw)
    assert caught.value.code == "image.compressor"


@given(st.dictionaries(st.text(max_size=12), st.binary(max_size=20), max_size=8))
def test_an_archive_is_aligned_and_ends_or_a_path_is_refused(files: dict[str, bytes]) -> None:
    tree = Tree()
    for path, content in files.items():
        try:
            tree.add(path, File(content))
        except InputError as error:
            assert error.code in {"image.path", "image.twice"}  # noqa: PT017 - either is right
    raw = cpio(tree)

    assert len(raw) % 4 == 0
    assert raw.count(b"070701") >= len(tree) + 1
    assert raw.rstrip(b"\0").endswith(b"TRAILER!!!")
