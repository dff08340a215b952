"""A virtual TPM and Azure's HCL report for tests, with keys of our own."""

import base64
import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm

NONCE = b"challenge"
PCRS_384 = tuple(hashlib.sha384(bytes((number,))).digest() for number in range(24))
PCRS = tuple(hashlib.sha256(bytes((number,))).digest() for number in range(24))
SELECTED = (0, 1, 7, 23)
SHA256_BANK = 0x000B


@cache
def key() -> rsa.RSAPrivateKey:
    """The attestation key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def other_key() -> rsa.RSAPrivateKey:
    """A key that no hardware commits to."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def sign(
    message: bytes, by: rsa.RSAPrivateKey | None = None, hash_: HashAlgorithm | None = None
) -> bytes:
    """The bare number of an RSASSA signature."""
    return (by or key()).sign(message, padding.PKCS1v15(), hash_ or SHA256())


def two_b(value: bytes) -> bytes:
    """A TPM2B."""
    return struct.pack(">H", len(value)) + value


def selection(numbers: Iterable[int], bank: int = SHA256_BANK) -> bytes:
    """A TPMS_PCR_SELECTION with three bytes of bits."""
    bits = sum(1 << number for number in numbers)
    return struct.pack(">HB", bank, 3) + bits.to_bytes(3, "little")


@dataclass(frozen=True, kw_only=True)
class Quote:
    """The fields of a TPMS_ATTEST; tests replace what shall be wrong."""

    magic: bytes = b"\xffTCG"
    type: int = 0x8018
    signer: bytes = b"\x00\x0b" + bytes(32)
    extra: bytes = NONCE
    safe: int = 1
    selections: tuple[bytes, ...] = (selection(SELECTED),)
    digest: bytes = hashlib.sha256(b"".join(PCRS[number] for number in SELECTED)).digest()

    def message(self) -> bytes:
        """The encoded structure."""
        return b"".join(
            (
                self.magic,
                struct.pack(">H", self.type),
                two_b(self.signer),
                two_b(self.extra),
                struct.pack(">QIIBQ", 77, 2, 1, self.safe, 9),
                struct.pack(">I", len(self.selections)),
                *self.selections,
                two_b(self.digest),
            )
        )


def pcrs_json() -> bytes:
    """The registers as they travel."""
    return json.dumps([value.hex() for value in PCRS]).encode()


def banks_json() -> bytes:
    """The registers of two banks."""
    banks = {"sha256": PCRS, "sha384": PCRS_384}
    return json.dumps({name: [one.hex() for one in bank] for name, bank in banks.items()}).encode()


def base64url(number: int) -> str:
    """A Base64urlUInt."""
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwk(kid: str = "HCLAkPub", of: rsa.RSAPrivateKey | None = None, **changes: Any) -> Any:
    """The public key as the runtime data has it."""
    numbers = (of or key()).public_key().public_numbers()
    n, e = base64url(numbers.n), base64url(numbers.e)
    return {"kid": kid, "key_ops": ["sign"], "kty": "RSA", "e": e, "n": n, **changes}


def runtime_data(*keys: Any) -> bytes:
    """The JSON in an HCL report."""
    return json.dumps({"keys": keys or [jwk()], "user-data": "00"}).encode()


@dataclass(frozen=True, kw_only=True)
class Hcl:
    """The fields of an HCL report; tests replace what shall be wrong."""

    hardware: bytes
    runtime: bytes
    kind: int
    hash_type: int = 1
    tail: bytes = bytes(16)

    def report(self) -> bytes:
        """The encoded structure."""
        size = len(self.runtime)
        head = struct.pack("<4sIIII12s", b"HCLA", 1, 1236 + size, 2, 0, b"")
        data = struct.pack("<IIIII", 20 + size, 1, self.kind, self.hash_type, size)
        return head + self.hardware.ljust(1184, b"\x00") + data + self.runtime + self.tail


def report_data(runtime: bytes, name: str = "sha256") -> bytes:
    """What hardware must commit to."""
    return hashlib.new(name, runtime).digest().ljust(64, b"\x00")


def td_report(data: bytes, info: bytes) -> bytes:
    """A TDREPORT with this REPORTDATA and the first 400 bytes of TDINFO."""
    tcb, td_info = bytes(239), info.ljust(512, b"\x00")
    hashes = hashlib.sha384(tcb).digest() + hashlib.sha384(td_info).digest()
    head = b"\x81".ljust(16, b"\x00") + b"\x11" * 16
    return head + hashes + data + bytes(32) + b"\x22" * 32 + tcb + bytes(17) + td_info
