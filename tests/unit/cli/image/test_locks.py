"""Locks name files by their hashes, and nothing of where those are from."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.measure.installed import DISTRIBUTIONS
from atoll_agent.sandbox.bundle.lock import parse_lock
from atoll_cli.image.locks import (
    LockedDeb,
    LockedWheel,
    format_debs,
    format_wheels,
    parse_debs,
    parse_wanted,
    parse_wheels,
)

ROOT = Path(__file__).resolve().parents[4]
LOCKS = ROOT / "infra" / "image"
A = LockedDeb("a1", "1:1.0+deb13u1~x", 7, "a" * 64, "pool/main/a/a1/a1_1.0_amd64.deb")
B = LockedDeb("b.2", "2", 8, "b" * 64, "pool/updates/b.deb")


def test_a_lock_is_read_as_it_is_written() -> None:
    assert parse_debs(format_debs([B, A])) == (A, B)
    wheels = (LockedWheel("a", "1.0", "a" * 64), LockedWheel("b-c", "2", "b" * 64))
    assert parse_wheels(format_wheels(reversed(wheels))) == wheels


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a1 1 7 " + b"a" * 64 + b" http://host/a.deb\n",
        b"a1 1 7 " + b"a" * 64 + b" pool/../../a.deb\n",
        b"a1 1 7 " + b"a" * 63 + b" pool/a.deb\n",
        b"a1 1 9999999999 " + b"a" * 64 + b" pool/a.deb\n",
        b"a1 1 7 " + b"a" * 64 + b" pool/a.deb extra\n",
        format_debs([A]) + format_debs([A]),
        format_debs([B]) + format_debs([A]),
        "a1 \u00e4".encode(),
    ],
)
def test_other_locks_are_refused(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_debs(raw)
    assert caught.value.code == "image.lock"


@pytest.mark.parametrize(
    "entry",
    [
        "a==1 --hash=sha256:" + "a" * 64 + " --hash=sha256:" + "b" * 64,
        "a==1 ; python_version > '3' --hash=sha256:" + "a" * 64,
    ],
)
def test_a_wheel_is_one_file_that_must_be_there(entry: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_wheels(entry.encode() + b"\n")
    assert caught.value.code == "image.lock"


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_lock_or_an_error(raw: bytes) -> None:
    for parse in (parse_debs, parse_wheels, parse_wanted):
        try:
            parse(raw)
        except InputError as error:
            assert error.code in {"image.lock", "bundle.lock"}  # noqa: PT017 - either is right


def test_the_image_has_what_is_wanted_and_nothing_more() -> None:
    wanted = set(parse_wanted((LOCKS / "packages.in").read_bytes()))
    locked = {item.name for item in parse_debs((LOCKS / "packages.lock").read_bytes())}
    kernels = {name for name in locked if name.startswith("linux-image-6.12.")}

    assert len(kernels) == 1
    assert locked - kernels == wanted - {"linux-image-cloud-amd64"}


def test_the_wheels_are_those_that_the_agent_may_import_as_they_are_tested() -> None:
    wheels = parse_wheels((LOCKS / "wheels.lock").read_bytes())
    tested = parse_lock((ROOT / "requirements" / "dev.txt").read_bytes())

    assert {item.name for item in wheels} == set(DISTRIBUTIONS)
    for item in wheels:
        assert item.version == tested[item.name].version
        assert item.sha256 in tested[item.name].hashes
