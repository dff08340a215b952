"""A wheel is for this interpreter by its tags, or it is not taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_agent.sandbox.bundle.wheel import Interpreter, parse_wheel_name, same_version

HERE = Interpreter(minor=11, machine="x86_64", glibc=36)


@pytest.mark.parametrize(
    ("tags", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("py311-none-any", True),
        ("py312-none-any", False),
        ("py2-none-any", False),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp311-cp311-manylinux_2_36_x86_64", True),
        ("cp311-cp311-manylinux_2_37_x86_64", False),
        ("cp311-cp311-manylinux1_x86_64", True),
        ("cp311-cp311-linux_x86_64", True),
        ("cp311-cp311-linux_aarch64", False),
        ("cp311-cp311-manylinux2014_aarch64", False),
        ("cp311-cp311-musllinux_1_2_x86_64", False),
        ("cp311-cp311-win_amd64", False),
        ("cp310-cp310-manylinux1_x86_64", False),
        ("cp39-abi3-manylinux1_x86_64", True),
        ("cp312-abi3-manylinux1_x86_64", False),
        ("cp311-none-any", True),
        ("pp311-pypy311_pp73-any", False),
    ],
)
def test_tags(tags: str, fits: bool) -> None:  # noqa: FBT001 - a column of the table
    assert parse_wheel_name(f"pack_age-1.0-{tags}.whl").fits(HERE) is fits


def test_without_the_gnu_library_only_pure_wheels_and_the_machines_own_fit() -> None:
    here = Interpreter(minor=11, machine="x86_64", glibc=None)
    assert parse_wheel_name("a-1-py3-none-any.whl").fits(here)
    assert not parse_wheel_name("a-1-cp311-cp311-manylinux1_x86_64.whl").fits(here)


def test_the_parts_of_a_name() -> None:
    found = parse_wheel_name("Pack.Age-1.0+cpu-2b-py3-none-any.whl")
    assert (found.name, found.version) == ("pack-age", "1.0+cpu")
    assert same_version("1.0+a_b", "1.0+a-b")
    assert not same_version("1.0", "1.0.0")


@given(st.text(max_size=80))
def test_any_name_is_a_wheels_or_the_one_error(name: str) -> None:
    try:
        found = parse_wheel_name(name + ".whl")
    except InputError:
        return  # which has but one code
    assert found.fits(HERE) in {True, False}
