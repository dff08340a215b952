"""Verify Ed25519 signatures whose hash is SHA3-512, as Keystone makes them.

The curve, the base point and the encodings are those of RFC 8032, section 5.1; the
challenge is SHA3-512(R || A || M) instead of SHA-512, so libraries for RFC 8032 refuse
every genuine report. Verification handles public values only, so nothing here needs to
take constant time. There is no signing.

Stricter than the reference code: S must be below L, the key must be the one encoding of a
point on the curve (y below p, no "negative zero"), and its order must not divide 8. An
all-zero key, for instance, encodes a point of order 4 for which anybody can sign. R is
compared as bytes, hence must be canonical too. The equation is the cofactorless one.
"""

import hashlib
from functools import cache
from typing import Final

from atoll.errors import RejectedEvidenceError

KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64

_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_ONE: Final = pow(2, (_P - 1) // 4, _P)
_BASE_X: Final = 0x216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A
_BASE_Y: Final = 4 * pow(5, -1, _P) % _P
_WINDOWS: Final = 64

Point = tuple[int, int, int, int]
"""Extended coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z (RFC 8032, section 5.1.4)."""

_IDENTITY: Final[Point] = (0, 1, 1, 0)


def verify(public_key: bytes, message: bytes, signature: bytes, *, what: str, code: str) -> None:
    """Return if `signature` is by `public_key` over `message`.

    1. The key is canonical, on the curve, and not of small order.
    2. S is below L.
    3. R is the encoding of [S]B - [h]A, with h = SHA3-512(R || A || M) mod L.

    Args:
        what: names the signature in the error.
        code: of the error.

    Raises:
        RejectedEvidenceError: any step fails, or a size is wrong; its code is `code`.
    """
    if len(public_key) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        raise RejectedEvidenceError(f"{what}: key or signature has a wrong size", code=code)
    # 1
    key = _decode(public_key)
    if key is None:
        raise RejectedEvidenceError(f"{what}: the key is not a canonical point", code=code)
    if _encode(_double(_double(_double(key)))) == _encode(_IDENTITY):
        raise RejectedEvidenceError(f"{what}: the key is of small order", code=code)
    # 2
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= _L:
        raise RejectedEvidenceError(f"{what}: S is not below L", code=code)
    # 3
    challenge = hashlib.sha3_512(r + public_key + message).digest()
    h = int.from_bytes(challenge, "little") % _L
    if _encode(_double_multiply(s, h, _negate(key))) != r:
        raise RejectedEvidenceError(f"{what}: signed by another key, or something else", code=code)


def montgomery_u(public_key: bytes) -> int | None:
    """The u coordinate of the same point on Curve25519, (1 + y) / (1 - y); None for y = 1."""
    y = int.from_bytes(public_key, "little") & (1 << 255) - 1
    return None if y % _P == 1 else (1 + y) * pow(1 - y, -1, _P) % _P


def _decode(encoded: bytes) -> Point | None:
    """The point with exactly this encoding (RFC 8032, section 5.1.3), or None."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _SQRT_MINUS_ONE % _P
    if v * x * x % _P != u or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _encode(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, _P)
    x, y = x * inverse % _P, y * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _negate(point: Point) -> Point:
    x, y, z, t = point
    return -x % _P, y, z, -t % _P


def _double(point: Point) -> Point:
    x, y, z, _ = point
    a, b = x * x % _P, y * y % _P
    h = a + b
    e, g = h - (x + y) * (x + y), a - b
    f = 2 * z * z + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _add(one: Point, other: Point) -> Point:
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a, b = (y1 - x1) * (y2 - x2) % _P, (y1 + x1) * (y2 + x2) % _P
    c, d = 2 * _D * t1 * t2 % _P, 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiples(point: Point) -> tuple[Point, ...]:
    """[0]point to [15]point."""
    result = [_IDENTITY]
    for _ in range(15):
        result.append(_add(result[-1], point))
    return tuple(result)


@cache
def _base_multiples() -> tuple[Point, ...]:
    return _multiples((_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % _P))


def _double_multiply(s: int, h: int, point: Point) -> Point:
    """[s]B + [h]point, four bits of both at a time."""
    base, other = _base_multiples(), _multiples(point)
    result = _IDENTITY
    for window in reversed(range(_WINDOWS)):
        for _ in range(4):
            result = _double(result)
        result = _add(result, base[s >> 4 * window & 15])
        result = _add(result, other[h >> 4 * window & 15])
    return result
