"""Key release: the provider of an asset gives its content key to one enclave.

The provider appraised the evidence first; this module only makes sure that the release is
worth nothing for another job, attempt, manifest, asset, evidence or enclave:

    bound   = version, job_id, attempt, manifest_digest, asset_name, asset_id,
              evidence_digest, provider, provider's public signing key
    wrapped = HPKE(enclave key, content_key (32) || salt (32), info =
              transcript("atoll release v1", bound))
    signed  = transcript("atoll release signature v1", bound, wrapped)

Integers enter a transcript as 8 bytes, big-endian. The evidence digest stands for the enclave's
keys, because the evidence binds them.

Replay: `open_release` keeps no state and needs none. The same release shown twice gives the same
key for the same attempt of the same job to the same enclave, which already has it.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final

from atoll.errors import SealError
from atoll.framing import transcript
from atoll.sealing import hpke
from atoll.sealing.hpke import HpkePrivateKey
from atoll.sealing.public_key import MAX_SIGNATURE, MIN_SIGNATURE
from atoll.sealing.signature import Signer, verify_signature
from atoll.sealing.stream import ASSET_ID_SIZE, KEY_SIZE, SALT_SIZE
from atoll.wire.schema import Name, Range, Size, Token, message

VERSION: Final = 1
MAX_ATTEMPT: Final = 2**31 - 1
DIGEST_SIZE: Final = 32
WRAPPED_SIZE: Final = hpke.OVERHEAD + KEY_SIZE + SALT_SIZE

_INFO: Final = "atoll release v1"
_SIGNATURE: Final = "atoll release signature v1"


@message
class KeyRelease:
    """On the bus. Its fields are claims until `open_release` checked them."""

    version: Annotated[int, Range(VERSION, VERSION)]
    job_id: Token
    attempt: Annotated[int, Range(1, MAX_ATTEMPT)]
    manifest_digest: Annotated[bytes, Size(DIGEST_SIZE, DIGEST_SIZE)]
    asset_name: Name
    asset_id: Annotated[bytes, Size(ASSET_ID_SIZE, ASSET_ID_SIZE)]
    evidence_digest: Annotated[bytes, Size(DIGEST_SIZE, DIGEST_SIZE)]
    provider: Name
    wrapped: Annotated[bytes, Size(WRAPPED_SIZE, WRAPPED_SIZE)]
    signature: Annotated[bytes, Size(MIN_SIGNATURE, MAX_SIGNATURE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseContext:
    """What the enclave knows from its manifest and assignment, not from the release."""

    job_id: str
    attempt: int
    manifest_digest: bytes
    asset_name: str
    asset_id: bytes
    evidence_digest: bytes
    provider_name: str
    provider_key: bytes

    def bound(self) -> tuple[bytes, ...]:
        """The bound fields, in transcript order."""
        return (
            VERSION.to_bytes(8, "big"),
            self.job_id.encode(),
            self.attempt.to_bytes(8, "big"),
            self.manifest_digest,
            self.asset_name.encode(),
            self.asset_id,
            self.evidence_digest,
            self.provider_name.encode(),
            self.provider_key,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedKey:
    """What was wrapped: opens the asset, and opens the commitment to its content."""

    content_key: bytes = field(repr=False)
    salt: bytes = field(repr=False)

    @property
    def raw(self) -> bytes:
        """content_key || salt, as it is wrapped."""
        return self.content_key + self.salt


def make_release(
    provider: Signer,
    *,
    job_id: str,
    attempt: int,
    manifest_digest: bytes,
    asset_name: str,
    asset_id: bytes,
    evidence_digest: bytes,
    enclave_hpke_key: bytes,
    content_key: bytes,
    salt: bytes,
) -> KeyRelease:
    """A signed release to the enclave with this evidence. Appraise that evidence before.

    Raises:
        SealError: `seal.key`, the enclave's key is none.
        ValueError: a content key or salt that is not 32 bytes.
    """
    if len(content_key) != KEY_SIZE or len(salt) != SALT_SIZE:
        raise ValueError("a content key and a salt are 32 bytes each")
    context = ReleaseContext(
        job_id=job_id,
        attempt=attempt,
        manifest_digest=manifest_digest,
        asset_name=asset_name,
        asset_id=asset_id,
        evidence_digest=evidence_digest,
        provider_name=provider.name,
        provider_key=provider.signing_key,
    )
    bound = context.bound()
    wrapped = hpke.seal(enclave_hpke_key, content_key + salt, transcript(_INFO, *bound))
    return KeyRelease(
        version=VERSION,
        job_id=job_id,
        attempt=attempt,
        manifest_digest=manifest_digest,
        asset_name=asset_name,
        asset_id=asset_id,
        evidence_digest=evidence_digest,
        provider=provider.name,
        wrapped=wrapped,
        signature=provider.sign(_SIGNATURE, *bound, wrapped),
    )


def open_release(
    release: KeyRelease, *, enclave_key: HpkePrivateKey, expected: ReleaseContext
) -> ReleasedKey:
    """The key, if the release is from `expected`'s provider and for exactly this use.

    1. job  2. manifest  3. asset name and id  4. evidence  5. attempt  6. provider's name
    7. provider's signature  8. unwrapping. The first failure is raised.

    Raises:
        SealError: `release.unsupported` version, `release.other_job`, `release.other_manifest`,
            `release.other_asset`, `release.other_evidence`, `release.stale_attempt`,
            `release.wrong_party`, `release.signature`, `release.wrapped`.
    """
    _require(release.version == VERSION, "unsupported", f"version {release.version} is unknown")
    # 1 to 6
    _require(release.job_id == expected.job_id, "other_job", f"is for job {release.job_id}")
    _require(
        release.manifest_digest == expected.manifest_digest,
        "other_manifest",
        f"is for manifest {release.manifest_digest.hex()}",
    )
    _require(
        (release.asset_name, release.asset_id) == (expected.asset_name, expected.asset_id),
        "other_asset",
        f"is for asset {release.asset_name} {release.asset_id.hex()}",
    )
    _require(
        release.evidence_digest == expected.evidence_digest,
        "other_evidence",
        f"is for evidence {release.evidence_digest.hex()}",
    )
    _require(
        release.attempt == expected.attempt, "stale_attempt", f"is for attempt {release.attempt}"
    )
    _require(release.provider == expected.provider_name, "wrong_party", f"is by {release.provider}")
    # 7
    bound = expected.bound()
    try:
        verify_signature(
            expected.provider_key, release.signature, _SIGNATURE, *bound, release.wrapped
        )
    except SealError as error:
        raise SealError(
            f"key release is not signed by {expected.provider_name}", code="release.signature"
        ) from error
    # 8
    try:
        raw = hpke.open_(enclave_key, release.wrapped, transcript(_INFO, *bound))
    except SealError as error:
        raise SealError(
            "key release is not wrapped to this enclave", code="release.wrapped"
        ) from error
    _require(len(raw) == KEY_SIZE + SALT_SIZE, "wrapped", f"holds {len(raw)} bytes")
    return ReleasedKey(content_key=raw[:KEY_SIZE], salt=raw[KEY_SIZE:])


def _require(holds: bool, code: str, why: str) -> None:  # noqa: FBT001
    if not holds:
        raise SealError(f"key release {why}", code=f"release.{code}")
