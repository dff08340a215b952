"""The manifest: one document that says what runs on what, for whom, and within which limits.

Canonical JSON (RFC 8785) of the type `atoll.manifest/v2`. Its digest is SHA-256 of those bytes;
that is what parties sign, what evidence is bound to, and what key releases name. The random
`nonce` makes each manifest, and so all evidence bound to it, new.

A value of type `Manifest` is legal. Whether its parties agreed to it is `consent`'s business, and
whether it is wise to release a key for it is each party's (`releasing`).
"""

import hashlib
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Final, Self

from atoll import canonical
from atoll.computation.assets import AssetRef
from atoll.computation.network import Network
from atoll.computation.outputs import MAX_OUTPUTS, Output, require_outputs
from atoll.computation.placement import Placement
from atoll.computation.steps import MAX_STEPS, Step, require_steps
from atoll.errors import InputError, ManifestError
from atoll.sealing.public_key import ED25519_SIZE, MAX_SIZE
from atoll.wire import names, schema
from atoll.wire.messages import MAX_MANIFEST, Tee
from atoll.wire.schema import Digest, Pattern, Range, Size, message

TYPE: Final = "atoll.manifest/v2"
MAX_PARTIES: Final = 32
MAX_DATASETS: Final = 64


@message
class Party:
    """A party's public keys; `hpke_key` is needed of result consumers only."""

    signing_key: Annotated[bytes, Size(ED25519_SIZE, MAX_SIZE)]
    """As `atoll.sealing.public_key` says; what is none of those signs nothing."""
    hpke_key: Annotated[bytes, Size(1216, 1216)] | None = None


class ArchiveFormat(Enum):
    ZIP = "zip"
    TAR = "tar"
    """Also compressed with gzip."""


@message
class Unpacking:
    """A dataset is an archive, and a step sees what is in it, within these limits."""

    format: ArchiveFormat
    max_bytes: Annotated[int, Range(0, 64 << 30)] = 1 << 30
    max_files: Annotated[int, Range(0, 1 << 20)] = 65_536


@message
class Dataset:
    asset: AssetRef
    unpack: Unpacking | None = None


@message
class TeeRequirements:
    """What kind of enclave runs it, and by which policy its evidence is appraised."""

    kind: Tee
    policy: Digest | None = None
    """SHA-256 of the appraisal policy that the parties agreed on. A party whose own is another
    one does not release; none: each party appraises by its own."""


@message
class JobLimits:
    """How long the phases of a job may take."""

    release_wait_ms: Annotated[int, Range(1000, 604_800_000)] = 600_000
    """How long an enclave waits for the key releases."""
    deadline_ms: Annotated[int, Range(1000, 2_592_000_000)] = 3_600_000
    """From submission to a terminal state, whatever happens."""


@message
class Manifest:
    type: Annotated[str, Pattern(r"atoll\.manifest/v2")] = TYPE
    nonce: Annotated[bytes, Size(32, 32)]
    title: Annotated[str, Size(0, 200)] = ""
    """For people; it decides nothing."""
    parties: Annotated[dict[str, Party], Size(1, MAX_PARTIES)]
    steps: Annotated[tuple[Step, ...], Size(1, MAX_STEPS)]
    datasets: Annotated[dict[str, Dataset], Size(0, MAX_DATASETS)]
    outputs: Annotated[dict[str, Output], Size(1, MAX_OUTPUTS)]
    network: Network
    tee: TeeRequirements
    limits: JobLimits
    previous: Annotated[tuple[Digest, ...], Size(0, 16)] = ()
    """SHA-256 of the receipts that this computation builds on."""
    placement: Placement | None = None
    """What is asked of the host; not among the members when nothing is."""

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """A legal manifest from its canonical bytes.

        Raises:
            ManifestError: `manifest.too_large`, `manifest.version`, `manifest.invalid`, or what
                `require_consistent` says.
        """
        if len(raw) > MAX_MANIFEST:
            raise ManifestError(
                f"manifest is {len(raw)} bytes, at most {MAX_MANIFEST} are taken",
                code="manifest.too_large",
            )
        try:
            plain = canonical.loads(raw)
        except InputError as error:
            raise ManifestError(f"manifest: {error.message}") from error
        return cls.from_plain(plain)

    @classmethod
    def from_plain(cls, plain: Any) -> Self:
        """The same from JSON values, as a person may have written them.

        Raises:
            ManifestError: as `from_bytes`.
        """
        found = plain.get("type") if isinstance(plain, dict) else None
        if found != TYPE:
            raise ManifestError(
                f"manifest type is {str(found)[:40]!r}, this build knows {TYPE!r}",
                code="manifest.version",
            )
        try:
            manifest = schema.from_plain(cls, plain, json=True)
        except InputError as error:
            raise ManifestError(f"manifest: {error.message}") from error
        manifest.require_consistent()
        return manifest

    def to_bytes(self) -> bytes:
        """The canonical bytes, over which the digest is taken."""
        return canonical.dumps(self.to_plain())

    def to_plain(self) -> dict[str, Any]:
        """The members as JSON values."""
        plain: dict[str, Any] = schema.to_plain(self, json=True)
        if self.placement is None:
            # As before there was such a member: the same bytes, the same digest.
            del plain["placement"]
        return plain

    def assets(self) -> dict[str, AssetRef]:
        """Every asset whose key must be released, by the name that a release has for it.

        A dataset has its own name, an asset of a step `<step>.algorithm`, `<step>.bundle` or
        `<step>.invocation`.
        """
        found = {name: asset for step in self.steps for name, asset in step.assets()}
        return found | {name: dataset.asset for name, dataset in self.datasets.items()}

    def assets_of(self, party: str) -> dict[str, AssetRef]:
        """Those that this party has to release."""
        return {name: asset for name, asset in self.assets().items() if asset.provider == party}

    def roles(self) -> Mapping[str, frozenset[str]]:
        """What each party is in this computation; `party` if it only consents."""
        held: dict[str, set[str]] = {name: set() for name in self.parties}
        for step in self.steps:
            held[step.algorithm.provider].add("algorithm-provider")
            held[step.invocation.provider].add("invocation-provider")
            if step.bundle is not None:
                held[step.bundle.provider].add("bundle-provider")
        for dataset in self.datasets.values():
            held[dataset.asset.provider].add("data-provider")
        for output in self.outputs.values():
            for consumer in output.consumers:
                held[consumer].add("result-consumer")
        return {name: frozenset(some or {"party"}) for name, some in held.items()}

    def require_consistent(self) -> None:
        """Check what one field says about another.

        Raises:
            ManifestError: `manifest.invalid`; `manifest.step`, `.source`, `.cycle` (`steps`);
                `manifest.output`, `.consumer_without_key` (`outputs`); `manifest.network`;
                `manifest.provider`: an asset of nobody; `manifest.asset`: one asset id for
                different assets; `manifest.unused`: a dataset that no step reads.
        """
        for name in (*self.datasets, *self.parties):
            try:
                names.require_name(name, "dataset or party")
            except InputError as error:
                raise ManifestError(f"manifest: {error.message}") from error
        for step in self.steps:
            for name in step.inputs:
                _require_input(name)
        require_steps(self.steps, self.datasets)
        require_outputs(
            self.outputs,
            [step.name for step in self.steps],
            {name: party.hpke_key is not None for name, party in self.parties.items()},
        )
        self.network.require_consistent()
        self._require_assets()
        keys = [party.signing_key for party in self.parties.values()]
        if len(set(keys)) != len(keys):
            raise ManifestError("manifest: two parties have one signing key")

    def _require_assets(self) -> None:
        own = {name for step in self.steps for name, _ in step.assets()}
        if both := sorted(own & self.datasets.keys()):
            raise ManifestError(f"manifest: {both[0]!r} cannot name a dataset")
        by_id: dict[str, AssetRef] = {}
        for name, asset in self.assets().items():
            if asset.provider not in self.parties:
                raise ManifestError(
                    f"manifest: provider {asset.provider!r} of {name!r} is no party",
                    code="manifest.provider",
                )
            if by_id.setdefault(asset.asset_id, asset) != asset:
                raise ManifestError(
                    f"manifest: {name!r} has the id of another asset", code="manifest.asset"
                )
        read = {source.dataset for step in self.steps for source in step.inputs.values()}
        if unused := sorted(self.datasets.keys() - read):
            raise ManifestError(
                f"manifest: no step reads the dataset {unused[0]!r}", code="manifest.unused"
            )


def digest(raw: bytes) -> bytes:
    """The manifest digest: SHA-256 of the canonical bytes."""
    return hashlib.sha256(raw).digest()


def _require_input(name: str) -> None:
    try:
        names.require_name(name, "input")
    except InputError as error:
        raise ManifestError(f"manifest: {error.message}") from error
