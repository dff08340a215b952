"""Which addresses are public. Pure.

Who chooses a name chooses what it resolves to, so what is called for a stranger must be judged by
its address: an IPv6 address that stands for an IPv4 one is judged as that.
"""

import ipaddress
from typing import Final

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def parse(text: str) -> IpAddress:
    """The address that a resolver gives, without its zone, as the one it stands for.

    Raises:
        ValueError: it is none.
    """
    return plain(ipaddress.ip_address(text.partition("%")[0]))


def plain(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: IpAddress) -> bool:
    """Whether it is neither this machine, nor a private, link-local, reserved or group address."""
    return address.is_global and not (address.is_multicast or address.is_reserved)
