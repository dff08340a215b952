"""A wheel's files go where the interpreter looks, and nothing of an installer's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_cli.image.tree import File
from atoll_cli.image.wheels import FOLDER, parse_metadata, read_wheel
from support.wheels import zipped

METADATA = (
    b"Metadata-Version: 2.1\nName: Some.Thing\nVersion: 1.0\nLicense-Expression: MIT\n\nText\n"
)
FILES = {
    "thing/__init__.py": b"",
    "thing/native.abi3.so": b"\x7fELF",
    "thing-1.0.dist-info/METADATA": METADATA,
    "thing-1.0.dist-info/RECORD": b"",
    "thing-1.0.dist-info/licenses/LICENSE.txt": b"free",
    "thing-1.0.data/scripts/thing": b"#!",
    "thing/tests/test_it.py": b"",
    "thing/__pycache__/x.cpython-311.pyc": b"",
    "thing/native.pyi": b"",
}
GOOD = zipped(FILES)


def test_what_is_taken() -> None:
    wheel = read_wheel(GOOD)

    assert (wheel.name, wheel.version) == ("some-thing", "1.0")
    assert wheel.metadata["License-Expression"] == "MIT"
    assert wheel.files == {
        f"{FOLDER}/thing/__init__.py": File(b""),
        f"{FOLDER}/thing/native.abi3.so": File(b"\x7fELF"),
        f"{FOLDER}/thing-1.0.dist-info/METADATA": File(METADATA),
        f"{FOLDER}/thing-1.0.dist-info/licenses/LICENSE.txt": File(b"free"),
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        GOOD[:-1],
        GOOD[40:],
        zipped({"thing/__init__.py": b""}),
        zipped({**FILES, "a/b-1.dist-info/METADATA": METADATA}),
        zipped({"thing-1.0.dist-info/METADATA": b"Name: x\n\n"}),
        zipped({"thing-1.0.dist-info/METADATA": b"Name: x\nName: y\nVersion: 1\n\n"}),
    ],
    ids=["empty", "cut", "headless", "no-metadata", "two", "no-version", "two-names"],
)
def test_other_archives_are_refused(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read_wheel(raw)
    assert caught.value.code == "image.wheel"


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a\nb"])
def test_paths_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(InputError) as caught:
        read_wheel(zipped({**FILES, path: b""}))
    assert caught.value.code == "image.path"


@given(st.binary(max_size=300), st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_whatever_comes_is_a_wheel_or_one_kind_of_error(raw: bytes, at: int, byte: int) -> None:
    for damaged in (raw, GOOD[:at] + bytes([byte]) + GOOD[at + 1 :], GOOD[:at], GOOD[at:]):
        try:
            found = read_wheel(damaged)
        except InputError as error:
            assert error.code in {"image.wheel", "image.path"}  # noqa: PT017 - either is right
        else:
            assert all(path.startswith(f"{FOLDER}/") for path in found.files)


@given(st.binary(max_size=300))
def test_metadata_is_read_or_refused(raw: bytes) -> None:
    try:
        fields = parse_metadata(raw)
    except InputError as error:
        assert error.code == "image.wheel"  # noqa: PT017 - either is right
    else:
        assert fields["Name"]
