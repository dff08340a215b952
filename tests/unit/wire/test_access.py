"""The text of an access token, and what roles may do."""

import itertools
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.wire import schema
from atoll.wire.access import (
    AccessRole,
    AccessToken,
    TokenRecord,
    permits,
    view_of,
)
from support.access import OPERATOR, access_token

V, S = AccessRole.VIEWER, AccessRole.SUBMITTER


def test_a_token_is_read_back_from_its_text() -> None:
    for name in map(str, range(50)):
        token = access_token(name)
        assert AccessToken.parse(token.text) == token
        assert len(token.text) == 6 + 12 + 1 + 49


def test_the_form_is_what_is_documented() -> None:
    """Worked out apart, from a gzip trailer: the CRC-32 of `atoll_000000000000_` and 43
    zeros in base62."""
    token = AccessToken.generate(bytes)
    assert token.id == "0" * 12
    assert token.secret == "0" * 43
    assert token.text == "atoll_000000000000_" + "0" * 43 + "0C0pc3"


def test_two_tokens_have_nothing_in_common() -> None:
    one, other = (AccessToken.generate(secrets.token_bytes) for _ in range(2))
    assert one.id != other.id
    assert one.secret != other.secret


@pytest.mark.parametrize("at", range(len(OPERATOR.text)))
def test_one_wrong_character_is_noticed(at: int) -> None:
    text = OPERATOR.text
    for char in "aB0_-":
        if text[at] != char:
            with pytest.raises(InputError) as caught:
                AccessToken.parse(text[:at] + char + text[at + 1 :])
            assert caught.value.code == "token.malformed"


@given(st.text(max_size=100))
def test_no_text_but_a_token_is_one(text: str) -> None:
    with pytest.raises(InputError) as caught:
        AccessToken.parse(text)
    assert text == "" or len(text) < 5 or text not in caught.value.message


@pytest.mark.parametrize("cut", [1, 6, 18, 40, 67])
def test_half_a_token_is_none(cut: int) -> None:
    with pytest.raises(InputError):
        AccessToken.parse(OPERATOR.text[:cut])


def test_the_secret_is_not_shown() -> None:
    assert OPERATOR.secret not in repr(OPERATOR)


def test_a_view_has_no_digest() -> None:
    record = TokenRecord(
        token_id=OPERATOR.id, digest=OPERATOR.digest, tenant="t", roles=(V,), created_ms=1
    )
    plain = schema.to_plain(view_of(record), json=True)
    assert "digest" not in plain
    assert plain["token_id"] == OPERATOR.id


def test_each_role_may_what_the_one_before_it_may() -> None:
    allowed = {
        (a.value, b.value) for a, b in itertools.product(AccessRole, repeat=2) if a.allows(b)
    }
    assert allowed == {
        ("viewer", "viewer"),
        ("submitter", "viewer"),
        ("submitter", "submitter"),
        ("operator", "viewer"),
        ("operator", "submitter"),
        ("operator", "operator"),
    }
    assert permits((V, S), S)
    assert not permits((), V)
    assert not permits((V,), AccessRole.OPERATOR)


@pytest.mark.parametrize(
    ("disabled", "expires_ms", "live"),
    [(False, None, True), (True, None, False), (False, 10, False), (False, 11, True)],
)
def test_a_token_lives_until_it_is_revoked_or_expires(
    *, disabled: bool, expires_ms: int | None, live: bool
) -> None:
    record = TokenRecord(
        token_id=OPERATOR.id,
        digest=OPERATOR.digest,
        tenant="t",
        roles=(V,),
        created_ms=1,
        disabled=disabled,
        expires_ms=expires_ms,
    )
    assert record.is_live(10) is live
