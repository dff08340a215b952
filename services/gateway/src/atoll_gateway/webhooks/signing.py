"""Signatures as Standard Webhooks 1.0 has them, and secrets sealed for storage. Pure.

    signed content     <webhook-id>.<webhook-timestamp>.<body>
    webhook-signature  v1,<base64 of HMAC-SHA256 under the secret's bytes>
    secret             whsec_<base64 of 24 to 64 bytes>

Whoever signs needs the secret itself, so storing a hash is impossible. It is sealed with
AES-256-GCM under a key that only gateways have, bound to the registration's id: what is read
from the bucket by others, or moved to another registration, is worth nothing.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from atoll.errors import ConfigError, InputError

PREFIX: Final = "whsec_"
NEW_SECRET: Final = 32
KEY_SIZE: Final = 32
_SIZES: Final = range(24, 65)
_NONCE: Final = 12


def new_secret(random: Callable[[int], bytes]) -> str:
    """A secret, as its owner sees it once."""
    return PREFIX + base64.b64encode(random(NEW_SECRET)).decode()


def secret_bytes(secret: str) -> bytes:
    """The bytes that a secret stands for.

    Raises:
        InputError: `webhook.secret`.
    """
    try:
        raw = base64.b64decode(secret.removeprefix(PREFIX).encode(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_secret() from error
    if not secret.startswith(PREFIX) or len(raw) not in _SIZES:
        raise _bad_secret()
    return raw


def signature(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    content = f"{message_id}.{timestamp}.".encode() + body
    mac = hmac.digest(secret_bytes(secret), content, hashlib.sha256)
    return f"v1,{base64.b64encode(mac).decode()}"


class Vault:
    """Seals secrets for the bucket.

    Args:
        key: 32 bytes that all gateways of a deployment share, and nobody else.
    """

    def __init__(self, key: bytes, random: Callable[[int], bytes]) -> None:
        if len(key) != KEY_SIZE:
            raise ConfigError(
                f"the key of webhooks is {len(key)} bytes, want {KEY_SIZE}", code="webhook.key"
            )
        self._aead = AESGCM(key)
        self._random = random

    def seal(self, webhook_id: str, secret: str) -> bytes:
        nonce = self._random(_NONCE)
        return nonce + self._aead.encrypt(nonce, secret.encode(), _bound(webhook_id))

    def open(self, webhook_id: str, sealed: bytes) -> str:
        """Raises: ConfigError `webhook.key`: sealed by another deployment, or for another id."""
        try:
            nonce, rest = sealed[:_NONCE], sealed[_NONCE:]
            return self._aead.decrypt(nonce, rest, _bound(webhook_id)).decode()
        except (InvalidTag, ValueError) as error:
            raise ConfigError(
                f"the secret of webhook {webhook_id} does not open", code="webhook.key"
            ) from error


def _bound(webhook_id: str) -> bytes:
    return b"atoll webhook secret v1 " + webhook_id.encode()


def _bad_secret() -> InputError:
    return InputError(
        f"a webhook's secret is {PREFIX} and base64 of 24 to 64 bytes", code="webhook.secret"
    )
