"""A computation as a person plans it: a JSON file that names other files. Pure.

    {"format": "atoll-computation-plan", "version": 1, "parties": [FILE, ...], "steps": [...],
     "datasets": {...}, "outputs": {...}, "tee": {"kind": ...}}

docs/formats/computation-plan.md has every member. Parties stand in it by the files with their
public keys, assets by their cards (the canonical JSON of an `AssetRef`), so that nobody copies a
key or a digest by hand. Files are read through a function; relative to what is its business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Self

from atoll import canonical
from atoll.computation.assets import AssetRef
from atoll.computation.manifest import (
    MAX_DATASETS,
    MAX_PARTIES,
    Dataset,
    JobLimits,
    Manifest,
    Party,
    TeeRequirements,
    Unpacking,
)
from atoll.computation.network import Network
from atoll.computation.outputs import MAX_OUTPUTS, Output
from atoll.computation.placement import Placement
from atoll.computation.steps import MAX_STEPS, Entry, Source, Step, StepLimits, StepName
from atoll.computation.steps import WorkloadKind as Kind
from atoll.errors import InputError
from atoll.identity import PUBLIC_FORMAT, PartyPublic
from atoll.invocation import MAX_ITEMS, MAX_TEXT, Invocation
from atoll.wire import schema
from atoll.wire.schema import Digest, Name, Pattern, Size, message

FORMAT: Final = "atoll-computation-plan"
VERSION: Final = 1
MAX_PLAN: Final = 4 << 20
MAX_PUBLIC: Final = 16 << 10
MAX_CARD: Final = 16 << 10

ReadFile = Callable[[str], bytes]
"""The content of a file that the plan names, or an `AtollError`."""

Place = Annotated[str, Size(1, 1024), Pattern(r"[^\x00]+")]
"""The path of a file, as the plan has it."""


@message
class PlannedInvocation:
    """Arguments and environment: the card of a sealed asset, or in the clear to be sealed."""

    card: Place | None = None
    provider: Name | None = None
    """Who seals them and releases their key. With `card`, the card says so."""
    args: Annotated[tuple[Annotated[str, Size(0, MAX_TEXT)], ...], Size(0, MAX_ITEMS)] = ()
    env: Annotated[dict[str, Annotated[str, Size(0, MAX_TEXT)]], Size(0, MAX_ITEMS)] = field(
        default_factory=dict
    )


@message
class PlannedStep:
    """A step with cards in place of assets."""

    name: StepName
    kind: Kind
    algorithm: Place
    entry: Entry = ""
    bundle: Place | None = None
    invocation: PlannedInvocation
    inputs: Annotated[dict[str, Source], Size(0, 64)] = field(default_factory=dict)
    limits: StepLimits = field(default_factory=StepLimits)


@message
class PlannedDataset:
    """A dataset with a card in place of its asset."""

    asset: Place
    unpack: Unpacking | None = None


@message
class _Body:
    title: Annotated[str, Size(0, 200)] = ""
    parties: Annotated[tuple[Place, ...], Size(1, MAX_PARTIES)]
    steps: Annotated[tuple[PlannedStep, ...], Size(1, MAX_STEPS)]
    datasets: Annotated[dict[str, PlannedDataset], Size(0, MAX_DATASETS)] = field(
        default_factory=dict
    )
    outputs: Annotated[dict[str, Output], Size(1, MAX_OUTPUTS)]
    network: Network = field(default_factory=Network)
    tee: TeeRequirements
    limits: JobLimits = field(default_factory=JobLimits)
    previous: Annotated[tuple[Digest, ...], Size(0, 16)] = ()
    placement: Placement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A legal plan; what its files hold is not looked at yet."""

    body: _Body = field(repr=False)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read JSON in whatever form a person wrote it.

        Raises:
            InputError: `json.malformed`, `plan.version`, `plan.invalid`.
        """
        plain = canonical.parse(raw)
        found = plain if isinstance(plain, dict) else {}
        version = found.get("version")
        # `1 == True`: the type says which.
        if found.get("format") != FORMAT or version != VERSION or version is True:
            raise InputError(
                f"the plan is of format {str(found.get('format'))[:40]!r}, version "
                f"{str(version)[:10]}; this build knows {FORMAT!r}, version {VERSION}",
                code="plan.version",
            )
        members = {name: one for name, one in found.items() if name not in {"format", "version"}}
        try:
            body = schema.from_plain(_Body, members, json=True)
        except InputError as error:
            raise InputError(f"plan: {error.message}", code="plan.invalid") from error
        for step in body.steps:
            _require_invocation(step)
        return cls(body=body)

    def invocations(self) -> dict[str, tuple[str, Invocation]]:
        """By step: who seals the arguments that stand in the plan, and what they are."""
        return {
            step.name: (one.provider, Invocation(args=one.args, env=dict(one.env)))
            for step in self.body.steps
            for one in (step.invocation,)
            if one.provider is not None
        }

    def manifest(self, read: ReadFile, *, sealed: Mapping[str, AssetRef], nonce: bytes) -> Manifest:
        """The draft of what the parties will sign.

        Args:
            read: gives the files that the plan names.
            sealed: the asset of each step in `invocations`.
            nonce: 32 random bytes; they make the manifest a new one.

        Raises:
            InputError: `party.invalid`, `party.twice`, `asset.card`, or what `read` raises.
            ManifestError: all of it together is no legal manifest.
        """
        body = self.body

        def card(place: str) -> AssetRef:
            return read_card(read(place), place)

        def step(one: PlannedStep) -> Step:
            planned = one.invocation.card
            return Step(
                name=one.name,
                kind=one.kind,
                algorithm=card(one.algorithm),
                entry=one.entry,
                bundle=None if one.bundle is None else card(one.bundle),
                invocation=sealed[one.name] if planned is None else card(planned),
                inputs=one.inputs,
                limits=one.limits,
            )

        manifest = Manifest(
            nonce=nonce,
            title=body.title,
            parties=self.parties(read),
            steps=tuple(step(one) for one in body.steps),
            datasets={
                name: Dataset(asset=card(one.asset), unpack=one.unpack)
                for name, one in body.datasets.items()
            },
            outputs=body.outputs,
            network=body.network,
            tee=body.tee,
            limits=body.limits,
            previous=body.previous,
            placement=body.placement,
        )
        # What it says of itself is checked once more as the others will read it.
        return Manifest.from_bytes(manifest.to_bytes())

    def parties(self, read: ReadFile) -> dict[str, Party]:
        """The parties by their own names.

        Raises:
            InputError: `party.invalid`, `party.twice`, or what `read` raises.
        """
        found: dict[str, Party] = {}
        for place in self.body.parties:
            public = read_party(read(place), place)
            if public.name in found:
                raise InputError(
                    f"{place}: there is a party {public.name!r} already", code="party.twice"
                )
            found[public.name] = Party(signing_key=public.signing_key, hpke_key=public.hpke_key)
        return found


def read_party(raw: bytes, where: str) -> PartyPublic:
    """A party's public file, or what `atoll keys show --json` prints.

    Raises:
        InputError: `party.invalid`, also for a file with private keys.
    """
    try:
        plain = canonical.parse(raw)
        if isinstance(plain, dict) and "format" in plain:
            return PartyPublic.from_bytes(canonical.dumps(plain))
        return _shown(plain)
    except InputError as error:
        raise InputError(
            f"{where} is no party's public keys: {error.message}",
            code="party.invalid",
            hint="`atoll keys show NAME --json` prints what belongs there",
        ) from error


def read_card(raw: bytes, where: str) -> AssetRef:
    """The card of an asset.

    Raises:
        InputError: `asset.card`.
    """
    try:
        return schema.from_plain(AssetRef, canonical.parse(raw), json=True)
    except InputError as error:
        raise InputError(
            f"{where} is no card of an asset: {error.message}", code="asset.card"
        ) from error


def write_card(ref: AssetRef) -> bytes:
    """The card: canonical JSON and a newline."""
    return canonical.dumps(schema.to_plain(ref, json=True)) + b"\n"


def _shown(plain: Any) -> PartyPublic:
    fields = ("name", "signing_key", "hpke_key")
    if not isinstance(plain, dict) or not all(isinstance(plain.get(one), str) for one in fields):
        raise InputError(f"want the texts {', '.join(fields)}")
    file = {"format": PUBLIC_FORMAT, "version": 1} | {one: plain[one] for one in fields}
    public = PartyPublic.from_bytes(canonical.dumps(file))
    if plain.get("fingerprint", public.fingerprint) != public.fingerprint:
        raise InputError(f"the fingerprint of its key is {public.fingerprint}")
    return public


def _require_invocation(step: PlannedStep) -> None:
    one = step.invocation
    given = one.card is not None
    if given == (one.provider is not None) or (given and (one.args or one.env)):
        raise InputError(
            f"plan: the invocation of step {step.name!r} is a card, or a provider with args and "
            "env, and not both",
            code="plan.invalid",
        )
