"""Keystone's report for the independent checker.

Sources: `sm/src/attest.c` and `sdk/src/verifier/Report.cpp` for the layout; RFC 8032
for the signature, with SHA3-512 wherever it says SHA-512.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from independent.pki import RefusedError, require

SIZE = 1352
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int]


def check(raw: bytes, policy: Mapping[str, Any]) -> None:
    """Everything about one report, or `RefusedError`. The device's key is the policy's."""
    require(policy.keys() <= {"device_public_key", "enclave_hash", "sm_hash", "data"}, "policy")
    require("device_public_key" in policy, "nobody says which device is trusted")
    require(SIZE <= len(raw) <= 2048, "length")
    raw = raw[:SIZE]
    size = int.from_bytes(raw[64:72], "little")
    require(size <= 1024, "data length")
    device = bytes.fromhex(policy["device_public_key"])
    require(raw[1320:] == device, "another device")
    signature(device, raw[1256:1320], raw[1160:1256])
    signature(raw[1224:1256], raw[1096:1160], raw[: 72 + size])
    said = {"enclave_hash": raw[:64], "sm_hash": raw[1160:1224], "data": raw[72 : 72 + size]}
    for name, value in said.items():
        require(name not in policy or policy[name] == value.hex(), name)


def signature(public: bytes, signed: bytes, message: bytes) -> None:
    """[S]B = R + [k]A, with canonical encodings and points that are not of small order."""
    a, r = _point(public), _point(signed[:32])
    s = int.from_bytes(signed[32:], "little")
    require(s < L, "S is not reduced")
    require(_times(8, a) != (0, 1) and _times(8, r) != (0, 1), "point of small order")
    k = int.from_bytes(hashlib.sha3_512(signed[:32] + public + message).digest(), "little")
    require(_times(s, _point(_BASE)) == _add(r, _times(k % L, a)), "signature")


_BASE = (4 * pow(5, -1, P) % P).to_bytes(32, "little")


def _point(raw: bytes) -> Point:
    y, sign = int.from_bytes(raw, "little") & (1 << 255) - 1, raw[31] >> 7
    require(y < P, "point is not reduced")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square or (x == 0 and sign):
        raise RefusedError("not a point")
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
        if bit == "1":
            result = _add(result, point)
    return result
