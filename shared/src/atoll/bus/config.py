"""Where the bus is and who we are on it."""

import ssl
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """How to connect; see `atoll.bus.connect`."""

    url: str
    """`nats://host:port` or `tls://host:port`."""
    name: str
    """Shown in the server's monitoring."""
    user: str
    password: str = field(repr=False)
    inbox_prefix: str
    """Only this user may listen there, e.g. `_INBOX_gateway`."""
    connect_timeout_s: float = 10.0
    drain_timeout_s: float = 5.0
    tls_ca_file: str | None = None
    """PEM roots for `tls://`; None: the system's."""

    def tls_context(self) -> ssl.SSLContext | None:
        """How to check the server's certificate; None without TLS."""
        if not self.url.startswith("tls://"):
            return None
        return ssl.create_default_context(cafile=self.tls_ca_file)
