"""`atoll init`: everything a deployment is made of, as files."""

from datetime import UTC, datetime
from pathlib import Path

import click

from atoll_cli.options import TokenType, json_option, pass_session
from atoll_cli.session import Session


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    default=("localhost", "127.0.0.1"),
    show_default="localhost, 127.0.0.1",
    help="A name by which others connect; the first is written into settings. Repeat it.",
)
@click.option("--nats-port", type=click.IntRange(1, 65_535), default=4222, show_default=True)
@click.option("--http-port", type=click.IntRange(1, 65_535), default=8443, show_default=True)
@click.option(
    "--tenant",
    "tenants",
    metavar="NAME",
    type=TokenType("tenant"),
    multiple=True,
    help="A tenant beside the operator's own, `main`; repeat it. `atoll tenant` has more.",
)
@json_option
@pass_session
def init(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    directory: Path,
    hosts: tuple[str, ...],
    nats_port: int,
    http_port: int,
    tenants: tuple[str, ...],
) -> None:
    """Make a deployment in DIRECTORY: logins, certificates, server configuration, settings.

    Run again, it keeps every key and writes what follows from them anew, which is how an upgrade
    takes hold. All files are private. Keep a copy of DIRECTORY/bus/identities.json where nobody
    else can read it: who has it is the operator.
    """
    # Not at the top: it brings in what makes a simulated TEE, which no other command needs.
    from atoll_cli.deployment.standing import Standing  # noqa: PLC0415
    from atoll_cli.stack.material import Material  # noqa: PLC0415

    path = directory.absolute()
    standing = Standing(directory=path, hosts=hosts, nats_port=nats_port, http_port=http_port)
    material = Material.prepare(path, tenants)
    server = standing.write(material, now=datetime.now(UTC))
    ends = server.certificate.not_valid_after_utc.isoformat(timespec="seconds")
    session.print(f"deployment in {path}")
    session.print(f"  bus     {standing.nats_url}    nats-server -c {path / 'nats-server.conf'}")
    session.print(f"  http    {standing.http_url}")
    session.print(f"  tenants {', '.join(material.identities.tenants)}")
    session.print(f"  server certificate for {', '.join(hosts)}, until {ends}")
    session.document(
        {
            "directory": str(path),
            "nats": standing.nats_url,
            "http": standing.http_url,
            "hosts": list(hosts),
            "tenants": list(material.identities.tenants),
            "certificate_until": ends,
        }
    )
