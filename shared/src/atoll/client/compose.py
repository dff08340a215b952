"""A manifest from prepared assets, and consents to it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.client.assets import PreparedAsset
from atoll.computation.consent import give_consent
from atoll.computation.manifest import (
    Dataset,
    JobLimits,
    Manifest,
    Party,
    TeeRequirements,
    digest,
)
from atoll.computation.network import Network
from atoll.computation.outputs import Output
from atoll.computation.placement import Placement
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from atoll.identity import PartyKeys
from atoll.wire.messages import AgreedManifest, Tee

STEP = "run"
OUTPUT = "results"
"""The one step and the one output of a job in which one party is all parties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is run, uploaded."""

    kind: WorkloadKind = WorkloadKind.WASM
    algorithm: PreparedAsset
    entry: str = ""
    bundle: PreparedAsset | None = None
    invocation: PreparedAsset


def one_person_manifest(
    owner: PartyKeys,
    *,
    nonce: bytes,
    program: Program,
    datasets: Mapping[str, PreparedAsset],
    limits: StepLimits,
    job_limits: JobLimits,
    tee: Tee,
    previous: tuple[str, ...] = (),
    placement: Placement | None = None,
    network: Network | None = None,
) -> Manifest:
    """The manifest of a job in which one party is all parties.

    Raises:
        ManifestError: a name that no dataset can have; an entry or a bundle of another kind
            than python.
    """
    public = owner.public
    step = Step(
        name=STEP,
        kind=program.kind,
        algorithm=program.algorithm.ref,
        entry=program.entry,
        bundle=program.bundle.ref if program.bundle else None,
        invocation=program.invocation.ref,
        inputs={name: Source(dataset=name) for name in datasets},
        limits=limits,
    )
    output = Output(
        step=STEP,
        consumers=(owner.name,),
        # What the step may leave is the owner's to get: its own limits are the tighter ones.
        max_bytes=min(limits.output_bytes + 2 * limits.log_bytes, 16 << 30),
        max_files=limits.output_files,
    )
    manifest = Manifest(
        nonce=nonce,
        parties={owner.name: Party(signing_key=public.signing_key, hpke_key=public.hpke_key)},
        steps=(step,),
        datasets={name: Dataset(asset=asset.ref) for name, asset in datasets.items()},
        outputs={OUTPUT: output},
        network=network or Network(),
        tee=TeeRequirements(kind=tee),
        limits=job_limits,
        previous=previous,
        placement=placement,
    )
    manifest.require_consistent()
    return manifest


def agree(raw: bytes, *parties: PartyKeys, expires_ms: int) -> AgreedManifest:
    """The canonical manifest `raw` with the consent of each of `parties`."""
    return AgreedManifest(
        manifest=raw,
        consents=tuple(
            give_consent(party, digest(raw), expires_ms=expires_ms) for party in parties
        ),
    )
