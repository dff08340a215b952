"""Party keys and their files."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError, SealError
from atoll.identity import MAX_PRIVATE, PartyKeys, PartyPublic, fingerprint, verify_signature
from atoll.sealing.signature import SigningKey
from atoll.wire import schema
from support import signing


def counting(size: int) -> bytes:
    return bytes(range(size))


ALICE = PartyKeys.generate("alice", counting)


def code_of(raw: bytes, cls: type[PartyKeys] | type[PartyPublic]) -> str:
    with pytest.raises(InputError) as caught:
        cls.from_bytes(raw)
    return caught.value.code


def test_private_file_gives_the_same_keys_back() -> None:
    again = PartyKeys.from_bytes(ALICE.to_bytes())
    assert again.public == ALICE.public
    assert isinstance(again.signing, SigningKey)
    assert again.signing.seed == counting(32)
    assert again.hpke.seed == ALICE.hpke.seed


def test_public_file_gives_the_same_party_back_and_holds_no_secret() -> None:
    raw = ALICE.public.to_bytes()
    assert PartyPublic.from_bytes(raw) == ALICE.public
    assert counting(32).hex().encode() not in raw


def test_files_are_one_line_of_canonical_json() -> None:
    fields = json.loads(ALICE.to_bytes())
    assert fields == {
        "format": "atoll-party-keys",
        "version": 1,
        "name": "alice",
        "signing_seed": counting(32).hex(),
        "hpke_seed": counting(32).hex(),
    }
    assert ALICE.to_bytes().count(b"\n") == 1
    assert json.loads(ALICE.public.to_bytes())["format"] == "atoll-party"


def test_the_newline_may_be_missing_and_nothing_else_may_follow() -> None:
    raw = ALICE.to_bytes()
    assert PartyKeys.from_bytes(raw[:-1]).public == ALICE.public
    assert code_of(raw + b"\n", PartyKeys) == "identity.malformed"
    assert code_of(raw + b" ", PartyKeys) == "identity.malformed"


def test_a_signature_verifies_under_the_public_key_for_its_label() -> None:
    signature = ALICE.sign("label", b"value")
    verify_signature(ALICE.public.signing_key, signature, "label", b"value")
    with pytest.raises(SealError) as caught:
        verify_signature(ALICE.public.signing_key, signature, "label", b"other")
    assert caught.value.code == "signature.invalid"


def test_fingerprint_is_the_beginning_of_the_digest_of_the_signing_key() -> None:
    want = hashlib.sha256(ALICE.signing_key).hexdigest()[:16]
    assert ALICE.public.fingerprint == want == fingerprint(ALICE.signing_key)


def test_no_repr_shows_a_secret() -> None:
    assert counting(32).hex() not in repr(ALICE)
    assert repr(counting(32)) not in repr(ALICE)


def changed(raw: bytes, **fields: object) -> bytes:
    value = json.loads(raw) | fields
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2},
        {"version": True},
        {"version": "1"},
        {"version": None},
        {"format": "atoll-party"},
        {"format": None},
        {"name": "../bob"},
        {"name": ""},
        {"name": 1},
        {"signing_seed": "00" * 31},
        {"signing_seed": "AB" * 32},
        {"signing_seed": "zz" * 32},
        {"hpke_seed": "00" * 33},
        {"more": "x"},
    ],
    ids=str,
)
def test_refuses_a_changed_private_file(fields: dict[str, object]) -> None:
    assert code_of(changed(ALICE.to_bytes(), **fields), PartyKeys) == "identity.malformed"


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "atoll-party-keys"},
        {"signing_key": "00" * 32},
        {"signing_key": "01" + "00" * 31},
        {"hpke_key": "ff" * 1216},
        {"hpke_key": "00" * 1215},
        {"name": "a/b"},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_refuses_a_changed_public_file(fields: dict[str, object]) -> None:
    assert code_of(changed(ALICE.public.to_bytes(), **fields), PartyPublic) == "identity.malformed"


def test_a_private_file_is_no_public_file() -> None:
    assert code_of(ALICE.to_bytes(), PartyPublic) == "identity.malformed"


def test_refuses_every_truncation() -> None:
    raw = ALICE.to_bytes()
    for size in range(len(raw) - 1):
        assert code_of(raw[:size], PartyKeys) == "identity.malformed"


def test_refuses_a_file_that_is_too_large_unread() -> None:
    assert code_of(b" " * 8193, PartyPublic) == "identity.malformed"


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_raise_only_input_error(raw: bytes) -> None:
    assert code_of(raw, PartyKeys) == "identity.malformed"
    assert code_of(raw, PartyPublic) == "identity.malformed"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.sampled_from(["name", "signing_key", "hpke_key", "version", "format"]), json_values)
@settings(max_examples=60)
def test_arbitrary_field_values_give_a_party_or_the_error(field: str, value: object) -> None:
    raw = json.dumps(
        json.loads(ALICE.public.to_bytes()) | {field: value},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode("utf-8", "surrogatepass")
    try:
        party = PartyPublic.from_bytes(raw)
    except InputError:
        return
    assert party.to_bytes().strip() == raw


def test_an_error_repeats_nothing_of_a_private_file() -> None:
    raw = ALICE.to_bytes().replace(b'"alice"', b'"alice",') + b"5" * 50
    with pytest.raises(InputError) as caught:
        PartyKeys.from_bytes(raw)
    assert counting(32).hex() not in str(caught.value)
    assert caught.value.__cause__ is None


def test_travels_inside_messages_and_is_checked_there() -> None:
    raw = schema.encode(ALICE.public)
    assert schema.decode(PartyPublic, raw) == ALICE.public
    bad = raw.replace(ALICE.signing_key, b"\x01" + bytes(31))
    with pytest.raises(InputError) as caught:
        schema.decode(PartyPublic, bad)
    assert caught.value.code == "identity.malformed"


def test_refuses_to_generate_under_an_illegal_name() -> None:
    with pytest.raises(InputError) as caught:
        PartyKeys.generate("a*", counting)
    assert caught.value.code == "identity.malformed"


# --- imported keys ---


def imported(kind: str) -> PartyKeys:
    return PartyKeys.imported("alice", signing.signer(kind), counting)


@pytest.mark.parametrize("kind", ["ed25519", *signing.KINDS])
def test_an_imported_key_comes_back_from_its_files(kind: str) -> None:
    keys = imported(kind)
    raw = keys.to_bytes()
    assert len(raw) <= MAX_PRIVATE
    again = PartyKeys.from_bytes(raw)
    assert (again.public, again.to_bytes()) == (keys.public, raw)
    assert PartyPublic.from_bytes(keys.public.to_bytes()) == keys.public
    assert schema.decode(PartyPublic, schema.encode(keys.public)) == keys.public
    assert keys.public.algorithm == signing.ALGORITHMS.get(kind, "Ed25519")
    verify_signature(keys.signing_key, again.sign("label", b"value"), "label", b"value")


def test_the_second_form_has_pkcs_8_instead_of_a_seed() -> None:
    fields = json.loads(imported("p256").to_bytes())
    assert fields == {
        "format": "atoll-party-keys",
        "version": 1,
        "name": "alice",
        "signing_pkcs8": signing.imported("p256").der.hex(),
        "hpke_seed": counting(32).hex(),
    }
    assert "signing_seed" in json.loads(imported("ed25519").to_bytes())


@pytest.mark.parametrize(
    "fields",
    [
        {"signing_seed": "00" * 32},
        {"signing_pkcs8": ""},
        {"signing_pkcs8": "0"},
        {"signing_pkcs8": "00" * 4097},
        {"signing_pkcs8": signing.imported("p256").der.hex()[:-2]},
        {"signing_pkcs8": signing.imported("p256").der.hex().upper()},
        {"signing_pkcs8": None},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_refuses_a_changed_file_of_the_second_form(fields: dict[str, object]) -> None:
    raw = changed(imported("p256").to_bytes(), **fields)
    assert code_of(raw, PartyKeys) == "identity.malformed"


def test_the_fingerprint_of_an_imported_key_is_that_of_its_spki() -> None:
    key = signing.imported("rsa2048").public_bytes
    assert imported("rsa2048").public.fingerprint == hashlib.sha256(key).hexdigest()[:16]


@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_no_repr_shows_an_imported_secret(kind: str) -> None:
    keys = imported(kind)
    assert signing.imported(kind).der.hex() not in repr(keys)
    assert repr(signing.imported(kind).der) not in repr(keys)
