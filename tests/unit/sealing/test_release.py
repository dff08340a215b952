"""A key release opens for one use and no other."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import MessageError, SealError
from atoll.framing import transcript
from atoll.identity import PartyKeys
from atoll.sealing import hpke
from atoll.sealing.hpke import HpkePrivateKey
from atoll.sealing.release import (
    KeyRelease,
    ReleaseContext,
    ReleasedKey,
    make_release,
    open_release,
)
from atoll.wire import schema
from support import signing

ALICE = PartyKeys.generate("alice", lambda n: b"\x01" * n)
MALLORY = PartyKeys.generate("alice", lambda n: b"\x02" * n)
ENCLAVE = HpkePrivateKey(b"\x03" * 32)
CONTEXT = ReleaseContext(
    job_id="job-1",
    attempt=2,
    manifest_digest=b"m" * 32,
    asset_name="iris.csv",
    asset_id=b"a" * 16,
    evidence_digest=b"e" * 32,
    provider_name="alice",
    provider_key=ALICE.signing_key,
)
CONTENT_KEY = b"k" * 32
SALT = b"s" * 32


def release(context: ReleaseContext = CONTEXT, provider: PartyKeys = ALICE) -> KeyRelease:
    return make_release(
        provider,
        job_id=context.job_id,
        attempt=context.attempt,
        manifest_digest=context.manifest_digest,
        asset_name=context.asset_name,
        asset_id=context.asset_id,
        evidence_digest=context.evidence_digest,
        enclave_hpke_key=ENCLAVE.public_bytes,
        content_key=CONTENT_KEY,
        salt=SALT,
    )


GOOD = release()


def code_of(
    shown: KeyRelease, expected: ReleaseContext = CONTEXT, key: HpkePrivateKey = ENCLAVE
) -> str:
    with pytest.raises(SealError) as caught:
        open_release(shown, enclave_key=key, expected=expected)
    return caught.value.code


def test_opens_for_the_use_it_was_made_for_as_often_as_it_is_shown() -> None:
    arrived = schema.decode(KeyRelease, schema.encode(GOOD))
    want = ReleasedKey(content_key=CONTENT_KEY, salt=SALT)
    for _ in range(2):
        assert open_release(arrived, enclave_key=ENCLAVE, expected=CONTEXT) == want


OTHER_USES = [
    ({"job_id": "job-2"}, "release.other_job"),
    ({"manifest_digest": b"M" * 32}, "release.other_manifest"),
    ({"asset_name": "model"}, "release.other_asset"),
    ({"asset_id": b"A" * 16}, "release.other_asset"),
    ({"evidence_digest": b"E" * 32}, "release.other_evidence"),
    ({"attempt": 3}, "release.stale_attempt"),
    ({"provider_name": "bob"}, "release.wrong_party"),
    ({"provider_key": MALLORY.signing_key}, "release.signature"),
]


@pytest.mark.parametrize(("change", "code"), OTHER_USES, ids=str)
def test_refuses_another_use(change: dict[str, object], code: str) -> None:
    assert code_of(GOOD, dataclasses.replace(CONTEXT, **change)) == code  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [change for change, _ in OTHER_USES[:6]], ids=str)
def test_refuses_a_release_relabelled_for_this_use(change: dict[str, object]) -> None:
    other = release(dataclasses.replace(CONTEXT, **change))  # type: ignore[arg-type]
    original = {name: getattr(CONTEXT, name) for name in change}
    assert code_of(dataclasses.replace(other, **original)) == "release.signature"


def test_refuses_the_signature_of_another_party_under_the_same_name() -> None:
    assert code_of(release(provider=MALLORY)) == "release.signature"


def test_refuses_a_key_that_another_party_wrapped_and_signed_as_its_own() -> None:
    # Mallory cannot pass on Alice's wrapped key under a signature of her own.
    signature = MALLORY.sign(
        "atoll release signature v1",
        *dataclasses.replace(CONTEXT, provider_key=MALLORY.signing_key).bound(),
        GOOD.wrapped,
    )
    expected = dataclasses.replace(CONTEXT, provider_key=MALLORY.signing_key)
    assert code_of(dataclasses.replace(GOOD, signature=signature), expected) == "release.wrapped"


def test_refuses_in_another_enclave() -> None:
    assert code_of(GOOD, key=HpkePrivateKey(b"\x04" * 32)) == "release.wrapped"


def test_refuses_a_wrapped_key_of_another_length() -> None:
    bound = CONTEXT.bound()
    wrapped = hpke.seal(ENCLAVE.public_bytes, b"short", transcript("atoll release v1", *bound))
    signature = ALICE.sign("atoll release signature v1", *bound, wrapped)
    shown = dataclasses.replace(GOOD, wrapped=wrapped, signature=signature)
    assert code_of(shown) == "release.wrapped"


def test_refuses_an_unknown_version() -> None:
    assert code_of(dataclasses.replace(GOOD, version=2)) == "release.unsupported"
    with pytest.raises(MessageError, match="version"):
        schema.decode(KeyRelease, schema.encode(dataclasses.replace(GOOD, version=2)))


def test_refuses_every_flipped_bit() -> None:
    raw = schema.encode(GOOD)
    for bit in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            arrived = schema.decode(KeyRelease, bytes(flipped))
        except MessageError:
            continue
        assert code_of(arrived).startswith("release.")


def test_refuses_every_truncation() -> None:
    raw = schema.encode(GOOD)
    for size in range(len(raw)):
        with pytest.raises(MessageError):
            schema.decode(KeyRelease, raw[:size])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_only_message_error(raw: bytes) -> None:
    with pytest.raises(MessageError):
        schema.decode(KeyRelease, raw)


@given(st.binary(min_size=1200, max_size=1200), st.binary(min_size=64, max_size=64))
def test_arbitrary_wrapped_keys_and_signatures_are_refused(wrapped: bytes, sig: bytes) -> None:
    shown = dataclasses.replace(GOOD, wrapped=wrapped, signature=sig)
    assert code_of(shown) == "release.signature"


def test_no_repr_shows_the_key() -> None:
    opened = open_release(GOOD, enclave_key=ENCLAVE, expected=CONTEXT)
    assert repr(opened) == "ReleasedKey()"


def test_refuses_to_release_to_a_key_that_is_none() -> None:
    with pytest.raises(SealError) as caught:
        make_release(
            ALICE,
            job_id="j",
            attempt=1,
            manifest_digest=b"m" * 32,
            asset_name="a",
            asset_id=b"a" * 16,
            evidence_digest=b"e" * 32,
            enclave_hpke_key=b"",
            content_key=CONTENT_KEY,
            salt=SALT,
        )
    assert caught.value.code == "seal.key"


def test_a_content_key_of_another_length_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        make_release(
            ALICE,
            job_id="j",
            attempt=1,
            manifest_digest=b"m" * 32,
            asset_name="a",
            asset_id=b"a" * 16,
            evidence_digest=b"e" * 32,
            enclave_hpke_key=ENCLAVE.public_bytes,
            content_key=b"",
            salt=SALT,
        )


@pytest.mark.parametrize("kind", signing.KINDS)
def test_a_provider_with_an_imported_key_releases_and_nobody_else_in_its_name(kind: str) -> None:
    keys = PartyKeys.imported("alice", signing.imported(kind), lambda n: b"\x05" * n)
    context = dataclasses.replace(CONTEXT, provider_key=keys.signing_key)
    made = release(context, keys)
    arrived = schema.decode(KeyRelease, schema.encode(made))
    assert open_release(arrived, enclave_key=ENCLAVE, expected=context).content_key == CONTENT_KEY
    assert code_of(made) == "release.signature"
    assert code_of(GOOD, context) == "release.signature"
    flipped = bytes([made.signature[0]]) + bytes([made.signature[1] ^ 1]) + made.signature[2:]
    assert code_of(dataclasses.replace(made, signature=flipped), context) == "release.signature"
