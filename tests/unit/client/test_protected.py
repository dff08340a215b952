"""Key files under a passphrase: they open with it alone, and only as they were written."""

import functools
import json
import secrets
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.client.protected import (
    MAX_N,
    MAX_PASSPHRASE,
    MAX_PROTECTED,
    MIN_N,
    SCRYPT_N,
    ProtectedKeys,
    is_protected,
)
from atoll.errors import InputError
from atoll.identity import PartyKeys
from support import signing

PASSPHRASE = "pässword".encode()
KINDS = ("ed25519", "p384", "rsa4096")


@functools.cache
def party(kind: str) -> PartyKeys:
    return PartyKeys.imported("alice", signing.signer(kind), secrets.token_bytes)


@functools.cache
def sealed(kind: str = "ed25519") -> bytes:
    """A file with the cheapest key derivation that is legal."""
    made = ProtectedKeys.seal(party(kind), PASSPHRASE, secrets.token_bytes, n=MIN_N)
    return made.to_bytes()


def changed(raw: bytes, **fields: object) -> bytes:
    value = json.loads(raw) | fields
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def code_of(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        ProtectedKeys.from_bytes(raw)
    return caught.value.code


def refused(raw: bytes, passphrase: bytes = PASSPHRASE) -> None:
    with pytest.raises(InputError) as caught:
        ProtectedKeys.from_bytes(raw).open(passphrase)
    assert caught.value.code == "key.passphrase"


@pytest.mark.parametrize("kind", KINDS)
def test_opens_with_its_passphrase_and_shows_its_public_part_without(kind: str) -> None:
    found = ProtectedKeys.from_bytes(sealed(kind))
    assert found.public == party(kind).public
    assert found.open(PASSPHRASE).to_bytes() == party(kind).to_bytes()
    assert len(sealed(kind)) <= MAX_PROTECTED
    assert found.to_bytes() == sealed(kind)


def test_new_files_get_the_cost_that_is_documented() -> None:
    made = ProtectedKeys.seal(party("ed25519"), PASSPHRASE, secrets.token_bytes)
    assert made.n == SCRYPT_N == 1 << 17
    assert json.loads(made.to_bytes())["kdf"] | {"salt": ""} == {
        "name": "scrypt",
        "n": 131072,
        "r": 8,
        "p": 1,
        "salt": "",
    }


def test_two_files_of_one_key_share_no_salt_and_no_nonce() -> None:
    again = ProtectedKeys.seal(party("ed25519"), PASSPHRASE, secrets.token_bytes, n=MIN_N)
    first = ProtectedKeys.from_bytes(sealed())
    assert again.salt != first.salt
    assert again.nonce != first.nonce


@pytest.mark.parametrize("passphrase", [b"password", PASSPHRASE + b"\n", PASSPHRASE[:-1]])
def test_refuses_another_passphrase(passphrase: bytes) -> None:
    refused(sealed(), passphrase)


@pytest.mark.parametrize("passphrase", [b"", b"x" * (MAX_PASSPHRASE + 1)])
def test_refuses_a_passphrase_that_none_can_be(passphrase: bytes) -> None:
    refused(sealed(), passphrase)
    with pytest.raises(InputError) as caught:
        ProtectedKeys.seal(party("ed25519"), passphrase, secrets.token_bytes)
    assert caught.value.code == "key.passphrase"


def test_a_secret_is_not_in_the_file_a_repr_or_an_error() -> None:
    seed = party("ed25519").hpke.seed.hex()
    found = ProtectedKeys.from_bytes(sealed())
    assert seed.encode() not in sealed()
    with pytest.raises(InputError) as caught:
        found.open(b"a wrong one")
    for text in (repr(found), str(caught.value), caught.value.hint or ""):
        assert seed not in text
        assert "a wrong one" not in text
        assert found.ciphertext.hex() not in text


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "bob"},
        {"signing_key": signing.signer("p256").public_bytes.hex()},
        {"hpke_key": party("p384").public.hpke_key.hex()},
        {"nonce": "00" * 12},
        {"ciphertext": "00" * 40},
        {"ciphertext": "00" * 16},
    ],
    ids="-".join,
)
def test_does_not_open_when_any_field_was_changed(fields: dict[str, object]) -> None:
    refused(changed(sealed(), **fields))


def kdf(**fields: Any) -> dict[str, Any]:
    return {"kdf": json.loads(sealed())["kdf"] | fields}


def test_does_not_open_with_another_salt_or_cost() -> None:
    refused(changed(sealed(), **kdf(salt="00" * 16)))
    refused(changed(sealed(), **kdf(n=2 * MIN_N)))


@pytest.mark.parametrize(
    "fields",
    [
        *(
            kdf(n=n)
            for n in (0, 1, MIN_N // 2, MIN_N + 1, 2 * MAX_N, 1 << 40, -MIN_N, True, "32768", None)
        ),
        kdf(r=1),
        kdf(r=16),
        kdf(p=2),
        kdf(p=True),
        kdf(p=0),
        kdf(name="argon2id"),
        kdf(salt=""),
        kdf(salt="00" * 15),
        kdf(salt=None),
        kdf(more=1),
        {"kdf": None},
        {"kdf": []},
        {"cipher": "none"},
        {"cipher": None},
        {"version": 2},
        {"version": True},
        {"format": "atoll-party-keys"},
        {"name": "../x"},
        {"name": 1},
        {"signing_key": "00" * 32},
        {"signing_key": "ab" * 91},
        {"hpke_key": "00"},
        {"nonce": "00" * 11},
        {"nonce": "AA" * 12},
        {"ciphertext": "00" * 15},
        {"ciphertext": "0"},
        {"ciphertext": "00" * MAX_PROTECTED},
        {"more": "x"},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_refuses_a_malformed_file_without_deriving_anything(fields: dict[str, object]) -> None:
    assert code_of(changed(sealed(), **fields)) == "identity.malformed"


def test_refuses_what_is_not_one_line_of_canonical_json() -> None:
    raw = sealed()
    assert ProtectedKeys.from_bytes(raw[:-1]).public == party("ed25519").public
    for other in (raw + b"\n", b" " + raw, raw[:-2], raw.replace(b",", b", ", 1), b"", b"[]"):
        assert code_of(other) == "identity.malformed"


def test_a_file_that_holds_other_keys_than_it_says_is_refused() -> None:
    # Whoever knows the passphrase could write it.
    good = ProtectedKeys.from_bytes(sealed())
    stranger = PartyKeys.generate("alice", secrets.token_bytes)

    class Mixed(PartyKeys):
        def to_bytes(self) -> bytes:
            return stranger.to_bytes()

    keys = party("ed25519")
    mixed = Mixed(name=keys.name, signing=keys.signing, hpke=keys.hpke)
    made = ProtectedKeys.seal(mixed, PASSPHRASE, secrets.token_bytes, n=MIN_N)
    assert made.public == good.public
    with pytest.raises(InputError) as caught:
        made.open(PASSPHRASE)
    assert caught.value.code == "identity.malformed"


def test_knows_its_own_files() -> None:
    assert is_protected(sealed())
    assert not is_protected(party("ed25519").to_bytes())
    assert not is_protected(b"\xff")


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_arbitrary_bytes_raise_only_input_error(raw: bytes) -> None:
    assert code_of(raw) == "identity.malformed"
    assert not is_protected(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(json.loads(sealed()))), json_values)
@settings(max_examples=100)
def test_arbitrary_field_values_give_a_file_or_the_error(field: str, value: object) -> None:
    raw = json.dumps(
        json.loads(sealed()) | {field: value},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode("utf-8", "surrogatepass")
    try:
        found = ProtectedKeys.from_bytes(raw)
    except InputError:
        return
    assert found.to_bytes() == raw + b"\n"


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_every_flipped_bit_is_refused(data: st.DataObject) -> None:
    raw = bytearray(sealed())
    bit = data.draw(st.integers(0, 8 * (len(raw) - 1) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InputError) as caught:
        ProtectedKeys.from_bytes(bytes(raw)).open(PASSPHRASE)
    assert caught.value.code in {"identity.malformed", "key.passphrase"}
