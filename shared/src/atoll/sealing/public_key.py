"""The public keys that a party may sign under, each in exactly one encoding.

| key                      | bytes                       | signature                         |
| ------------------------ | --------------------------- | --------------------------------- |
| Ed25519                  | 32 (RFC 8032)               | 64 bytes                          |
| ECDSA on P-256, P-384    | DER of its SPKI (RFC 5480)  | DER, over SHA-256, SHA-384; low s |
| RSA of 2048 to 4096 bits | DER of its SPKI (RFC 3279)  | PSS with SHA-256, salt of 32      |

The length tells an Ed25519 key from the others. Points are uncompressed, curves are named and
an RSA exponent is 65537. What is accepted is encoded again and compared, so a key has one form,
one fingerprint, and stands in a manifest in one way.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from atoll.errors import SealError

ED25519_SIZE: Final = 32
MAX_SIZE: Final = 550
"""Bytes of the largest key: RSA of 4096 bits."""
MIN_SIGNATURE: Final = 8
MAX_SIGNATURE: Final = 512
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 4096
RSA_EXPONENT: Final = 65537

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

_CURVES: Final = {
    # SubjectPublicKeyInfo up to and with the 04 of an uncompressed point.
    bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"): (SECP256R1(), 91),
    bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"): (SECP384R1(), 120),
}
_RSA_ALGORITHM: Final = bytes.fromhex("300d06092a864886f70d0101010500")
"""rsaEncryption with NULL, as RFC 3279, section 2.3.1 wants it."""
_RSA_ALGORITHM_AT: Final = 4

_P: Final = 2**255 - 19
_ORDER_8: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8, _P, _P + 1})
"""The y coordinates of the eight points of small order, in every encoding of them."""


def parse_public_key(raw: bytes) -> PublicKey:
    """The key that `raw` is the encoding of.

    It does not say whether 32 bytes are a point at all: under those that are not, no signature
    verifies. That an RSA modulus is a product of two large primes cannot be seen.

    Raises:
        SealError: `key.unusable`: none of the keys above, or not in its one form.
    """
    if len(raw) == ED25519_SIZE:
        return _ed25519(raw)
    if len(raw) > MAX_SIZE:
        raise _unusable(f"is {len(raw)} bytes, at most {MAX_SIZE}")
    for prefix, (curve, size) in _CURVES.items():
        if len(raw) == size and raw.startswith(prefix):
            try:
                return EllipticCurvePublicKey.from_encoded_point(curve, raw[len(prefix) - 1 :])
            except ValueError as error:
                raise _unusable(f"is no point of {curve.name}") from error
    if raw[_RSA_ALGORITHM_AT : _RSA_ALGORITHM_AT + len(_RSA_ALGORITHM)] == _RSA_ALGORITHM:
        return _rsa(raw)
    raise _unusable("is neither Ed25519, nor ECDSA on P-256 or P-384, nor RSA")


def encode_public_key(key: PublicKey) -> bytes:
    """The one encoding of a key. Whether it is one that `parse_public_key` takes is not checked."""
    if isinstance(key, Ed25519PublicKey):
        return key.public_bytes_raw()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def algorithm_of(raw: bytes) -> str:
    """What people call such a key: "Ed25519", "ECDSA P-256", "RSA 3072".

    Raises:
        SealError: `key.unusable`.
    """
    key = parse_public_key(raw)
    if isinstance(key, RSAPublicKey):
        return f"RSA {key.key_size}"
    return f"ECDSA P-{key.key_size}" if isinstance(key, EllipticCurvePublicKey) else "Ed25519"


def _ed25519(raw: bytes) -> Ed25519PublicKey:
    # A signature under a key of small order fits many messages.
    if int.from_bytes(raw, "little") & ((1 << 255) - 1) in _SMALL_ORDER_Y:
        raise _unusable("is an Ed25519 key of small order")
    return Ed25519PublicKey.from_public_bytes(raw)


def _rsa(raw: bytes) -> RSAPublicKey:
    try:
        key = load_der_public_key(raw)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unusable("is no RSA key in DER") from error
    if not isinstance(key, RSAPublicKey) or encode_public_key(key) != raw:
        raise _unusable("is no RSA key in its one encoding")
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        raise _unusable(
            f"is RSA of {key.key_size} bits, want {MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
        )
    numbers = key.public_numbers()
    if numbers.e != RSA_EXPONENT or numbers.n % 2 == 0:
        raise _unusable(f"is RSA with another exponent than {RSA_EXPONENT}, or an even modulus")
    return key


def _unusable(why: str) -> SealError:
    return SealError(
        f"public signing key {why}",
        code="key.unusable",
        hint="Ed25519, ECDSA on P-256 or P-384, and RSA of 2048 to 4096 bits are accepted",
    )
