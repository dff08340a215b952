"""Keystone's report for the independent checker.

Sources: `sm/src/attest.c` and `sdk/src/verifier/Report.cpp` for the layout; RFC 8032
for the signature, with SHA3-512 wherever it says SHA-512.
"""

import hashlib

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from independent.pki import Json, require

SIZE, BUFFER = 1352, 2048
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE = (4 * pow(5, -1, P) % P).to_bytes(32, "little")

DEVELOPMENT = "0faad4ff01178583baa588966f7c1ff32564dd17d7dc2b46cb50a84a69270b4c"
FIELDS, DERIVABLE = ("enclave_hash", "sm_hash", "data"), "allow_derivable_sm_key"

Point = tuple[int, int]


def check(raw: bytes, policy: Json) -> None:
    """Everything about one report, or refused. The device's key is the policy's."""
    require(policy.keys() <= {"device_public_key", *FIELDS, DERIVABLE}, "policy")
    require(SIZE <= len(raw) <= BUFFER, "length")
    raw, size = raw[:SIZE], int.from_bytes(raw[64:72], "little")
    require(size <= 1024, "data length")
    device = bytes.fromhex(policy["device_public_key"])
    require(raw[1320:] == device, "another device")
    signature(device, raw[1256:1320], raw[1160:1256])
    signature(raw[1224:1256], raw[1096:1160], raw[: 72 + size])
    said = {"enclave_hash": raw[:64], "sm_hash": raw[1160:1224], "data": raw[72 : 72 + size]}
    for field, value in said.items():
        require(policy.get(field) in (None, value.hex()), field)
    # Under the published device key anybody can vouch for any SM key: nothing to protect.
    if not policy.get(DERIVABLE) and policy["device_public_key"] != DEVELOPMENT:
        require(not _derivable(raw[1160], raw[1224:1256]), "SM key can be derived")


def _derivable(sm_byte: int, public: bytes) -> bool:
    """Whether the boot loader made this key, of one byte of the device's secret and one more."""
    y = _point(public)[1]
    wanted = ((1 + y) * pow(1 - y, -1, P) % P).to_bytes(32, "little")
    seeds = (hashlib.sha3_512(bytes((one, sm_byte))).digest()[:32] for one in range(256))
    scalars = (hashlib.sha3_512(seed).digest()[:32] for seed in seeds)
    # X25519 clamps and multiplies as Ed25519 does; only the coordinate is another (RFC 7748).
    keys = map(X25519PrivateKey.from_private_bytes, scalars)
    return wanted in [key.public_key().public_bytes_raw() for key in keys]


def signature(public: bytes, signed: bytes, message: bytes) -> None:
    """[S]B = R + [k]A, with canonical encodings and points that are not of small order."""
    a, r, s = _point(public), _point(signed[:32]), int.from_bytes(signed[32:], "little")
    require(s < L, "S is not reduced")
    require(_times(8, a) != (0, 1) and _times(8, r) != (0, 1), "point of small order")
    k = int.from_bytes(hashlib.sha3_512(signed[:32] + public + message).digest(), "little")
    require(_times(s, _point(BASE)) == _add(r, _times(k % L, a)), "signature")


def _point(raw: bytes) -> Point:
    y, sign = int.from_bytes(raw, "little") & (1 << 255) - 1, raw[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    require(y < P and x * x % P == square and (x or not sign), "not a point")
    return (P - x if x & 1 != sign else x, y)


def _add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    mixed = D * x1 * x2 * y1 * y2 % P
    x3 = (x1 * y2 + x2 * y1) * pow(1 + mixed, -1, P) % P
    return x3, (y1 * y2 + x1 * x2) * pow(1 - mixed, -1, P) % P


def _times(scalar: int, point: Point) -> Point:
    result = (0, 1)
    for bit in f"{scalar:b}":
        result = _add(result, result)
        result = _add(result, point) if bit == "1" else result
    return result
