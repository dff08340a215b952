"""Where the bus is and who we are on it."""

import ssl
from dataclasses import dataclass, field
from typing import Final

from atoll.bus.login import Login, Password
from atoll.bus.transport import Dial
from atoll.errors import ConfigError
from atoll.wire.names import require_token

MAX_SERVERS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """How to connect; see `atoll.bus.connect`."""

    url: str
    """`nats://host:port` or `tls://host:port`; several servers of one cluster, separated by
    commas, all of them one or the other."""
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

    dial: Dial | None = field(default=None, repr=False, compare=False)
    """Gives streams to the servers of `url`, for who has no network; None: TCP. TLS is between us
    and the server all the same."""

    domain: str = ""
    """The JetStream domain where the streams are. Empty: that of the server we connect to;
    through a leaf node with a domain of its own, the hub's."""

    def __post_init__(self) -> None:
        """Raises: ConfigError `config.invalid`; InputError `name.invalid`."""
        if len({url.partition("://")[0] for url in self.urls}) != 1 or "" in self.urls:
            raise ConfigError(
                f"{self.url!r} is not a list of servers: want nats://HOST:PORT or tls://HOST:PORT, "
                "separated by commas, not both kinds",
                code="config.invalid",
            )
        if len(self.urls) > MAX_SERVERS:
            raise ConfigError(
                f"{len(self.urls)} servers of the bus, at most {MAX_SERVERS}", code="config.invalid"
            )
        if self.domain:
            require_token(self.domain, "JetStream domain")

    @property
    def who(self) -> Login:
        """The login."""
        return self.login or Password(self.user, self.password)

    @property
    def urls(self) -> list[str]:
        """Each server."""
        return [url.strip() for url in self.url.split(",")]

    @property
    def api(self) -> str:
        """What subjects of the JetStream API begin with."""
        return f"$JS.{self.domain}.API" if self.domain else "$JS.API"

    def tls_context(self) -> ssl.SSLContext | None:
        """How to check the server's certificate; None without TLS."""
        if not self.url.startswith("tls://"):
            return None
        return ssl.create_default_context(cafile=self.tls_ca_file, cadata=self.tls_ca or None)
