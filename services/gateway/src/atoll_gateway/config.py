"""The gateway's settings, read once and never changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError, InputError
from atoll.wire import level
from atoll.wire.access import AccessToken
from atoll_gateway.http.limits import Limits, Rate
from atoll_gateway.http.tls import TlsFiles

PREFIX: Final = "ATOLL_GATEWAY_"
UNPLACEABLE: Final = ("wait", "refuse")


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
    """The deployment's first access token, with the role operator."""

    http_tls_cert_file: Path | None = None
    """PEM chain of the HTTP API, from the server's certificate on; it is followed."""
    http_tls_key_file: Path | None = None
    """Its key, which nobody else may read."""
    http_tls_client_ca_file: Path | None = None
    """PEM; clients must then show a certificate of these."""
    http_insecure: bool = False
    """Listen without TLS outside loopback: only behind something that ends TLS."""

    http_rate_per_token: float = 50.0
    """Requests a second that one token may make in the long run."""
    http_burst_per_token: int = 200
    http_rate_per_address: float = 100.0
    """Likewise for one address, or one /64 of IPv6."""
    http_burst_per_address: int = 400
    http_failures_per_minute: int = 30
    """Requests without a valid token that one address may make."""
    http_requests: int = 1000
    """Requests at a time, of all."""
    http_requests_per_token: int = 64
    http_streams_per_token: int = 16
    http_connections: int = 1000
    http_connections_per_address: int = 200

    tees: tuple[str, ...] = ("simulated",)
    """Kinds of enclave that this deployment has hosts for."""

    unplaceable: str = "wait"
    """What becomes of a job that no registered host could start: `wait`, or `refuse`."""

    instance: str = "gateway"
    """Who this gateway is in traces."""

    max_asset_bytes: int = 64 << 30
    """Ciphertext of the largest asset taken over HTTP."""

    webhook_key_file: Path | None = None
    """32 bytes that seal webhooks' secrets; the same for all gateways. Without it there are no
    webhooks."""

    webhook_loopback: bool = False
    """Call webhooks on this machine too, also without TLS: for development."""

    webhook_networks: tuple[str, ...] = ()
    """Networks of the operator's own that webhooks may be in, as `10.1.0.0/16`."""

    metrics_address: str = ""
    """Where metrics are served for Prometheus (`docs/metrics.md`): HOST:PORT, or a port alone on
    loopback. Empty: nowhere."""

    protocol_newest: int = level.NEWEST
    """Speak no newer protocol level than this, as the release before did; no level above it comes
    into force while this service lives."""

    supervised: bool = False
    """End when standard input ends."""

    def __post_init__(self) -> None:
        """Raises: ConfigError `config.invalid`."""
        if self.unplaceable not in UNPLACEABLE:
            raise ConfigError(
                f"{PREFIX}UNPLACEABLE={self.unplaceable}: want {' or '.join(UNPLACEABLE)}",
                code="config.invalid",
            )

    def limits(self) -> Limits:
        """Raises: ConfigError `http.limits`."""
        failures = self.http_failures_per_minute
        return Limits(
            token=Rate(burst=self.http_burst_per_token, per_s=self.http_rate_per_token),
            address=Rate(burst=self.http_burst_per_address, per_s=self.http_rate_per_address),
            failures=Rate(burst=failures, per_s=failures / 60),
            requests=self.http_requests,
            requests_per_token=self.http_requests_per_token,
            streams_per_token=self.http_streams_per_token,
            connections=self.http_connections,
            connections_per_address=self.http_connections_per_address,
        )

    def tls_files(self) -> TlsFiles | None:
        """Raises: ConfigError `http.tls_files`: one of two is missing."""
        cert, key = self.http_tls_cert_file, self.http_tls_key_file
        if cert is not None and key is not None:
            return TlsFiles(cert=cert, key=key, client_ca=self.http_tls_client_ca_file)
        if cert or key or self.http_tls_client_ca_file:
            raise ConfigError(
                f"{PREFIX}HTTP_TLS_CERT_FILE and {PREFIX}HTTP_TLS_KEY_FILE go together",
                code="http.tls_files",
            )
        return None

    def first_token(self) -> AccessToken:
        """Raises: ConfigError `http.token`: no file, or no whole token in it."""
        try:
            text = self.http_token_file.read_text(encoding="ascii").strip()
            return AccessToken.parse(text)
        except (OSError, ValueError, InputError) as error:
            raise ConfigError(
                f"{self.http_token_file} does not hold an access token",
                code="http.token",
                hint="there is no default token: `atoll up` makes one, mode 0600",
            ) from error
