"""What the parties of a computation agree on and sign (architecture, sections 2.4 and 4).

A manifest is canonical JSON (RFC 8785). Its digest is SHA-256 of those bytes, and
every party signs the digest. It names code, data and arguments by commitment, a
salted digest, so that the control plane, which sees the manifest, cannot confirm a
guess. The random `nonce` makes each manifest, and so all evidence bound to it, new.

Pure. A value of type `Manifest` is legal; whether it is signed is `verify_signed`'s
business, and whether it is wise to release a key for it is the party's.
"""

import hashlib
from enum import Enum
from typing import Annotated, Any, Final, Self

from atoll import canonical
from atoll.errors import InputError, ManifestError, SealError
from atoll.identity import verify_signature
from atoll.sealing.public_key import ED25519_SIZE, MAX_SIZE
from atoll.wire import names, schema
from atoll.wire.messages import MAX_MANIFEST, PartySignature, SignedManifest, Tee
from atoll.wire.schema import Digest, Name, Pattern, Range, Size, message

TYPE: Final = "atoll.manifest/v1"
SIGNATURE_LABEL: Final = "atoll manifest signature v1"
RESERVED_NAMES: Final = frozenset({"algorithm", "invocation"})

AssetId = Annotated[str, Pattern(r"[0-9a-f]{32}")]


class WorkloadKind(Enum):
    WASM = "wasm"


@message
class ManifestParty:
    """A party's public keys; `hpke_key` is needed of result consumers only."""

    signing_key: Annotated[bytes, Size(ED25519_SIZE, MAX_SIZE)]
    """As `atoll.sealing.public_key` says; what is none of those signs nothing."""
    hpke_key: Annotated[bytes, Size(1216, 1216)] | None = None


@message
class AssetRef:
    """A sealed asset: whose it is, where its ciphertext lies, what it must open to."""

    provider: Name
    asset_id: AssetId
    commitment: Digest
    size: Annotated[int, Range(0, 1 << 44)]
    """Bytes of the plaintext, which the length of the ciphertext shows anyway."""


@message
class Algorithm:
    kind: WorkloadKind
    asset: AssetRef


@message
class ManifestLimits:
    """What the workload may use, and how long each phase may take."""

    wall_s: Annotated[int, Range(1, 604_800)] = 300
    memory_bytes: Annotated[int, Range(1 << 16, 1 << 32)] = 1 << 30
    fuel: Annotated[int, Range(0, 1 << 52)] = 0
    """Wasm instructions, roughly; 0 is no limit beyond `wall_s`."""
    output_bytes: Annotated[int, Range(0, 16 << 30)] = 256 << 20
    output_files: Annotated[int, Range(0, 4096)] = 1024
    log_bytes: Annotated[int, Range(0, 64 << 20)] = 1 << 20
    """Of standard output, and again of standard error."""
    release_wait_ms: Annotated[int, Range(1000, 604_800_000)] = 600_000
    """How long an enclave waits for the key releases."""
    deadline_ms: Annotated[int, Range(1000, 2_592_000_000)] = 3_600_000
    """From submission to a terminal state, whatever happens."""


@message
class Manifest:
    type: Annotated[str, Pattern(r"atoll\.manifest/v1")] = TYPE
    nonce: Annotated[bytes, Size(32, 32)]
    parties: Annotated[dict[str, ManifestParty], Size(1, 32)]
    algorithm: Algorithm
    datasets: Annotated[dict[str, AssetRef], Size(0, 64)]
    invocation: AssetRef
    """Arguments and environment, sealed like any asset."""
    consumers: Annotated[tuple[Name, ...], Size(1, 16)]
    limits: ManifestLimits
    tee: Tee
    previous: Annotated[tuple[Digest, ...], Size(0, 16)] = ()
    """SHA-256 of the receipts that this computation builds on."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """A legal manifest from its canonical bytes.

        Raises:
            ManifestError: `manifest.too_large`, `manifest.version` or `manifest.invalid`.
        """
        if len(raw) > MAX_MANIFEST:
            raise ManifestError(
                f"manifest is {len(raw)} bytes, at most {MAX_MANIFEST} are taken",
                code="manifest.too_large",
            )
        try:
            plain = canonical.loads(raw)
            _require_version(plain)
            manifest = schema.from_plain(cls, plain, json=True)
        except ManifestError:
            raise
        except InputError as error:
            raise ManifestError(f"manifest: {error.message}") from error
        manifest.require_consistent()
        return manifest

    def to_bytes(self) -> bytes:
        """The canonical bytes, over which the digest is taken."""
        return canonical.dumps(schema.to_plain(self, json=True))

    def assets(self) -> dict[str, AssetRef]:
        """Every asset whose key must be released, by its name."""
        return {"algorithm": self.algorithm.asset, "invocation": self.invocation, **self.datasets}

    def require_consistent(self) -> None:
        """Check what one field says about another.

        Raises:
            ManifestError: `manifest.invalid`.
        """
        for name in self.datasets:
            if name in RESERVED_NAMES:
                raise ManifestError(f"manifest: {name!r} cannot name a dataset")
            try:
                names.require_name(name, "dataset")
            except InputError as error:
                raise ManifestError(f"manifest: {error.message}") from error
        for name, asset in self.assets().items():
            if asset.provider not in self.parties:
                raise ManifestError(
                    f"manifest: provider {asset.provider!r} of {name!r} is no party"
                )
        ids = [asset.asset_id for asset in self.assets().values()]
        if len(set(ids)) != len(ids):
            raise ManifestError("manifest: two names stand for one asset")
        if len(set(self.consumers)) != len(self.consumers):
            raise ManifestError("manifest: a consumer stands twice")
        for consumer in self.consumers:
            party = self.parties.get(consumer)
            if party is None:
                raise ManifestError(f"manifest: consumer {consumer!r} is no party")
            if party.hpke_key is None:
                raise ManifestError(
                    f"manifest: consumer {consumer!r} has no HPKE key to wrap the result to",
                    code="manifest.consumer_without_key",
                )


def digest(raw: bytes) -> bytes:
    """The manifest digest: SHA-256 of the canonical bytes."""
    return hashlib.sha256(raw).digest()


def verify_signed(signed: SignedManifest) -> Manifest:
    """The manifest, if every one of its parties has signed it and nobody else.

    Raises:
        ManifestError: as `Manifest.from_bytes`, or `manifest.unsigned`,
            `manifest.foreign_signature`, `manifest.signature`.
    """
    manifest = Manifest.from_bytes(signed.manifest)
    by_party: dict[str, PartySignature] = {}
    for signature in signed.signatures:
        if signature.party not in manifest.parties or signature.party in by_party:
            raise ManifestError(
                f"signature of {signature.party!r}, who is no party or signed twice",
                code="manifest.foreign_signature",
            )
        by_party[signature.party] = signature
    for name, party in manifest.parties.items():
        if name not in by_party:
            raise ManifestError(f"party {name!r} has not signed", code="manifest.unsigned")
        try:
            verify_signature(
                party.signing_key,
                by_party[name].signature,
                SIGNATURE_LABEL,
                digest(signed.manifest),
            )
        except SealError as error:
            raise ManifestError(
                f"the signature of {name!r} is not over this manifest", code="manifest.signature"
            ) from error
    return manifest


def _require_version(plain: Any) -> None:
    found = plain.get("type") if isinstance(plain, dict) else None
    if found != TYPE:
        raise ManifestError(
            f"manifest type is {str(found)[:40]!r}, this build knows {TYPE!r}",
            code="manifest.version",
        )
