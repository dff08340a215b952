"""Options that say where a workload, or the jobs of a host, may connect to."""

import click

from atoll.computation.network import Destination, Network, NetworkMode
from atoll.errors import InputError
from atoll.wire.egress import MAX_PLACES, Allowance


def egress_rules(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Callback: the rules of a host's list."""
    try:
        return Allowance.parse(values).rules
    except InputError as error:
        raise click.BadParameter(error.message) from error


def network_of(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> Network:
    """Callback: `HOST:PORT` pairs; none of them: no network."""
    try:
        places = Allowance.parse(values).rules
    except InputError as error:
        raise click.BadParameter(error.message) from error
    if any(place.startswith("*") for place in places) or len(places) > MAX_PLACES:
        raise click.BadParameter(f"want at most {MAX_PLACES} destinations, each by its whole name")
    if not places:
        return Network()
    split = (place.rpartition(":") for place in places)
    return Network(
        mode=NetworkMode.ALLOW,
        destinations=tuple(Destination(host=host, port=int(port)) for host, _, port in split),
    )
