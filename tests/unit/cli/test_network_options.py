"""Destinations and rules on a command line."""

from typing import Any

import click
import pytest

from atoll.computation.network import Network, NetworkMode
from atoll_cli.network_options import egress_rules, network_of

CONTEXT: Any = None


def test_no_destination_is_no_network() -> None:
    assert network_of(CONTEXT, CONTEXT, ()) == Network()


def test_destinations_are_a_network() -> None:
    found = network_of(CONTEXT, CONTEXT, ("Example.org:443", "10.0.0.5:5432"))
    found.require_consistent()
    assert found.mode is NetworkMode.ALLOW
    assert found.places == ("10.0.0.5:5432", "example.org:443")


@pytest.mark.parametrize(
    "values", [("example.org",), ("*.example.org:443",), tuple(f"h{n}:1" for n in range(33))]
)
def test_refuses_what_a_manifest_cannot_list(values: tuple[str, ...]) -> None:
    with pytest.raises(click.BadParameter):
        network_of(CONTEXT, CONTEXT, values)


def test_the_rules_of_a_host() -> None:
    assert egress_rules(CONTEXT, CONTEXT, ("*.Example.org:443",)) == ("*.example.org:443",)
    with pytest.raises(click.BadParameter):
        egress_rules(CONTEXT, CONTEXT, ("*:443",))
