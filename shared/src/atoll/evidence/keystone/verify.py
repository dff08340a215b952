"""Prove that a Keystone report is a trusted device's.

What a valid report proves is less than with other hardware. The reference boot loader
derives the SM's key from one byte of the device secret and one byte of the SM hash
(bootrom/bootloader.c takes `sizeof` of a pointer's target), so at most 256 keys exist for
a known SM and whoever knows the SM can try them all. The device's signature over the SM
holds regardless; the SM's over the enclave does not. `sm_key_is_derivable` recognises
such keys, and a policy must say whether it takes them.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from atoll.errors import InputError, RejectedEvidenceError
from atoll.evidence.keystone import ed25519_sha3
from atoll.evidence.keystone.report import KeystoneReport

DEVELOPMENT_DEVICE_KEY: Final = bytes.fromhex(
    "0faad4ff01178583baa588966f7c1ff32564dd17d7dc2b46cb50a84a69270b4c"
)
"""The key of bootrom/test_dev_key.h, whose secret half is published beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKeys:
    """The device public keys that one relying party believes; an empty set believes none.

    Raises:
        InputError: `trust.device_key`: a key is not 32 bytes, or is the published
            development key and `allow_development` is not set.
    """

    keys: frozenset[bytes]
    allow_development: bool = False

    def __post_init__(self) -> None:
        if any(len(key) != ed25519_sha3.KEY_SIZE for key in self.keys):
            raise InputError("a device key is not 32 bytes", code="trust.device_key")
        if DEVELOPMENT_DEVICE_KEY in self.keys and not self.allow_development:
            raise InputError(
                "the published development key is among the device keys",
                code="trust.device_key",
                hint="anybody can sign with it; allow it explicitly, for tests only",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedKeystone:
    """A report under a trusted device key; whether it is welcome is the policy's affair.

    `simulated` tells that the key was the published one, so that nothing is protected.
    """

    report: KeystoneReport
    simulated: bool


def verify_keystone(raw: bytes, trust: DeviceKeys) -> VerifiedKeystone:
    """Verify one report.

    1. Parse it.
    2. The device key that it states is trusted. It only selects: the trusted one is used.
    3. The device key signed the SM's hash and key.
    4. The SM's key signed the enclave's hash, data_len and data.

    Does not check: freshness (there is nothing but `data`), revocation (there is none),
    whether the SM's key can be guessed (`sm_key_is_derivable`).

    Raises:
        MalformedEvidenceError: step 1.
        RejectedEvidenceError: `evidence.untrusted_device_key`, `evidence.sm_bad_signature`,
            `evidence.bad_signature`.
    """
    # 1
    report = KeystoneReport.from_bytes(raw)
    # 2
    device = report.device_public_key
    if device not in trust.keys:
        raise RejectedEvidenceError(
            f"device key {device[:8].hex()}.. is not trusted", code="evidence.untrusted_device_key"
        )
    # 3
    ed25519_sha3.verify(
        device,
        report.sm_signed,
        report.sm_signature,
        what="SM signature",
        code="evidence.sm_bad_signature",
    )
    # 4
    ed25519_sha3.verify(
        report.sm_public_key,
        report.enclave_signed,
        report.enclave_signature,
        what="enclave signature",
        code="evidence.bad_signature",
    )
    return VerifiedKeystone(report=report, simulated=device == DEVELOPMENT_DEVICE_KEY)


def sm_key_is_derivable(report: KeystoneReport) -> bool:
    """Whether the SM's key is one of the 256 that the reference boot loader can derive.

    Tries every first byte of a device secret: seed = SHA3-512(byte || SM hash[0])[:32], key =
    Ed25519-SHA3 of the seed. The multiplication is X25519's, whose scalars have the same form
    (RFC 7748, section 5); u and v stand for the same point, up to its sign.
    """
    wanted = ed25519_sha3.montgomery_u(report.sm_public_key)
    return any(_derived_u(byte, report.sm_hash[0]) == wanted for byte in range(256))


def _derived_u(secret_byte: int, sm_byte: int) -> int:
    seed = hashlib.sha3_512(bytes((secret_byte, sm_byte))).digest()[:32]
    scalar = hashlib.sha3_512(seed).digest()[:32]
    # X25519 clamps the scalar as Ed25519 does.
    key = X25519PrivateKey.from_private_bytes(scalar).public_key()
    return int.from_bytes(key.public_bytes(Encoding.Raw, PublicFormat.Raw), "little")
