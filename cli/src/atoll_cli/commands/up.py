"""`atoll up`: the embedded stack, in the foreground."""

from pathlib import Path
from typing import Final

import click

from atoll.client.files import read_private
from atoll.errors import InputError
from atoll.wire.tee import Tee
from atoll_cli.nats_server import DEFAULT_SYNC, SYNC
from atoll_cli.network_options import egress_rules
from atoll_cli.options import FILE, json_option, pass_session
from atoll_cli.placement_options import labels as labels_of
from atoll_cli.session import Session
from atoll_cli.stack import address

MAX_CA = 65_536

DRIVERS: Final = ("process", "docker", "libvirt")
TEES: Final = (Tee.SIMULATED.value, Tee.VTPM.value)


def _address(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            address.parse(value)
        except InputError as error:
            raise click.BadParameter(error.message) from error
    return value


def _sync(_: click.Context, __: click.Parameter, value: str) -> str:
    if not SYNC.fullmatch(value):
        raise click.BadParameter(f"{value!r}: want always, or a time such as 30s or 2m")
    return value


@click.command()
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where everything durable is kept (default: `stack` in ATOLL_HOME).",
)
@click.option("--http", metavar="ADDR", callback=_address, help="HOST:PORT of the HTTP API.")
@click.option("--http-cert", metavar="PEM", type=FILE, help="Certificate chain of the HTTP API.")
@click.option("--http-key", metavar="PEM", type=FILE, help="Its key, mode 0600.")
@click.option(
    "--http-ca", metavar="PEM", type=FILE, help="Who signed it; for the profile, if not the system."
)
@click.option(
    "--http-insecure",
    is_flag=True,
    help="HTTP without TLS outside loopback: only behind something that ends TLS.",
)
@click.option("--nats", metavar="ADDR", callback=_address, help="HOST:PORT of the bus.")
@click.option(
    "--slots",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Enclaves that may run at a time.",
)
@click.option(
    "--warm",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    help="Enclaves that wait started for jobs, as far as slots are free.",
)
@click.option(
    "--label",
    "labels",
    metavar="NAME=VALUE",
    multiple=True,
    callback=labels_of,
    help="What to say of this host; jobs may ask for it.",
)
@click.option(
    "--egress",
    metavar="HOST:PORT",
    multiple=True,
    callback=egress_rules,
    help="Where jobs of this host may connect to, if their manifests say so; *.SUFFIX:PORT for all "
    "names below one. Repeatable (default: nowhere).",
)
@click.option(
    "--sync",
    metavar="always|TIME",
    callback=_sync,
    default=DEFAULT_SYNC,
    show_default=True,
    help="When what the bus acknowledged is forced to the disk: each time, or every 30s, 2m, ...",
)
@click.option(
    "--docker",
    metavar="ADDR",
    help="unix:///PATH of the container engine for the kind docker "
    "(default: unix:///var/run/docker.sock).",
)
@click.option(
    "--driver",
    type=click.Choice(DRIVERS),
    default="process",
    show_default=True,
    help="What enclaves are: processes, or containers or virtual machines of --image.",
)
@click.option(
    "--image",
    metavar="PATH|DIGEST",
    help="For --driver docker and libvirt: a folder of `atoll image build`; for docker also an "
    "archive of an image, or the digest of one that the engine has.",
)
@click.option(
    "--tee",
    type=click.Choice(TEES),
    default="simulated",
    show_default=True,
    help="What enclaves make evidence with; vtpm, a TPM of this host's, for --driver libvirt.",
)
@json_option
@pass_session
def up(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    data_dir: Path | None,
    http: str | None,
    http_cert: Path | None,
    http_key: Path | None,
    http_ca: Path | None,
    http_insecure: bool,  # noqa: FBT001 - as click passes it
    nats: str | None,
    slots: int,
    warm: int,
    labels: dict[str, str],
    egress: tuple[str, ...],
    sync: str,
    docker: str | None,
    driver: str,
    image: str | None,
    tee: str,
) -> int:
    """Start bus, gateway, attestor and manager, and write the profile that finds them.

    Stops cleanly on SIGINT and SIGTERM; started again on the same directory, nothing is lost.
    With --json the one document is written when the stack is ready.
    """
    if (driver != "process") != bool(image):
        raise click.UsageError("--driver docker and libvirt need --image, and nothing else does")
    if tee == "vtpm" and driver != "libvirt":
        raise click.UsageError("--tee vtpm needs --driver libvirt")
    # Not at the top: it brings in what makes a simulated TEE, which no other command needs.
    from atoll_cli.stack.enclaves import Enclaves  # noqa: PLC0415
    from atoll_cli.stack.up import UpOptions, run_up  # noqa: PLC0415

    options = UpOptions(
        home=session.home,
        data_dir=data_dir or session.home / "stack",
        http=http,
        http_cert=http_cert,
        http_key=http_key,
        http_ca="" if http_ca is None else read_private(http_ca, limit=MAX_CA).decode("latin-1"),
        http_insecure=http_insecure,
        nats=nats,
        slots=slots,
        warm=warm,
        labels=labels,
        egress=egress,
        sync=sync,
        docker=docker,
        enclaves=Enclaves(driver=driver, image=image or "", tee=Tee(tee)),
        as_json=session.as_json,
    )
    return run_up(options, session.env)
