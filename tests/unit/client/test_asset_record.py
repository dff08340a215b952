"""A record is legal or refused, comes back as it was, and its card tells nothing secret."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll import canonical
from atoll.client.asset_record import MAX_ASSET, AssetKind, AssetRecord, AssetState, address
from atoll.computation.assets import AssetRef
from atoll.errors import InputError
from atoll.framing import commitment
from atoll.sealing.asset import ciphertext_size
from atoll.wire import schema
from support.assets import record

HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
RECORDS = st.builds(
    AssetRecord,
    name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", fullmatch=True),
    provider=st.just("alice"),
    kind=st.sampled_from(AssetKind),
    asset_id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    size=st.integers(0, MAX_ASSET),
    sha256=HEX,
    public_digest=st.booleans(),
    content_key=st.binary(min_size=32, max_size=32),
    salt=st.binary(min_size=32, max_size=32),
    prefix=st.binary(min_size=7, max_size=7),
    state=st.sampled_from(AssetState),
    remote=st.text(max_size=1024),
    created_ms=st.integers(0, 1 << 52),
)


@given(RECORDS)
def test_comes_back_as_it_was(made: AssetRecord) -> None:
    assert AssetRecord.from_bytes(made.to_bytes()) == made


@given(RECORDS, st.data())
def test_a_changed_byte_gives_another_legal_record_or_none(
    made: AssetRecord, data: st.DataObject
) -> None:
    raw = bytearray(made.to_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    code = ""
    found = None
    try:
        found = AssetRecord.from_bytes(bytes(raw))
    except InputError as error:
        code = error.code
    if found is None:
        assert code == "asset.malformed"
    else:
        assert found != made
        assert found.to_bytes() == bytes(raw)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_anything_else_is_refused_with_one_code(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        AssetRecord.from_bytes(raw)
    assert caught.value.code == "asset.malformed"


LEGAL: dict[str, Any] = json.loads(record().to_bytes())


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "atoll-asse"},
        {"version": 2},
        {"version": True},
        {"name": "../me"},
        {"provider": ""},
        {"kind": "pipe"},
        {"asset_id": "00" * 15},
        {"asset_id": "AA" * 16},
        {"size": -1},
        {"size": MAX_ASSET + 1},
        {"sha256": "00"},
        {"content_key": "AAAA"},
        {"salt": ""},
        {"prefix": "AAAAAAAAAAA"},
        {"state": "lost"},
        {"public_digest": 1},
        {"remote": "x" * 1025},
        {"created_ms": -1},
        {"more": 1},
    ],
    ids=str,
)
def test_each_member_has_its_form(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        AssetRecord.from_bytes(canonical.dumps({**LEGAL, **changes}))
    assert caught.value.code == "asset.malformed"


@pytest.mark.parametrize("member", sorted(LEGAL))
def test_no_member_may_be_missing(member: str) -> None:
    left = {key: value for key, value in LEGAL.items() if key != member}
    with pytest.raises(InputError) as caught:
        AssetRecord.from_bytes(canonical.dumps(left))
    assert caught.value.code == "asset.malformed"


def test_there_is_one_form(subtests: pytest.Subtests) -> None:
    raw = record().to_bytes()
    for other in (b" " + raw, raw + b"\n", raw.replace(b",", b", ", 1), json.dumps(LEGAL).encode()):
        with subtests.test(raw=other), pytest.raises(InputError):
            AssetRecord.from_bytes(other)
    assert AssetRecord.from_bytes(raw.removesuffix(b"\n")) == record()


def test_the_card_is_what_a_manifest_says_and_tells_no_secret() -> None:
    made = record()
    card = made.card
    assert schema.from_plain(AssetRef, card, json=True) == made.ref
    assert made.ref.commitment == commitment(made.salt, bytes.fromhex(made.sha256)).hex()
    assert made.ref.size == made.size
    assert "sha256" not in card
    shown = json.dumps(card) + repr(made) + str(made)
    for secret in (made.content_key, made.salt):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
        assert schema.to_plain(replace(made), json=True)["content_key"] not in json.dumps(card)


def test_the_digest_stands_in_the_card_only_where_the_owner_wants_it() -> None:
    made = record().with_public_digest()
    assert made.card["sha256"] == made.sha256
    assert made.ref.sha256 == made.sha256


def test_each_record_has_secrets_of_its_own() -> None:
    one, other = fresh(), fresh()
    assert one.content_key != other.content_key
    assert one.salt != other.salt
    assert one.asset_id != other.asset_id
    assert one.state is AssetState.UPLOADING


def fresh() -> AssetRecord:
    return AssetRecord.new(
        name="a",
        provider="alice",
        kind=AssetKind.FILE,
        size=1,
        sha256="00" * 32,
        public_digest=False,
        remote="",
        created_ms=0,
    )


def test_knows_how_large_the_sealed_asset_is() -> None:
    assert record().sealed_size == ciphertext_size(record().size)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("nats://me:secret@example.org:4222", "nats://example.org:4222"),
        ("tls://a@b@example.org/x?token=secret#secret", "tls://example.org/x"),
        ("http://[", ""),
    ],
)
def test_an_address_is_shown_without_its_login(url: str, shown: str) -> None:
    assert address(url) == shown
