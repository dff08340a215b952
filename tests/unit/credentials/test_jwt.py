"""Statements are believed as their issuer signed them, and not otherwise."""

import base64
import json
import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.credentials import jwt
from atoll.credentials.creds import Credentials
from atoll.credentials.nkey import KeyPair, Kind
from atoll.errors import InputError

ACCOUNT = KeyPair.generate(Kind.ACCOUNT, secrets.token_bytes)
USER = KeyPair.generate(Kind.USER, secrets.token_bytes)
NOW = 1_800_000_000


def signed(**changes: Any) -> str:
    fields: dict[str, Any] = {"by": ACCOUNT, "subject": USER.public, "now": NOW, **changes}
    return jwt.sign({"type": "user"}, **fields)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_statement_says_what_was_signed() -> None:
    found = jwt.read(signed(expires=NOW + 60, audience="N1"), Kind.ACCOUNT)
    assert (found.issuer, found.subject) == (ACCOUNT.public, USER.public)
    assert (found.issued, found.expires, found.audience) == (NOW, NOW + 60, "N1")
    assert found.nats == {"type": "user"}


def test_the_issuer_must_be_of_the_kind_that_may_state_it() -> None:
    with pytest.raises(InputError):
        jwt.read(signed(), Kind.OPERATOR)


def test_every_changed_letter_is_noticed() -> None:
    token = signed()
    for place, letter in enumerate(token):
        if letter == ".":
            continue
        changed = token[:place] + ("A" if letter != "A" else "B") + token[place + 1 :]
        if base64.urlsafe_b64decode(last(changed)) == base64.urlsafe_b64decode(last(token)) and (
            place > token.rindex(".")
        ):
            continue  # bits behind the last byte of the signature say nothing
        with pytest.raises(InputError) as caught:
            jwt.read(changed, Kind.ACCOUNT)
        assert caught.value.code == "jwt.invalid"


def last(token: str) -> str:
    text = token.rpartition(".")[2]
    return text + "=" * (-len(text) % 4)


def test_a_cut_statement_is_none() -> None:
    token = signed()
    for size in range(len(token)):
        with pytest.raises(InputError):
            jwt.read(token[:size], Kind.ACCOUNT)


@given(st.text(max_size=200) | st.text("abc.", max_size=50))
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        jwt.read(text, Kind.ACCOUNT)


@pytest.mark.parametrize(
    "claims",
    [
        [],
        "text",
        {},
        {"nats": []},
        {"iss": 5, "nats": {}},
        {"iss": "A", "iat": -1, "nats": {}},
        {"iss": "A", "iat": 1.5, "nats": {}},
        {"iss": "A", "iat": True, "nats": {}},
        {"iss": "A", "exp": 1 << 60, "nats": {}},
    ],
)
def test_claims_of_another_shape_are_refused(claims: object) -> None:
    head = part({"typ": "JWT", "alg": "ed25519-nkey"})
    body = f"{head}.{part(claims)}"
    signature = base64.urlsafe_b64encode(ACCOUNT.sign(body.encode())).decode().rstrip("=")
    with pytest.raises(InputError) as caught:
        jwt.read(f"{body}.{signature}", Kind.ACCOUNT)
    assert caught.value.code == "jwt.invalid"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "EdDSA", 5, None])
def test_another_algorithm_is_refused(algorithm: object) -> None:
    body = f"{part({'typ': 'JWT', 'alg': algorithm})}.{signed().split('.')[1]}"
    signature = base64.urlsafe_b64encode(ACCOUNT.sign(body.encode())).decode().rstrip("=")
    with pytest.raises(InputError):
        jwt.read(f"{body}.{signature}", Kind.ACCOUNT)


def test_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(InputError):
        jwt.read("a" * (jwt.MAX_JWT + 1), Kind.ACCOUNT)


def test_time_counts_with_the_skew_that_is_allowed() -> None:
    found = jwt.read(signed(expires=NOW + 60), Kind.ACCOUNT)
    found.require_current(now=NOW + 59)
    found.require_current(now=NOW + 63, skew_s=5)
    found.require_current(now=NOW - 3, skew_s=5)
    for now, code in ((NOW + 60, "jwt.expired"), (NOW - 1, "jwt.not_yet")):
        with pytest.raises(InputError) as caught:
            found.require_current(now=now)
        assert caught.value.code == code


def test_a_creds_file_is_read_as_it_was_written() -> None:
    known = Credentials(jwt=signed(), key=USER)
    read = Credentials.from_text(known.text)
    assert (read.jwt, read.key.public) == (known.jwt, USER.public)
    assert USER.seed not in repr(known)
    # As other tools write it.
    assert Credentials.from_text("# note\r\n" + known.text.replace("\n", "\r\n")).jwt == known.jwt


def test_a_creds_file_that_is_cut_or_of_two_users_is_refused_without_its_secrets() -> None:
    text = Credentials(jwt=signed(), key=USER).text
    other = KeyPair.generate(Kind.USER, secrets.token_bytes)
    for bad in (
        "",
        text[:100],
        text[: len(text) // 2],
        text[:-40],
        text.replace(USER.seed, other.seed),
        text.replace(USER.seed, ACCOUNT.seed),
        text.replace(signed(), signed()[:-5]),
    ):
        with pytest.raises(InputError) as caught:
            Credentials.from_text(bad)
        assert caught.value.code == "creds.invalid"
        assert USER.seed not in str(caught.value)
