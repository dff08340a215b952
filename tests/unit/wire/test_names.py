"""Names are harmless as subject token, key, file name and directory entry."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.wire import names

HOSTILE = [
    *("", ".", "..", "...", "a..b", "../a", "a/b", "/a", "a/", "a\\b", ".a", "a."),
    *("*", ">", "a*", "a.>", "a b", " a", "a ", "a\n", "\na", "a\t", "a\x00", "\x00"),
    *("é", "\u0430", "\uff0e\uff0e", "a\u202eb", "a\ud800", "-a", "$KV", "a,b", "a" * 65),
]
LEGAL = ["a", "_a", "iris", "A-b_9", "0", "a" * 64]


@pytest.mark.parametrize("value", HOSTILE)
def test_refuses_as_a_name(value: str) -> None:
    with pytest.raises(InputError) as caught:
        names.require_name(value, "dataset")
    assert caught.value.code == "name.invalid"


@pytest.mark.parametrize("value", [*(v for v in HOSTILE if v != "-a"), "a.b", "iris.csv"])
def test_refuses_as_a_token(value: str) -> None:
    with pytest.raises(InputError) as caught:
        names.require_token(value, "id")
    assert caught.value.code == "name.invalid"


@pytest.mark.parametrize("value", [*LEGAL, "iris.csv", "a.b.c"])
def test_takes_as_a_name(value: str) -> None:
    assert names.require_name(value, "dataset") == value


@pytest.mark.parametrize("value", [*LEGAL, "-a"])
def test_takes_as_a_token(value: str) -> None:
    assert names.require_token(value, "id") == value


@given(st.text())
def test_what_is_a_name_is_harmless(value: str) -> None:
    try:
        names.require_name(value, "dataset")
    except InputError:
        return
    assert value.isascii()
    assert ".." not in value
    assert not value.startswith((".", "-"))
    assert not set(value) & set("/\\*> \x00\n")
