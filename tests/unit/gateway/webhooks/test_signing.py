"""Signatures as the specification has them; secrets that only a gateway opens."""

import base64
import hashlib
import hmac

import pytest

from atoll.errors import ConfigError, InputError
from atoll_gateway.webhooks import signing

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
KEY = bytes(32)


def counting(size: int) -> bytes:
    return bytes(range(size))


def test_the_signed_content_is_id_timestamp_and_body() -> None:
    found = signing.signature(SECRET, message_id="j1.7", timestamp=1_700_000_000, body=b'{"a":1}')
    mac = hmac.new(bytes(range(32)), b'j1.7.1700000000.{"a":1}', hashlib.sha256).digest()
    assert found == "v1," + base64.b64encode(mac).decode()


def test_signs_as_the_published_example_does() -> None:
    """The example of the Standard Webhooks reference libraries."""
    found = signing.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_makes_legal_secrets() -> None:
    assert signing.secret_bytes(signing.new_secret(counting)) == bytes(range(32))


@pytest.mark.parametrize(
    "secret",
    [
        *("", "whsec_", "secret", SECRET.removeprefix("whsec_"), SECRET + "!", "whsec_AAAA"),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
)
def test_refuses_other_secrets(secret: str) -> None:
    with pytest.raises(InputError) as caught:
        signing.secret_bytes(secret)
    assert caught.value.code == "webhook.secret"


def test_a_sealed_secret_opens_for_its_webhook_and_key_only() -> None:
    vault = signing.Vault(KEY, counting)
    sealed = vault.seal("w1", SECRET)
    assert SECRET.encode() not in sealed
    assert vault.open("w1", sealed) == SECRET
    other = signing.Vault(bytes([1] * 32), counting)
    flipped = bytes([sealed[0] ^ 1, *sealed[1:]])
    for opener, name, raw in (
        (vault, "w2", sealed),
        (other, "w1", sealed),
        (vault, "w1", flipped),
        (vault, "w1", sealed[:-1]),
        (vault, "w1", b""),
    ):
        with pytest.raises(ConfigError):
            opener.open(name, raw)
    with pytest.raises(ConfigError):
        signing.Vault(b"short", counting)
