"""The description of an image is read strictly, and its digest is that of its parts."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import InputError
from atoll.measure.guest import GuestImage, describe, image_digest, parse_description

PARTS = {name: hashlib.sha256(name.encode()).digest() for name in ("kernel", "initrd", "cmdline")}
IMAGE = GuestImage(
    release="0.1.0",
    digest=image_digest(**PARTS).hex(),
    docker="d" * 64,
    docker_id="e" * 64,
    bytes=12,
    packages=3,
    **{name: digest.hex() for name, digest in PARTS.items()},
)


def test_a_description_is_read_as_it_is_written() -> None:
    assert parse_description(describe(IMAGE)) == IMAGE


def test_the_digest_is_of_a_transcript() -> None:
    framed = b"".join(b"\0\0\0\x20" + PARTS[name] for name in ("kernel", "initrd", "cmdline"))

    assert image_digest(**PARTS) == hashlib.sha256(b"atoll image v1" + framed).digest()


@pytest.mark.parametrize("part", ["kernel", "initrd", "cmdline", "digest"])
def test_a_part_that_is_not_of_the_digest_is_refused(part: str) -> None:
    with pytest.raises(InputError, match="a digest that is not"):
        parse_description(canonical.dumps(canonical.loads(describe(IMAGE)) | {part: "0" * 64}))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"version": 2},
        {"extra": 1},
        {"docker": "D" * 64},
        {"docker": "d" * 63},
        {"bytes": -1},
        {"bytes": "12"},
        {"packages": True},
        {"release": 1},
    ],
)
def test_another_description_is_refused(change: dict[str, object]) -> None:
    value = canonical.loads(describe(IMAGE)) | change
    with pytest.raises(InputError) as caught:
        parse_description(canonical.dumps(value))
    assert caught.value.code == "image.description"


@given(st.binary(max_size=200), st.integers(0, 500), st.integers(0, 255))
def test_whatever_comes_is_a_description_or_one_error(raw: bytes, at: int, byte: int) -> None:
    whole = describe(IMAGE)
    for damaged in (raw, whole[:at] + bytes([byte]) + whole[at + 1 :], whole[:at]):
        try:
            parse_description(damaged)
        except InputError as error:
            assert error.code == "image.description"  # noqa: PT017 - either is right
