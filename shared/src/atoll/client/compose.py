"""A manifest from prepared assets, and its signatures. Pure."""

from collections.abc import Mapping

from atoll import manifest as manifests
from atoll.client.assets import PreparedAsset
from atoll.identity import PartyKeys
from atoll.manifest import Algorithm, Manifest, ManifestLimits, ManifestParty, WorkloadKind
from atoll.wire.messages import PartySignature, SignedManifest, Tee


def one_person_manifest(
    owner: PartyKeys,
    *,
    nonce: bytes,
    algorithm: PreparedAsset,
    datasets: Mapping[str, PreparedAsset],
    invocation: PreparedAsset,
    limits: ManifestLimits,
    tee: Tee,
    previous: tuple[str, ...] = (),
) -> Manifest:
    """The manifest of a job in which one party is all parties.

    Raises:
        ManifestError: a name that no dataset can have.
    """
    public = owner.public
    manifest = Manifest(
        nonce=nonce,
        parties={
            owner.name: ManifestParty(signing_key=public.signing_key, hpke_key=public.hpke_key)
        },
        algorithm=Algorithm(kind=WorkloadKind.WASM, asset=algorithm.ref),
        datasets={name: asset.ref for name, asset in datasets.items()},
        invocation=invocation.ref,
        consumers=(owner.name,),
        limits=limits,
        tee=tee,
        previous=previous,
    )
    manifest.require_consistent()
    return manifest


def sign(raw: bytes, *parties: PartyKeys) -> SignedManifest:
    """The canonical manifest `raw` with the signature of each of `parties`."""
    digest = manifests.digest(raw)
    return SignedManifest(
        manifest=raw,
        signatures=tuple(
            PartySignature(
                party=party.name, signature=party.sign(manifests.SIGNATURE_LABEL, digest)
            )
            for party in parties
        ),
    )
