"""`atoll provision`: streams, consumers and buckets on a bus that was set up by hand."""

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from atoll.bus import BusConfig, connect, login_from
from atoll.bus.provision import Copies, provision_all, wait_replicated
from atoll.wire import topology
from atoll.wire.durability import EXPENDABLE, REPLICAS, layout
from atoll_cli.deployment.identities import OPERATOR
from atoll_cli.options import TokenType, json_option, pass_session
from atoll_cli.session import Session

COPYING_S: Final = 300.0
CLUSTER_REPLICAS: Final = 3


@click.command()
@click.option(
    "--nats",
    "url",
    metavar="URL[,URL...]",
    required=True,
    help="Servers of the bus: nats://HOST:PORT or tls://HOST:PORT.",
)
@click.option(
    "--creds",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Who may make streams: a deployment's `bus/creds/operator.creds`.",
)
@click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="PEM roots for tls:// (default: the system's).",
)
@click.option("--domain", default="", help="JetStream domain, when connected through a leaf node.")
@click.option(
    "--replicas",
    type=click.Choice([str(count) for count in REPLICAS]),
    help="Copies of all but traces (default: 3 on a cluster, 1 on a single server).",
)
@click.option(
    "--tenant",
    "tenants",
    metavar="NAME",
    type=TokenType("tenant"),
    multiple=True,
    help="A tenant beside `main` that has a history of its own events here; repeat it.",
)
@click.option("--fewer-replicas", is_flag=True, help="Take copies away where there are more.")
@json_option
@pass_session
def provision(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    url: str,
    creds: Path,
    ca: str | None,
    domain: str,
    replicas: str | None,
    tenants: tuple[str, ...],
    fewer_replicas: bool,  # noqa: FBT001 - as above
) -> int:
    """Make every stream, consumer and bucket, or bring them up to date, on a running bus.

    Harmless to repeat, also under load: replicas are added to streams in use, and the command
    returns when every copy has everything. `atoll up` does this for the bus that it brings along.
    """
    config = BusConfig(
        url=url,
        name="atoll provision",
        login=login_from(creds, OPERATOR),
        inbox_prefix=f"_INBOX_{OPERATOR}",
        tls_ca_file=ca,
        domain=domain,
    )
    found = asyncio.run(
        _provision(config, int(replicas) if replicas else None, tenants, fewer_replicas)
    )
    for copies in found:
        kept = "expendable" if copies.stream in EXPENDABLE else "ledger"
        led = f"  led by {copies.leader}" if copies.leader else ""
        session.print(f"{copies.stream:16} {kept:10} {copies.current} of {copies.replicas}{led}")
    session.document({"streams": [_plain(copies) for copies in found]})
    return 0


async def _provision(
    config: BusConfig,
    replicas: int | None,
    tenants: tuple[str, ...],
    fewer: bool,  # noqa: FBT001
) -> list[Copies]:
    async with connect(config) as bus:
        wanted = layout(replicas or (CLUSTER_REPLICAS if bus.clustered else 1), tenants)
        await provision_all(bus, wanted, fewer_replicas=fewer)
        names = (*stream_names(), *(topology.events_of(name).name for name in tenants))
        return [await wait_replicated(bus, name, timeout_s=COPYING_S) for name in names]


def stream_names() -> tuple[str, ...]:
    """Every stream, those below buckets included."""
    return (
        *(stream.name for stream in topology.STREAMS),
        *(f"KV_{bucket.name}" for bucket in topology.BUCKETS),
        *(f"OBJ_{bucket.name}" for bucket in topology.OBJECT_BUCKETS),
    )


def _plain(copies: Copies) -> dict[str, Any]:
    return {
        "stream": copies.stream,
        "expendable": copies.stream in EXPENDABLE,
        "leader": copies.leader or None,
        "replicas": copies.replicas,
        "current": copies.current,
    }
