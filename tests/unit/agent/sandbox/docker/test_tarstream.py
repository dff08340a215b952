"""The members of a tar, or one code that says what is wrong with it."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_agent.sandbox.docker.tarstream import CHUNK, Entry, entries, inside
from support.images import File, tar


class Bytes:
    """A `Source` over bytes."""

    def __init__(self, raw: bytes) -> None:
        self._file = io.BytesIO(raw)

    def take(self, size: int) -> bytes:
        return self._file.read(size)

    def skip(self, size: int) -> int:
        return len(self._file.read(size))

    def position(self) -> int:
        return self._file.tell()


def read(raw: bytes, most: int = 100) -> list[Entry]:
    return list(entries(Bytes(raw), "it", most=most))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_what_the_standard_library_writes(form: int) -> None:
    long = "/".join(["directory"] * 9) + "/" + "n" * 80
    raw = tar(
        {
            "./a": File(content=b"abc"),
            long: File(content=bytes(600)),
            "d/": File(kind=tarfile.DIRTYPE),
            "l": File(kind=tarfile.SYMTYPE, link="../up"),
            "h": File(kind=tarfile.LNKTYPE, link="a"),
            "p": File(kind=tarfile.FIFOTYPE),
            "c": File(kind=tarfile.CHRTYPE),
        },
        form=form,
    )
    found = read(raw)
    assert [(entry.name.decode(), entry.kind.name, entry.size, entry.link) for entry in found] == [
        ("a", "FILE", 3, b""),
        (long, "FILE", 600, b""),
        ("d", "DIRECTORY", 0, b""),
        ("l", "SYMBOLIC_LINK", 0, b"../up"),
        ("h", "HARD_LINK", 0, b"a"),
        ("p", "FIFO", 0, b""),
        ("c", "DEVICE", 0, b""),
    ]
    assert raw[found[0].offset :][:3] == b"abc"


@pytest.mark.parametrize("name", [b"/a", b"..", b"a/../b", b"a\0b", b"a" * 4097])
def test_a_name_that_does_not_go_down_is_refused(name: bytes) -> None:
    with pytest.raises(InputError) as caught:
        inside(name, "it")
    assert caught.value.code == "image.path"


def test_a_name_loses_what_means_nothing() -> None:
    assert inside(b"./a//b/./c/", "it") == b"a/b/c"


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("truncated", b""),
        ("truncated", bytes(512)),
        ("truncated", tar({"a": File(content=b"x" * 600)})[:1024]),
        ("not_tar", b"x" * 1024),
        ("not_tar", bytes(1024) + b"x" * 512),
        ("not_tar", tar({"a": File()}).replace(b"0000644", b"0000645", 1)),
        ("too_many", tar({str(n): File() for n in range(101)})),
        ("entry", tar({"a": File(kind=b"S")})),
        ("entry", tar({"a": File(kind=tarfile.SYMTYPE, link="x", content=b"x")})),
    ],
)
def test_refuses(code: str, raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read(raw)
    assert caught.value.code == f"image.{code}"


@given(st.binary(max_size=3000))
def test_any_bytes_are_members_or_a_code(raw: bytes) -> None:
    try:
        found = read(raw)
    except InputError:
        return
    assert all(b".." not in entry.name.split(b"/") for entry in found)


GOOD = tar({"a": File(content=b"x" * 700), "l": File(kind=tarfile.SYMTYPE, link="a")})


@given(at=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_a_changed_byte_is_members_or_a_code(at: int, value: int) -> None:
    raw = bytearray(GOOD)
    raw[at] = value
    try:
        found = read(bytes(raw))
    except InputError:
        return
    assert all(entry.size < CHUNK for entry in found)
