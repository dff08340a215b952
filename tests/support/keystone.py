"""A Keystone device for tests: signs reports as the boot loader and the monitor do.

The arithmetic is RFC 8032's in its plainest form (affine points, one bit at a time) and
shares nothing with what it tests. The hash is a parameter, so that tests can hold the
arithmetic against a library's Ed25519.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)

Point = tuple[int, int]
Hash = Callable[[bytes], bytes]

ENCLAVE_HASH = hashlib.sha3_512(b"enclave").digest()
SM_HASH = hashlib.sha3_512(b"security monitor").digest()


def sha3(message: bytes) -> bytes:
    """Keystone's hash."""
    return hashlib.sha3_512(message).digest()


def add(one: Point, other: Point) -> Point:
    """The sum of two points (RFC 8032, section 5.1.4)."""
    (x1, y1), (x2, y2) = one, other
    mixed = D * x1 * x2 * y1 * y2 % P
    x3 = (x1 * y2 + x2 * y1) * pow(1 + mixed, -1, P) % P
    return x3, (y1 * y2 + x1 * x2) * pow(1 - mixed, -1, P) % P


def multiply(scalar: int, point: Point = BASE) -> Point:
    """[scalar]point."""
    result = (0, 1)
    for bit in reversed(range(scalar.bit_length())):
        result = add(result, result)
        if scalar >> bit & 1:
            result = add(result, point)
    return result


def encode(point: Point) -> bytes:
    """The 32 bytes of a point (RFC 8032, section 5.1.2)."""
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


@cache
def _public(scalar: int) -> bytes:
    return encode(multiply(scalar))


@dataclass(frozen=True, kw_only=True)
class Key:
    """An expanded private key."""

    scalar: int
    prefix: bytes
    hash: Hash = sha3

    @classmethod
    def of(cls, seed: bytes, hash_: Hash = sha3) -> "Key":
        """Expand a seed (RFC 8032, section 5.1.5)."""
        digest = hash_(seed)
        scalar = int.from_bytes(digest[:32], "little")
        scalar = scalar & ~7 & (1 << 254) - 1 | 1 << 254
        return cls(scalar=scalar, prefix=digest[32:], hash=hash_)

    @property
    def public(self) -> bytes:
        return _public(self.scalar)

    def sign(self, message: bytes) -> bytes:
        """A signature (RFC 8032, section 5.1.6)."""
        r = int.from_bytes(self.hash(self.prefix + message), "little") % L
        point = encode(multiply(r))
        h = int.from_bytes(self.hash(point + self.public + message), "little")
        return point + ((r + h * self.scalar) % L).to_bytes(32, "little")


DEVICE = Key.of(b"device of these tests".ljust(32))
SM = Key.of(b"security monitor of these tests".ljust(32))


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a report says, and who signs it; tests replace what shall be wrong."""

    enclave_hash: bytes = ENCLAVE_HASH
    data: bytes = b"nonce"
    tail: bytes = b"\xa5"
    """Fills data[] behind the data."""
    sm_hash: bytes = SM_HASH
    device: Key = DEVICE
    sm: Key = SM
    sm_public: bytes | None = None
    """Instead of the public key of `sm`."""
    device_public: bytes | None = None

    def with_derivable_sm_key(self, secret_byte: int = 0x2A) -> "Content":
        """As the reference boot loader makes the SM's key."""
        return replace(self, sm=Key.of(sha3(bytes((secret_byte, self.sm_hash[0])))[:32]))

    def report(self) -> bytes:
        """The 1352 bytes."""
        signed = self.enclave_hash + len(self.data).to_bytes(8, "little") + self.data
        endorsed = self.sm_hash + (self.sm_public or self.sm.public)
        return b"".join(
            (
                signed,
                self.tail * (1024 - len(self.data)),
                self.sm.sign(signed),
                endorsed,
                self.device.sign(endorsed),
                self.device_public or self.device.public,
            )
        )
