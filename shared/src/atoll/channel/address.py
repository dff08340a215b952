"""Where a channel is. Pure.

serial:NAME      the virtio-serial port of this name
vsock:PORT       the host (CID 2) on this port
unix:PATH        a socket, absolute
tcp:HOST:PORT    a socket of a network that reaches the host alone
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from atoll.errors import ConfigError

MAX_ADDRESS: Final = 512
_PORT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,9}")
MAX_TCP_PORT: Final = 65535
MAX_VSOCK_PORT: Final = (1 << 32) - 2
"""The highest one stands for any (vsock(7), VMADDR_PORT_ANY)."""


class Kind(Enum):
    SERIAL = "serial"
    VSOCK = "vsock"
    UNIX = "unix"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class Address:
    """One of the above; `place` is a name, a path or a host, `port` a number where there is one."""

    kind: Kind
    place: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises: ConfigError `channel.address`."""
        kind, _, rest = text[: MAX_ADDRESS + 1].partition(":")
        host, _, port = rest.rpartition(":")
        if len(text) <= MAX_ADDRESS:
            match kind:
                case "serial" if _PORT_NAME.fullmatch(rest):
                    return cls(Kind.SERIAL, rest)
                case "vsock" if 0 < _number(rest) <= MAX_VSOCK_PORT:
                    return cls(Kind.VSOCK, port=_number(rest))
                case "unix" if rest.startswith("/") and "\0" not in rest:
                    return cls(Kind.UNIX, rest)
                case "tcp" if _HOST.fullmatch(host) and 0 < _number(port) <= MAX_TCP_PORT:
                    return cls(Kind.TCP, host.strip("[]"), _number(port))
        raise ConfigError(
            f"{text[:80]!r} is no channel",
            code="channel.address",
            hint="want serial:NAME, vsock:PORT, unix:/PATH or tcp:HOST:PORT",
        )

    def __str__(self) -> str:
        place = f"[{self.place}]" if ":" in self.place and self.kind is Kind.TCP else self.place
        return ":".join(filter(None, (self.kind.value, place, str(self.port or ""))))


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
