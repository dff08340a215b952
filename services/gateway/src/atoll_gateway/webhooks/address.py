"""Which addresses may be called. A stranger chooses the URL, so it must lead nowhere inside.

The name is resolved once, every address it has is judged, and the connection goes to one
that was judged: a name that resolves to something else a moment later gains nothing.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from atoll.egress import addresses
from atoll.egress.addresses import IpAddress
from atoll.errors import InputError, RefusedError

MAX_URL: Final = 1024
HTTPS_PORT: Final = 443
HTTP_PORT: Final = 80

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TEXT: Final = re.compile(r"[!-~]{1,1024}")
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that may be called, as far as one can say before its name is resolved."""

    url: str
    tls: bool
    host: str
    port: int
    path: str
    """With the query; never empty."""

    @property
    def authority(self) -> str:
        """For the `Host` header."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = HTTPS_PORT if self.tls else HTTP_PORT
        return name if self.port == usual else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressRules:
    """What the operator allows beyond public addresses over TLS."""

    loopback: bool = False
    """For development: this machine, also without TLS."""
    networks: tuple[Network, ...] = ()
    """Networks of the operator's own, over TLS."""

    def parse(self, url: str) -> Target:
        """Read a URL.

        Raises:
            InputError: `webhook.url`.
        """
        if not _TEXT.fullmatch(url):
            raise _illegal("must be 1 to 1024 printable ASCII characters without spaces")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise _illegal(str(error)) from error
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise _illegal("must have no user, password or fragment")
        if not _HOST.fullmatch(host):
            raise _illegal("has no legal host")
        tls = parts.scheme == "https"
        if not tls and not (parts.scheme == "http" and self.loopback and _is_loopback(host)):
            raise _illegal("must start with https://")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(
            url=url, tls=tls, host=host, port=port or (HTTPS_PORT if tls else HTTP_PORT), path=path
        )

    def choose(self, target: Target, found: Sequence[str]) -> str:
        """The address to connect to, of all that the name has.

        Raises:
            RefusedError: `webhook.address`: one of them is not to be called, or there is none.
        """
        for text in found:
            if not self._allows(addresses.parse(text)):
                raise RefusedError(
                    f"{target.host} is at an address that is not called from here",
                    code="webhook.address",
                    hint="the operator can allow networks of its own",
                )
        if not found:
            raise RefusedError(f"{target.host} has no address", code="webhook.address")
        return found[0]

    def _allows(self, address: IpAddress) -> bool:
        if address.is_loopback:
            return self.loopback
        if any(address.version == net.version and address in net for net in self.networks):
            return True
        return addresses.is_public(address)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks in CIDR form.

    Raises:
        InputError: `webhook.network`.
    """
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise InputError(str(error), code="webhook.network") from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _illegal(why: str) -> InputError:
    return InputError(f"the webhook's URL {why}", code="webhook.url")
