"""DSSE envelopes."""

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import ReceiptError
from atoll.receipt.dsse import Envelope, from_b64, pae, sign, verify
from atoll.sealing.signature import SigningKey, verify_bytes

KEY = SigningKey(b"\x01" * 32)
PAYLOAD = b'{"a":1}'
GOOD = sign(PAYLOAD, KEY)


def malformed(plain: object) -> str:
    with pytest.raises(ReceiptError) as caught:
        Envelope.from_plain(plain)
    return caught.value.code


def with_signature(**fields: object) -> dict[str, Any]:
    plain = GOOD.to_plain()
    return plain | {"signatures": [plain["signatures"][0] | fields]}


def test_pae_is_the_example_of_the_specification() -> None:
    # secure-systems-lab/dsse, protocol.md, "Test Vectors".
    want = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == want


def test_json_form_is_that_of_the_specification() -> None:
    assert GOOD.to_plain() == {
        "payload": base64.b64encode(PAYLOAD).decode(),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [
            {
                "keyid": hashlib.sha256(KEY.public_bytes).hexdigest(),
                "sig": base64.b64encode(GOOD.signature).decode(),
            }
        ],
    }


def test_signature_is_over_the_pae() -> None:
    verify_bytes(
        KEY.public_bytes, GOOD.signature, b"DSSEv1 28 application/vnd.in-toto+json 7 " + PAYLOAD
    )


def test_verifies_after_a_round_trip() -> None:
    assert verify(Envelope.from_plain(GOOD.to_plain()), KEY.public_bytes) == PAYLOAD


@pytest.mark.parametrize(
    "changed",
    [
        Envelope(payload=PAYLOAD + b" ", keyid=GOOD.keyid, signature=GOOD.signature),
        Envelope(payload=PAYLOAD, keyid=GOOD.keyid[:-1], signature=GOOD.signature),
        Envelope(payload=PAYLOAD, keyid=GOOD.keyid, signature=bytes(64)),
    ],
    ids=["payload", "keyid", "signature"],
)
def test_refuses_a_change(changed: Envelope) -> None:
    with pytest.raises(ReceiptError) as caught:
        verify(changed, KEY.public_bytes)
    assert caught.value.code == "receipt.signature"


def test_refuses_another_key() -> None:
    with pytest.raises(ReceiptError) as caught:
        verify(GOOD, SigningKey(b"\x02" * 32).public_bytes)
    assert caught.value.code == "receipt.signature"


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        GOOD.to_plain() | {"more": 1},
        GOOD.to_plain() | {"signatures": []},
        GOOD.to_plain() | {"signatures": GOOD.to_plain()["signatures"] * 2},
        GOOD.to_plain() | {"signatures": {}},
        GOOD.to_plain() | {"signatures": [None]},
        GOOD.to_plain() | {"payload": None},
        GOOD.to_plain() | {"payload": "A"},
        with_signature(sig=base64.b64encode(bytes(63)).decode()),
        with_signature(sig=base64.b64encode(bytes(65)).decode()),
        with_signature(keyid=None),
        with_signature(more=1),
    ],
    ids=lambda plain: str(plain)[:30],
)
def test_refuses_a_malformed_envelope(plain: object) -> None:
    assert malformed(plain) == "receipt.malformed"


def test_refuses_another_payload_type() -> None:
    plain = GOOD.to_plain() | {"payloadType": "application/json"}
    assert malformed(plain) == "receipt.unsupported"


@pytest.mark.parametrize("text", ["QQ", "QR==", "QQ==\n", "Q Q==", "QQ===", "-_==", "QQ=="[::-1]])
def test_refuses_other_base64_than_the_one_form(text: str) -> None:
    with pytest.raises(ReceiptError):
        from_b64(text, "field", 100)


@given(st.text(max_size=40))
def test_arbitrary_text_is_base64_in_its_one_form_or_refused(text: str) -> None:
    try:
        raw = from_b64(text, "field", 100)
    except ReceiptError:
        return
    assert base64.b64encode(raw).decode() == text


@given(st.binary(max_size=20), st.integers(min_value=0, max_value=20))
def test_base64_limit_is_exact(raw: bytes, limit: int) -> None:
    text = base64.b64encode(raw).decode()
    if len(raw) <= limit:
        assert from_b64(text, "field", limit) == raw
    else:
        with pytest.raises(ReceiptError):
            from_b64(text, "field", limit)


def test_a_payload_over_the_limit_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="at most"):
        sign(bytes(64 * 1024 + 1), KEY)
