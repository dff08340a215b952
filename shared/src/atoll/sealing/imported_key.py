"""Private signing keys that a party had before: ECDSA and RSA, and Ed25519, from PEM.

Sources: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017, A.1.2), SEC 1 (RFC 5915), and PEM (RFC 7468 and,
for the older encryption, RFC 1421). `atoll.sealing.public_key` says which keys are accepted.
"""

import re
import warnings
from typing import Any, Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from atoll.errors import InputError, SealError
from atoll.framing import transcript
from atoll.sealing.public_key import encode_public_key, parse_public_key
from atoll.sealing.signature import HASHES, ORDERS, PSS_PADDING, SigningKey

MAX_PEM: Final = 32 << 10
MAX_DER: Final = 4 << 10
"""Bytes of a private key; RSA of 4096 bits takes 2.4 KiB."""
_FOREIGN: Final = (ValueError, TypeError, UnsupportedAlgorithm)
_PEM: Final = re.compile(
    rb"-----BEGIN ((?:[A-Z0-9]+ )?(?:ENCRYPTED )?PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL
)
"""The first private key; `openssl ecparam -genkey` writes parameters before it."""
_ENCRYPTED: Final = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")


class ImportedKey:
    """An ECDSA or RSA private key that never shows itself in a `repr`."""

    __slots__ = ("_key", "der", "public_bytes")

    def __init__(self, der: bytes) -> None:
        """Take unencrypted PKCS#8, in the one form that `der` has of a key.

        Raises:
            InputError: `identity.malformed`, not such bytes; `key.unusable`, not such a key.
        """
        if len(der) > MAX_DER:
            raise _malformed(f"is over {MAX_DER} bytes")
        key = _load(lambda: load_der_private_key(der, None))
        if not isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey):
            raise _malformed("is neither ECDSA nor RSA")
        if _der(key) != der:
            raise _malformed("is not in its one encoding")
        self.der: Final = der
        self._key: Final = key
        self.public_bytes: Final = _usable_public(key)

    @classmethod
    def _of(cls, key: EllipticCurvePrivateKey | RSAPrivateKey) -> Self:
        _usable_public(key)
        return cls(_der(key))

    def sign(self, label: str, *values: bytes) -> bytes:
        """The signature over `transcript(label, *values)`: a new one each time."""
        message = transcript(label, *values)
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(message, PSS_PADDING, SHA256())
        curve = self._key.curve.name
        r, s = decode_dss_signature(self._key.sign(message, ECDSA(HASHES[curve])))
        return encode_dss_signature(r, min(s, ORDERS[curve] - s))

    def __repr__(self) -> str:
        return f"ImportedKey(public_bytes={self.public_bytes.hex()!r})"


def is_encrypted_pem(raw: bytes) -> bool:
    """Whether `signing_key_from_pem` needs a passphrase for it."""
    return any(mark in raw for mark in _ENCRYPTED)


def signing_key_from_pem(raw: bytes, passphrase: bytes | None = None) -> SigningKey | ImportedKey:
    """The first private key in a PEM file. No error repeats a byte of it.

    Raises:
        InputError: `key.pem`: no such key in it; `key.passphrase`: encrypted, and the passphrase
            is missing or not the one; `key.unusable`: a key of another kind or size.
    """
    found = _PEM.search(raw) if len(raw) <= MAX_PEM else None
    if found is None:
        raise InputError(
            f"no private key in PEM of at most {MAX_PEM} bytes",
            code="key.pem",
            hint="PKCS#8, PKCS#1 and SEC 1 are read; `ssh-keygen -p -m PKCS8` converts OpenSSH's",
        )
    pem = found[0]
    encrypted = is_encrypted_pem(pem)
    if encrypted and not passphrase:
        raise InputError(
            "the PEM file is encrypted",
            code="key.passphrase",
            hint="--pem-passphrase-file names a file with its passphrase",
        )
    try:
        key = _load(lambda: load_pem_private_key(pem, passphrase if encrypted else None))
    except InputError:
        if encrypted:
            raise InputError(
                "the PEM file does not open with this passphrase", code="key.passphrase"
            ) from None
        raise InputError("the private key in the PEM file is damaged", code="key.pem") from None
    if isinstance(key, Ed25519PrivateKey):
        return SigningKey(key.private_bytes_raw())
    if isinstance(key, EllipticCurvePrivateKey | RSAPrivateKey):
        return ImportedKey._of(key)  # noqa: SLF001 - the one other place that makes them
    raise InputError(
        f"a key of type {type(key).__name__} cannot sign here",
        code="key.unusable",
        hint="Ed25519, ECDSA on P-256 or P-384, and RSA of 2048 to 4096 bits are accepted",
    )


def _load(load: Any) -> Any:
    """Raises: InputError `identity.malformed`, without the cause, which could repeat a secret."""
    try:
        with warnings.catch_warnings():
            # About curves and sizes that are refused right after.
            warnings.simplefilter("ignore")
            return load()
    except _FOREIGN:
        raise _malformed("cannot be read") from None


def _der(key: EllipticCurvePrivateKey | RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _usable_public(key: EllipticCurvePrivateKey | RSAPrivateKey) -> bytes:
    public = encode_public_key(key.public_key())
    try:
        parse_public_key(public)
    except SealError as error:
        raise InputError(error.message, code=error.code, hint=error.hint) from error
    return public


def _malformed(why: str) -> InputError:
    return InputError(f"private signing key {why}", code="identity.malformed")
