"""COSE_Sign1 (RFC 9052, section 4.2): one signature, tagged 18, payload inside.

The signature is the library cwt's work. Around it this module is narrower than COSE: the
protected header is the only one that counts, `crit` and detached payloads are refused, and
the algorithm is the one that belongs to the key and not what the message would like.

| key     | algorithm (RFC 9053)  |
| Ed25519 | EdDSA, -8             |
| P-256   | ES256, -7 (read only) |
| P-384   | ES384, -35 (read only)|

Needs cbor2 and cwt (the extra `verify`), so the agent does not import this module.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import cwt
from cbor2 import CBORTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from atoll import cbor
from atoll.errors import InputError

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey

ALG: Final = 1
CONTENT_TYPE: Final = 3
KID: Final = 4
TYP: Final = 16
"""The type of the whole message (RFC 9596)."""
MAX_KID: Final = 128

_TAG: Final = 18
_CRIT: Final = 2
_EDDSA: Final = -8
_NAMES: Final = {_EDDSA: "EdDSA", -7: "ES256", -35: "ES384"}
_CURVES: Final[dict[type, int]] = {SECP256R1: -7, SECP384R1: -35}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified1:
    """A message as it stands there, by anybody."""

    kid: bytes
    """Empty: it names no key."""
    protected: Mapping[Any, Any]
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign1:
    """A message whose signature holds."""

    kid: bytes
    protected: Mapping[Any, Any]
    payload: bytes = field(repr=False)


def sign1(
    payload: bytes, key: Ed25519PrivateKey, *, kid: bytes, protected: Mapping[int, Any]
) -> bytes:
    """Sign `payload`; `protected` goes into the header beside the algorithm and key id."""
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    header = {ALG: _EDDSA, KID: kid, **protected}
    signed = cwt.COSE.new().encode_and_sign(
        payload,
        cwt.COSEKey.from_pem(private, alg=_NAMES[_EDDSA], kid=kid),
        protected=dict(sorted(header.items())),
    )
    if not isinstance(signed, bytes):
        raise TypeError("the COSE library gave no bytes")
    return signed


def read1(raw: bytes, *, limit: int, tags: Collection[int] = ()) -> Unverified1:
    """Take a message apart, to show it or to choose a key. Proves nothing.

    Raises:
        InputError: `cose.malformed`.
    """
    protected, payload = _parts(raw, limit=limit, tags=tags)
    kid = protected.get(KID, b"")
    if not isinstance(kid, bytes):
        raise _error("malformed", f"has a key id that is no bytes: {str(kid)[:80]}")
    return Unverified1(kid=kid, protected=protected, payload=payload)


def verify1(
    raw: bytes, keys: Mapping[bytes, PublicKey], *, limit: int, tags: Collection[int] = ()
) -> Sign1:
    """Check a message under one of `keys`, which are named by key id.

    A key under the empty name is for messages that name none.

    1. It is a COSE_Sign1 with its payload, and nothing in it is critical to understand.
    2. Its key id is one of `keys`.
    3. Its algorithm is the one of that key.
    4. The signature holds.

    Does not check: what the other header parameters and the payload say.

    Raises:
        InputError: `cose.malformed`, `cose.key` or `cose.signature`.
    """
    # 1
    protected, payload = _parts(raw, limit=limit, tags=tags)
    # 2
    kid = protected.get(KID, b"")
    if not isinstance(kid, bytes) or kid not in keys:
        raise _error("key", f"is signed by the unknown key {str(kid)[:80]}")
    # 3
    algorithm = _algorithm(keys[kid])
    if protected.get(ALG) != algorithm or isinstance(protected[ALG], bool):
        raise _error("key", f"has the algorithm {str(protected.get(ALG))[:40]}, want {algorithm}")
    # 4
    pem = keys[kid].public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        cwt.COSE.new().decode(raw, cwt.COSEKey.from_pem(pem, alg=_NAMES[algorithm], kid=kid))
    except cwt.VerifyError as error:
        raise _error("signature", f"is not signed by the key {kid!r}"[:200]) from error
    except (cwt.CWTError, ValueError, TypeError, KeyError) as error:
        raise _error("malformed", f"is not one to the COSE library: {error}"[:200]) from error
    return Sign1(kid=kid, protected=protected, payload=payload)


def _parts(raw: bytes, *, limit: int, tags: Collection[int]) -> tuple[dict[Any, Any], bytes]:
    try:
        message = cbor.loads(raw, limit=limit, tags=(_TAG,))
        if not isinstance(message, CBORTag) or message.tag != _TAG:
            raise _error("malformed", f"is not under the tag {_TAG}")
        parts = message.value
        if not isinstance(parts, list) or [type(part) for part in parts] != [
            bytes,
            dict,
            bytes,
            bytes,
        ]:
            raise _error("malformed", "is not header, header, payload and signature")
        protected = cbor.loads(parts[0], limit=limit, tags=tags)
    except InputError as error:
        if error.code == "cbor.malformed":
            raise _error("malformed", error.message) from error
        raise
    if parts[1]:
        raise _error("malformed", "has unprotected headers, which anyone can change")
    if not isinstance(protected, dict) or _CRIT in protected:
        raise _error("malformed", "has a protected header that cannot be understood")
    return protected, parts[2]


def _algorithm(key: PublicKey) -> int:
    if isinstance(key, Ed25519PublicKey):
        return _EDDSA
    if type(key.curve) not in _CURVES:
        raise ValueError(f"no COSE algorithm for the curve {key.curve.name}")
    return _CURVES[type(key.curve)]


def _error(check: str, why: str) -> InputError:
    return InputError(f"COSE message {why}", code=f"cose.{check}")
