"""HOST:PORT as the command line gives it."""

import ipaddress
import re
import socket
from typing import Final

from atoll.errors import InputError

LOOPBACK: Final = "127.0.0.1"
MAX_PORT: Final = 65_535
_ADDRESS: Final = re.compile(
    r"(?:(?:\[(?P<bracketed>[0-9A-Fa-f:.]{2,45})\]|(?P<plain>[A-Za-z0-9.-]{0,253})):)?"
    r"(?P<port>[0-9]{1,5})"
)


def parse(text: str) -> tuple[str, int]:
    """Host and port from `HOST:PORT`, `[IPv6]:PORT`, `:PORT` or `PORT`; without a host, loopback.

    Raises:
        InputError: `address.invalid`.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > MAX_PORT:
        raise InputError(f"{text[:80]!r} is not HOST:PORT", code="address.invalid")
    return match["bracketed"] or match["plain"] or LOOPBACK, int(match["port"])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    if not 0 <= port <= MAX_PORT:
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
