"""Layers as one folder: each over what was before, nothing outside, and nothing followed."""

import io
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_agent.sandbox.docker.image import read_image
from atoll_agent.sandbox.docker.rootfs import MAX_FOLDERS, make_folders, unpack
from support.images import Build, File, docker_archive, oci_archive, tar

LINK, HARD, FOLDER, FIFO = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE


def unpacked(root: Path, *layers: Mapping[str, File] | list[tuple[str, File]]) -> Path:
    raw = docker_archive(Build(layers=tuple(map(tar, layers)), cmd=("/x",)))
    file = io.BytesIO(raw)
    unpack(file, read_image(file, machine="x86_64"), root)
    return root


def text(content: str, mode: int = 0o644) -> File:
    return File(content=content.encode(), mode=mode)


def link(to: str) -> File:
    return File(kind=LINK, link=to)


def refused(root: Path, *layers: Mapping[str, File] | list[tuple[str, File]]) -> str:
    with pytest.raises(InputError) as caught:
        unpacked(root, *layers)
    return caught.value.code


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "image"


def test_files_folders_links_and_their_modes(root: Path) -> None:
    old = os.umask(0o077)
    try:
        unpacked(
            root,
            {
                "etc": File(kind=FOLDER, mode=0o755),
                "etc/name": text("atoll", 0o640),
                "bin/run": text("#!", 0o4755),
                "bin/other": File(kind=HARD, link="bin/run"),
                "bin/soft": link("/bin/run"),
                "pipe": File(kind=FIFO, mode=0o644),
                "sticky": File(kind=FOLDER, mode=0o1777),
            },
        )
    finally:
        os.umask(old)
    assert (root / "etc/name").read_text() == "atoll"
    assert stat.S_IMODE((root / "etc/name").stat().st_mode) == 0o640
    # Nobody becomes somebody else.
    assert stat.S_IMODE((root / "bin/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "bin").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "sticky").stat().st_mode) == 0o777
    assert (root / "bin/other").samefile(root / "bin/run")
    assert os.readlink(root / "bin/soft") == "/bin/run"  # noqa: PTH115 - as it is written
    assert stat.S_ISFIFO((root / "pipe").stat().st_mode)


@pytest.mark.parametrize("pack", [docker_archive, oci_archive])
def test_large_files_in_compressed_layers_are_whole(root: Path, pack: object) -> None:
    assert callable(pack)
    content = os.urandom(3 << 20)
    layer = tar({"a": File(content=content), "b": text("after")})
    file = io.BytesIO(pack(Build(layers=(layer,), cmd=("/x",), compress=True)))
    unpack(file, read_image(file, machine="x86_64"), root)
    assert (root / "a").read_bytes() == content
    assert (root / "b").read_text() == "after"


def test_what_a_later_layer_takes_away_is_gone_and_what_it_brings_is_there(root: Path) -> None:
    before = {
        "etc/a": text("a"),
        "etc/b": text("b"),
        "lib/c": text("c"),
        "lib/deep/d": text("d"),
        "var/e": text("e"),
    }
    after = [
        ("etc/.wh.a", File()),
        ("etc/a2", text("new")),
        ("lib/f", text("f")),
        ("lib/.wh..wh..opq", File()),
        (".wh.var", File()),
        ("none/.wh.x", File()),
    ]
    unpacked(root, before, after)
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {"etc/b", "etc/a2", "lib/f"}
    assert not (root / "var").exists()


def test_each_kind_replaces_each_other(root: Path) -> None:
    unpacked(
        root,
        {"a": text("file"), "b/c": text("in"), "d": link("/nowhere"), "e": text("one", 0o755)},
        {
            "a/inside": text("now a folder"),
            "b": text("now a file"),
            "d": text("no link"),
            "e": text("2"),
        },
    )
    assert (root / "a/inside").read_text() == "now a folder"
    assert (root / "b").read_text() == "now a file"
    assert (root / "d").read_text() == "no link"
    assert (root / "e").read_text() == "2"


def test_a_link_to_the_outside_leads_nowhere_while_unpacking(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    lower = {"out": link(str(outside)), "up": link("../outside"), "f": link(str(outside / "kept"))}
    unpacked(root, lower, {"out/new": text("x"), "up/.wh.kept": File(), "f": text("mine")})
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "kept"
    # As over a union of file systems: the folder hides the link.
    assert (root / "out/new").read_text() == "x"
    assert not (root / "out").is_symlink()


@pytest.mark.parametrize(
    "layer",
    [
        [("out", link("/etc")), ("out/new", text("x"))],
        [("a/out", link("..")), ("a/out/b/c", text("x"))],
        [("hard", File(kind=HARD, link="none"))],
        [("a", File(kind=FOLDER)), ("hard", File(kind=HARD, link="a"))],
        [("out", link("/etc")), ("hard", File(kind=HARD, link="out/passwd"))],
        [(".wh..", File())],
        [(".wh...", File())],
        [("a/.wh.", File())],
    ],
)
def test_layers_that_do_not_fit_together_are_refused(
    root: Path, layer: list[tuple[str, File]]
) -> None:
    assert refused(root, layer) == "image.entry"


def test_names_that_lie_too_deep_are_refused(root: Path) -> None:
    assert refused(root, {"/".join("d" * (MAX_FOLDERS + 1)): text("x")}) == "image.path"
    deep = "/".join("d" * MAX_FOLDERS)
    assert (unpacked(root.with_name("other"), {deep: text("x")}) / deep).read_text() == "x"


def test_folders_are_made_where_something_else_is(root: Path) -> None:
    unpacked(root, {"tmp": link("/etc"), "proc": text("no"), "a/kept": text("k"), "b": link("a")})
    make_folders(root, ("/tmp", "/proc", "/cocos/results", "/a", "/b/in"))
    for name in ("tmp", "proc", "cocos/results", "a", "b", "b/in"):
        assert (root / name).is_dir()
        assert not (root / name).is_symlink()
    assert (root / "a/kept").read_text() == "k"


NAMES = st.sampled_from(
    [
        "a",
        "b",
        "a/b",
        "a/b/c",
        "b/a",
        ".wh.a",
        "a/.wh.b",
        "b/.wh..wh..opq",
        ".wh..",
        "c/.wh...",
        "d",
    ]
)
ENTRIES = st.one_of(
    st.builds(lambda raw: File(content=raw), st.binary(max_size=600)),
    st.just(File(kind=FOLDER, mode=0o000)),
    st.sampled_from(["/", "..", "a", "../../outside", "/etc"]).map(link),
    st.sampled_from(["a", "b", "a/b", "d"]).map(lambda to: File(kind=HARD, link=to)),
)
LAYERS = st.lists(st.dictionaries(NAMES, ENTRIES, max_size=6), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(LAYERS)
def test_whatever_the_layers_are_nothing_outside_changes(
    tmp_path_factory: pytest.TempPathFactory, layers: list[dict[str, File]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    outside = folder / "outside"
    outside.mkdir()
    code = "image."
    try:
        unpacked(folder / "image", *layers)
    except InputError as error:
        code = error.code
    assert code.startswith("image.")
    assert sorted(path.name for path in folder.iterdir()) == ["image", "outside"]
    assert not list(outside.iterdir())
