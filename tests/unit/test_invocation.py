"""Arguments and environment: what is sealed can be opened, and an error quotes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.invocation import MAX_INVOCATION, MAX_ITEMS, MAX_TEXT, Invocation

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
text = st.text(max_size=50, alphabet=st.characters(exclude_categories=["Cs"]))


@given(st.lists(text, max_size=20), st.dictionaries(names, text, max_size=20))
def test_what_goes_in_comes_out(args: list[str], env: dict[str, str]) -> None:
    invocation = Invocation(args=tuple(args), env=env)
    assert Invocation.from_bytes(invocation.to_bytes()) == invocation


@pytest.mark.parametrize(
    ("invocation", "code"),
    [
        (Invocation(args=("x",) * (MAX_ITEMS + 1), env={}), "invocation.invalid"),
        (Invocation(args=("x" * (MAX_TEXT + 1),), env={}), "invocation.invalid"),
        (Invocation(args=("\ud800",), env={}), "invocation.invalid"),
        (Invocation(env={str(number): "" for number in range(300)}), "invocation.invalid"),
        (Invocation(args=("x" * MAX_TEXT,) * 20, env={}), "invocation.too_large"),
    ],
)
def test_what_an_enclave_would_refuse_is_not_sealed(invocation: Invocation, code: str) -> None:
    with pytest.raises(InputError) as caught:
        invocation.to_bytes()
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_bytes_that_are_no_invocation_are_one_error_without_content(raw: bytes) -> None:
    with pytest.raises(InputError, match=r"^invocation is malformed$") as caught:
        # JSON that is an invocation by chance is no test of this.
        Invocation.from_bytes(b"\xff" + raw)
    assert caught.value.code == "invocation.invalid"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"args":["secret"],"env":{},"more":1}',
        b'{"args":["secret"]}',
        b'{"args":"secret","env":{}}',
        b'{ "args":["secret"],"env":{}}',
        b" " * (MAX_INVOCATION + 1),
    ],
)
def test_the_error_quotes_nothing(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        Invocation.from_bytes(raw)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
