"""A package is read whole or refused, and nothing of it is run."""

import lzma
import tarfile

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_cli.image.deb import parse_control, read_deb, unxz, unzstd
from atoll_cli.image.tree import File, Link
from support.debs import CONTROL, ar, deb, special, tarred

FILES = {"./usr/bin/thing": b"program", "./lib/thing.so": b"library"}
GOOD = deb(FILES)


def refusal(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_deb(raw)
    return caught.value.code


def test_files_and_fields_are_there_below_merged_folders() -> None:
    package = read_deb(GOOD)

    assert package.control["Version"] == "1.0-1"
    assert "more" not in package.control["Description"]
    assert package.files == {
        "usr/bin/thing": File(b"program"),
        "usr/lib/thing.so": File(b"library"),
    }


def test_zstd_is_read_like_xz() -> None:
    packed = {
        "debian-binary": b"2.0\n",
        "control.tar.zst": zstandard.compress(tarred({"control": CONTROL})),
        "data.tar.zst": zstandard.compress(tarred(FILES)),
    }

    assert read_deb(ar(packed)) == read_deb(GOOD)


def test_links_are_kept_and_hard_links_are_the_file() -> None:
    members: dict[str, bytes | tarfile.TarInfo] = {
        "./a": b"content",
        "./b": special("./b", tarfile.LNKTYPE, "./a"),
        "./c": special("./c", tarfile.SYMTYPE, "a"),
    }

    assert read_deb(deb(members)).files == {
        "a": File(b"content"),
        "b": File(b"content"),
        "c": Link("a"),
    }


def test_the_right_to_run_is_kept_and_no_other() -> None:
    runnable = special("./run", tarfile.REGTYPE, mode=0o4711 & 0o777)

    assert read_deb(deb({"./run": runnable})).files["run"] == File(b"", runnable=True)


@pytest.mark.parametrize(
    ("member", "code"),
    [
        (special("./x", tarfile.REGTYPE, mode=0o4755), "image.deb"),
        (special("./x", tarfile.REGTYPE, mode=0o2755), "image.deb"),
        (special("./x", tarfile.CHRTYPE), "image.deb"),
        (special("./x", tarfile.FIFOTYPE), "image.deb"),
        (special("./x", tarfile.LNKTYPE, "./nothing"), "image.deb"),
        (special("./x", tarfile.LNKTYPE, "../../etc/passwd"), "image.path"),
        (special("../x", tarfile.REGTYPE), "image.path"),
        (special("/x", tarfile.REGTYPE), "image.path"),
        (special("./a\nb", tarfile.REGTYPE), "image.path"),
        (special("./\u00e4", tarfile.REGTYPE), "image.deb"),
    ],
    ids=[
        "setuid",
        "setgid",
        "device",
        "fifo",
        "dangling",
        "out",
        "dots",
        "root",
        "newline",
        "utf8",
    ],
)
def test_odd_members_are_refused(member: tarfile.TarInfo, code: str) -> None:
    assert refusal(deb({"./x": member})) == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "image.deb"),
        (b"!<arch>\n", "image.deb"),
        (GOOD[:-1], "image.deb"),
        (GOOD + b"x", "image.deb"),
        (deb(FILES, version=b"3.0\n"), "image.deb"),
        (deb(FILES, control=b"nonsense\n"), "image.deb"),
        (deb(FILES, control=b"A: 1\nA: 2\n"), "image.deb"),
        (ar({"debian-binary": b"2.0\n", "control.tar.gz": b"", "data.tar.gz": b""}), "image.deb"),
        (ar({"debian-binary": b"2.0\n", "control.tar.xz": b"no", "data.tar.xz": b""}), "image.xz"),
    ],
    ids=["empty", "bare", "cut", "longer", "version", "control", "twice", "gzip", "no-xz"],
)
def test_odd_packages_are_refused(raw: bytes, code: str) -> None:
    assert refusal(raw) == code


@pytest.mark.parametrize(
    ("unpack", "pack", "code"),
    [(unxz, lzma.compress, "image.xz"), (unzstd, zstandard.compress, "image.zstd")],
)
def test_unpacking_has_a_limit_and_an_end(unpack: object, pack: object, code: str) -> None:
    assert callable(unpack)
    assert callable(pack)
    raw = pack(bytes(10_000_000))

    assert unpack(raw, 10_000_000) == bytes(10_000_000)
    for bad, limit in (
        (raw, 9_999_999),
        (raw[:-1], 10_000_000),
        (raw + b"\1", 10_000_000),
        (b"", 1),
    ):
        with pytest.raises(InputError) as caught:
            unpack(bad, limit)
        assert caught.value.code == code


def test_a_frame_that_becomes_gigabytes_is_given_up_early() -> None:
    engine = zstandard.ZstdCompressor().compressobj()
    raw = b"".join(engine.compress(bytes(1 << 20)) for _ in range(64)) + engine.flush()

    with pytest.raises(InputError, match="over 1000 bytes"):
        unzstd(raw, 1000)


@given(st.binary(max_size=400), st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_whatever_comes_is_a_package_or_one_kind_of_error(raw: bytes, at: int, byte: int) -> None:
    for damaged in (raw, b"!<arch>\n" + raw, GOOD[:at] + bytes([byte]) + GOOD[at + 1 :], GOOD[:at]):
        try:
            read_deb(damaged)
        except InputError as error:
            assert error.code.startswith("image.")  # noqa: PT017 - either is right


@given(st.binary(max_size=300), st.integers(0, 2000), st.integers(0, 255))
def test_whatever_is_in_the_tar_is_read_or_refused(raw: bytes, at: int, byte: int) -> None:
    whole = tarred({"./usr/bin/thing": b"program", "./x": special("./x", tarfile.SYMTYPE, "y")})
    for data in (raw, whole[:at] + bytes([byte]) + whole[at + 1 :]):
        packed = {
            "debian-binary": b"2.0\n",
            "control.tar.xz": lzma.compress(tarred({"control": CONTROL}), preset=0),
            "data.tar.xz": lzma.compress(data, preset=0),
        }
        try:
            found = read_deb(ar(packed))
        except InputError as error:
            assert error.code.startswith("image.")  # noqa: PT017 - either is right
        else:
            assert all(".." not in path.split("/") for path in found.files)


@given(st.binary(max_size=300))
def test_control_files_are_fields_or_refused(raw: bytes) -> None:
    try:
        fields = parse_control(raw)
    except InputError as error:
        assert error.code == "image.deb"  # noqa: PT017 - either is right
    else:
        assert all("\n" not in text for item in fields.items() for text in item)
