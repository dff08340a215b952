"""Where a workload may connect to: nowhere, or to what a list names."""

from enum import Enum
from typing import Annotated

from atoll.errors import ManifestError, RefusedError
from atoll.wire.schema import Pattern, Range, Size, message

Host = Annotated[
    str, Size(1, 253), Pattern(r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
]
"""A DNS name in lower case, or an IPv4 address (RFC 1123, section 2.1)."""


class NetworkMode(Enum):
    NONE = "none"
    ALLOW = "allow"


@message
class Destination:
    """One host and TCP port."""

    host: Host
    port: Annotated[int, Range(1, 65_535)]


@message
class Network:
    """`none` has no destinations, `allow` at least one."""

    mode: NetworkMode = NetworkMode.NONE
    destinations: Annotated[tuple[Destination, ...], Size(0, 32)] = ()

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

    def require_enforceable(self) -> None:
        """Return if this build can hold a workload to it.

        Raises:
            RefusedError: `network.unsupported`: nothing here holds a workload to a list, and
                without that it would be free to go anywhere.
        """
        if self.mode is not NetworkMode.NONE:
            raise RefusedError(
                f"network mode {self.mode.value!r} cannot be enforced",
                code="network.unsupported",
                hint="agree on a manifest with the network mode none",
            )
