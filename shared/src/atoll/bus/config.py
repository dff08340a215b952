"""Where the bus is and who we are on it."""

import ssl
from dataclasses import dataclass, field

from atoll.bus.login import Login, Password


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """How to connect; see `atoll.bus.connect`."""

    url: str
    """`nats://host:port` or `tls://host:port`."""
    name: str
    """Shown in the server's monitoring."""
    user: str = ""
    """With `password`, for a server that knows its users by name."""
    password: str = field(default="", repr=False)
    login: Login | None = None
    """Who we are; None: `user` and `password`."""
    inbox_prefix: str
    """Only this user may listen there, e.g. `_INBOX_gateway`."""
    connect_timeout_s: float = 10.0
    patient: bool = False
    """Wait out a refusal of the login like an absence, within `connect_timeout_s`: who decides
    about logins may be away for a moment."""
    drain_timeout_s: float = 5.0
    tls_ca_file: str | None = None
    """PEM roots for `tls://`; None: the system's, unless there is `tls_ca`."""
    tls_ca: str = ""
    """The roots themselves."""

    @property
    def who(self) -> Login:
        """The login."""
        return self.login or Password(self.user, self.password)

    def tls_context(self) -> ssl.SSLContext | None:
        """How to check the server's certificate; None without TLS."""
        if not self.url.startswith("tls://"):
            return None
        return ssl.create_default_context(cafile=self.tls_ca_file, cadata=self.tls_ca or None)
