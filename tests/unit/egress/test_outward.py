"""Where a host connects to for its enclaves, as far as it comes without a network."""

from collections.abc import Sequence

import pytest

from atoll.egress import addresses
from atoll.egress.outward import Outward
from atoll.errors import RefusedError, UnreachableError
from atoll.wire.egress import Allowance

NAMES = ("a.example:443", "*.b.example:443", "10.0.0.5:443")
INSIDE = (
    *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("0.0.0.0", "224.0.0.1", "255.255.255.255", "100.64.0.1", "::1", "fe80::1%eth0", "fd00::1"),
    *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::", "ff02::1"),
)


def outward(found: Sequence[str]) -> Outward:
    async def resolve(host: str, port: int) -> Sequence[str]:
        assert (host, port) != ("", 0)
        return found

    return Outward(Allowance.parse(NAMES), resolve)


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    for found in ([address], ["93.184.215.14", address]):
        with pytest.raises(RefusedError) as caught:
            await outward(found).connect("a.example", 443)
        assert caught.value.code == "network.refused"
    assert not addresses.is_public(addresses.parse(address))


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_a_public_address_is_public(address: str) -> None:
    assert addresses.is_public(addresses.parse(address))


@pytest.mark.parametrize("place", [("c.example", 443), ("a.example", 80), ("b.example", 443)])
async def test_what_the_list_does_not_have_is_not_even_resolved(place: tuple[str, int]) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise AssertionError((host, port))

    with pytest.raises(RefusedError) as caught:
        await Outward(Allowance.parse(NAMES), resolve).connect(*place)
    assert caught.value.code == "network.refused"


async def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    with pytest.raises(UnreachableError) as caught:
        await Outward(Allowance.parse(NAMES), resolve).connect("a.example", 443)
    assert caught.value.code == "network.unreachable"
    with pytest.raises(UnreachableError):
        await outward([]).connect("a.example", 443)
