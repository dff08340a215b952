"""The gateway's settings, read once and never changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

PREFIX: Final = "ATOLL_GATEWAY_"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    nats_url: str
    """Where the bus is."""

    nats_creds_file: Path
    """The gateway's login, read again at each connection."""

    nats_ca_file: Path | None = None
    """PEM roots by which the bus's certificate is checked; None: the system's."""

    http_host: str = "127.0.0.1"
    http_port: int = 0
    """0: any free port, which the ready line names."""

    http_token_file: Path
    """The bearer token that HTTP callers must show; at least 32 characters."""

    tees: tuple[str, ...] = ("simulated",)
    """Kinds of enclave that this deployment has hosts for."""

    instance: str = "gateway"
    """Who this gateway is in traces."""

    max_asset_bytes: int = 64 << 30
    """Ciphertext of the largest asset taken over HTTP."""

    supervised: bool = False
    """End when standard input ends."""
