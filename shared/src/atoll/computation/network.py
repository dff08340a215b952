"""Where a workload may connect to: nowhere, or to what a list names."""

from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Final

from atoll.computation.steps import WorkloadKind
from atoll.errors import ManifestError, RefusedError
from atoll.wire.egress import MAX_PLACES, MAX_PORT, Host
from atoll.wire.schema import Range, Size, message

ENFORCEABLE: Final = (WorkloadKind.BINARY, WorkloadKind.PYTHON)
"""The kinds that can be held to a list: their sandbox has a loopback with a proxy on it."""


class NetworkMode(Enum):
    NONE = "none"
    ALLOW = "allow"


@message
class Destination:
    """One host and TCP port."""

    host: Host
    port: Annotated[int, Range(1, MAX_PORT)]

    @property
    def place(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


@message
class Network:
    """`none` has no destinations, `allow` at least one."""

    mode: NetworkMode = NetworkMode.NONE
    destinations: Annotated[tuple[Destination, ...], Size(0, MAX_PLACES)] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """The destinations as `host:port`, sorted."""
        return tuple(sorted(each.place for each in self.destinations))

    def require_consistent(self) -> None:
        """Raises: ManifestError: `manifest.network`."""
        if (self.mode is NetworkMode.ALLOW) != bool(self.destinations):
            raise ManifestError(
                f"manifest: network mode {self.mode.value!r} with "
                f"{len(self.destinations)} destinations",
                code="manifest.network",
            )
        if len(set(self.destinations)) != len(self.destinations):
            raise ManifestError("manifest: a destination stands twice", code="manifest.network")

    def require_enforceable(self, kinds: Iterable[WorkloadKind]) -> None:
        """Return if workloads of all these kinds can be held to it.

        Raises:
            RefusedError: `network.unsupported`: nothing holds one of them to a list.
        """
        if self.mode is NetworkMode.NONE:
            return
        for kind in kinds:
            if kind not in ENFORCEABLE:
                able = " and ".join(one.value for one in ENFORCEABLE)
                raise RefusedError(
                    f"network mode {self.mode.value!r} cannot be enforced for the kind "
                    f"{kind.value}, only for {able}",
                    code="network.unsupported",
                    hint="agree on a manifest with the network mode none, or on another kind",
                )
