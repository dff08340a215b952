"""Options that say what the host of a job must have."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from atoll.computation.placement import Placement
from atoll.errors import InputError
from atoll.wire.placement import MAX_CPUS, read_labels

F = TypeVar("F", bound=Callable[..., Any])

_MIB: Final = 1 << 20


def labels(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Callback: `NAME=VALUE` pairs, each name once."""
    try:
        return read_labels(values)
    except InputError as error:
        raise click.BadParameter(error.message) from error


def placement_options(command: F) -> F:
    """`--host-memory-mib`, `--host-cpus`, `--host-label`, `--dedicated`."""
    for option in (
        click.option(
            "--dedicated",
            is_flag=True,
            help="Only on a host that is dedicated to our tenant.",
        ),
        click.option(
            "--host-label",
            "host_labels",
            metavar="NAME=VALUE",
            multiple=True,
            callback=labels,
            help="Only on a host of which its operator says this, such as gpu=a100.",
        ),
        click.option(
            "--host-cpus",
            type=click.IntRange(0, MAX_CPUS),
            default=0,
            show_default=True,
            help="Processors for this job alone; 0: it shares what there is.",
        ),
        click.option(
            "--host-memory-mib",
            type=click.IntRange(0, 1 << 30),
            default=0,
            help="Memory that must be free for it (default: what the limits need).",
        ),
    ):
        command = option(command)
    return command


def placement(
    *,
    host_memory_mib: int,
    host_cpus: int,
    host_labels: dict[str, str],
    dedicated: bool,
) -> Placement | None:
    """What these options ask for; None: nothing beyond what the limits need."""
    asked = Placement(
        memory_bytes=host_memory_mib * _MIB,
        cpus=host_cpus,
        labels=host_labels,
        dedicated=dedicated,
    )
    return None if asked == Placement() else asked
