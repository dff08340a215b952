"""Computations for tests: two hospitals, a coder and a consumer, in two steps."""

from dataclasses import replace
from functools import cache
from typing import Any

from atoll.computation.assets import AssetRef
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
from atoll.computation.steps import Source, Step, StepLimits, WorkloadKind
from atoll.identity import PartyKeys
from atoll.wire.messages import AgreedManifest, Tee

NAMES = ("coder", "consumer", "north", "south")
NOW_MS = 1_800_000_000_000
LATER_MS = NOW_MS + 86_400_000
PROGRAM = "ab" * 32


@cache
def keys(name: str) -> PartyKeys:
    """A party's keys, the same for the same name."""
    return PartyKeys.generate(name, lambda size: name.encode().ljust(size, b"-")[:size])


def party(name: str) -> Party:
    """With a key for results."""
    public = keys(name).public
    return Party(signing_key=public.signing_key, hpke_key=public.hpke_key)


def asset(provider: str, number: int, **changes: Any) -> AssetRef:
    """An asset of somebody."""
    fields: dict[str, Any] = {
        "provider": provider,
        "asset_id": f"{number:032x}",
        "commitment": f"{number:064x}",
        "size": 1000 * number,
    }
    return AssetRef(**(fields | changes))


def clean() -> Step:
    """Reads both hospitals' data."""
    return Step(
        name="clean",
        kind=WorkloadKind.WASM,
        algorithm=asset("coder", 1, sha256=PROGRAM),
        invocation=asset("coder", 2),
        inputs={"north": Source(dataset="north.csv"), "south": Source(dataset="south.csv")},
        limits=StepLimits(wall_s=60),
    )


def train() -> Step:
    """Reads what `clean` wrote."""
    return Step(
        name="train",
        kind=WorkloadKind.PYTHON,
        algorithm=asset("coder", 3, sha256=PROGRAM),
        entry="model.main:run",
        bundle=asset("coder", 4, sha256=PROGRAM),
        invocation=asset("coder", 5),
        inputs={"table.csv": Source(step="clean", path="out/table.csv")},
        limits=StepLimits(wall_s=120),
    )


def manifest(**changes: Any) -> Manifest:
    """A legal one, unless a change makes it otherwise."""
    fields: dict[str, Any] = {
        "nonce": bytes(range(32)),
        "parties": {name: party(name) for name in NAMES},
        "steps": (clean(), train()),
        "datasets": {
            "north.csv": Dataset(asset=asset("north", 6)),
            "south.csv": Dataset(asset=asset("south", 7)),
        },
        "outputs": {
            "model": Output(
                step="train",
                consumers=("consumer",),
                max_bytes=5000,
                max_files=2,
                names=("*.json",),
                media_types=("application/json",),
            )
        },
        "network": Network(),
        "tee": TeeRequirements(kind=Tee.SIMULATED, policy="cd" * 32),
        "limits": JobLimits(),
    }
    return Manifest(**(fields | changes))


def agreed(of: Manifest | None = None, *names: str, expires_ms: int = LATER_MS) -> AgreedManifest:
    """With the consents of these parties, or of all."""
    raw = (of or manifest()).to_bytes()
    return AgreedManifest(
        manifest=raw,
        consents=tuple(
            give_consent(keys(name), digest(raw), expires_ms=expires_ms) for name in names or NAMES
        ),
    )


def with_step(number: int, **changes: Any) -> Manifest:
    """The manifest with one step changed."""
    steps = list(manifest().steps)
    steps[number] = replace(steps[number], **changes)
    return manifest(steps=tuple(steps))
