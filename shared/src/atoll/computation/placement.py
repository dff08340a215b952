"""What a computation asks of the host that its enclave runs on, and what follows from its limits.

Placement is for operators and for time: which machine is large enough, which has the accelerator.
It protects nothing. A host's labels are its operator's word, and no evidence proves them.
"""

from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Final

from atoll.computation.steps import WorkloadKind
from atoll.wire.placement import Cpus, Labels, Needs
from atoll.wire.schema import Range, message

if TYPE_CHECKING:
    from atoll.computation.manifest import Manifest

AGENT_BYTES: Final = 128 << 20
"""Memory of an enclave beside its workload and its files."""


@message
class Placement:
    """What the parties ask beyond what follows from the limits."""

    memory_bytes: Annotated[int, Range(0, 1 << 50)] = 0
    """Memory that must be there for the enclave; what its limits need if that is more."""
    cpus: Cpus = 0
    """Processors for it alone; 0: it shares what the host has."""
    labels: Labels = field(default_factory=dict)
    """What the operator must say of the host, each by name and value."""
    dedicated: bool = False
    """Only hosts that are dedicated to the tenant that submits it."""


def needs_of(manifest: "Manifest", tenant: str) -> Needs:
    """What a job of this tenant needs of a host."""
    asked = manifest.placement or Placement()
    follows = AGENT_BYTES + guest_bytes(manifest) + file_bytes(manifest)
    return Needs(
        memory_bytes=max(asked.memory_bytes, follows),
        cpus=asked.cpus,
        labels=asked.labels,
        tenant=tenant if asked.dedicated else None,
        destinations=manifest.network.places,
    )


def guest_bytes(manifest: "Manifest") -> int:
    """Memory that the largest step may take; they run one after the other."""
    return max(step.limits.memory_bytes for step in manifest.steps)


def file_bytes(manifest: "Manifest") -> int:
    """How much memory the files of a computation can take together."""
    assets = sum(asset.size for asset in manifest.assets().values())
    unpacked = sum(
        dataset.unpack.max_bytes for dataset in manifest.datasets.values() if dataset.unpack
    )
    left = sum(step.limits.output_bytes + 2 * step.limits.log_bytes for step in manifest.steps)
    # WebAssembly has no /tmp.
    scratch = max(
        0 if step.kind is WorkloadKind.WASM else step.limits.scratch_bytes
        for step in manifest.steps
    )
    return assets + unpacked + left + scratch
