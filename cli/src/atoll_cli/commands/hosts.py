"""`atoll hosts list|show|drain|resume|probe`: the machines that start enclaves, and which may.

`atoll hosts selftest` is in `selftest`.
"""

import asyncio
import platform
from pathlib import Path
from typing import Any, Final

import click

from atoll.errors import NotFoundError, UnreachableError
from atoll.wire import endpoints
from atoll.wire.hosts import HostOrder, HostOrderRequest, HostRecord, HostState, HostWish
from atoll_cli.lazy import LazyGroup
from atoll_cli.operating import ask, deployment_option, operating
from atoll_cli.options import TokenType, json_option, pass_session
from atoll_cli.remote import Remote, connected
from atoll_cli.session import Session
from atoll_cli.show import plain_of
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import printable, size, table
from atoll_manager.libvirt.connection import SYSTEM
from atoll_manager.probing import asking

HOST: Final = TokenType("host")
POLL_S: Final = 0.5


@click.group(cls=LazyGroup, lazy={"selftest": "atoll_cli.commands.selftest:selftest"})
def hosts() -> None:
    """Hosts of this stack: what they have, what runs there, whether they take new jobs."""


@hosts.command(name="list")
@json_option
@pass_session
def list_(session: Session) -> None:
    """List the hosts that live."""

    async def look() -> tuple[HostRecord, ...]:
        async with connected(session) as remote:
            return await remote.client.hosts()

    found = run_stoppable(look())
    rows = [
        (
            host.host_id,
            host.state.value,
            f"{host.busy} of {host.slots} slots busy",
            ", ".join(tee.value for tee in host.tees),
            f"{host.taken_cpus} of {host.cpus} CPUs",
            f"{size(host.taken_bytes)} of {size(host.memory_bytes)} claimed",
            _labels(host),
            _tenants(host),
        )
        for host in found
    ]
    for line in table(rows, indent=""):
        session.print(line)
    if not found:
        session.say("no hosts")
    session.document({"hosts": [plain_of(host) for host in found]})


@hosts.command()
@click.argument("host", type=HOST)
@json_option
@pass_session
def show(session: Session, host: str) -> None:
    """Show one HOST, and the order that stands for it."""

    async def look() -> tuple[HostRecord | None, HostOrder | None]:
        async with connected(session) as remote:
            return await _look(remote, host)

    record, order = run_stoppable(look())
    _show(session, host, record, order)


@hosts.command()
@click.argument("host", type=HOST)
@click.option("--now", is_flag=True, help="Hand back what runs; it begins again elsewhere.")
@click.option("--reason", default="", help="For other operators.")
@click.option("--wait", is_flag=True, help="Return when nothing runs there any more.")
@deployment_option
@json_option
@pass_session
def drain(  # noqa: PLR0917 - one parameter for each option
    session: Session,
    host: str,
    now: bool,  # noqa: FBT001
    reason: str,
    wait: bool,  # noqa: FBT001
    data_dir: Path | None,
) -> None:
    """Let HOST take no new job. The order stands until `resume`, also over restarts.

    Needs the operator's login, which is in the stack's data directory.
    """
    wish = HostWish.DRAIN_NOW if now else HostWish.DRAIN

    async def work() -> tuple[HostRecord | None, HostOrder | None]:
        await _order(session, data_dir, HostOrderRequest(host_id=host, wish=wish, reason=reason))
        async with connected(session) as remote:
            record, order = await _look(remote, host)
            while wait and record is not None and record.state is not HostState.DRAINED:
                await asyncio.sleep(POLL_S)
                record, order = await _look(remote, host)
            return record, order

    record, order = run_stoppable(work())
    if wait and record is None:
        raise UnreachableError(f"host {host} went away", code="host.gone")
    _show(session, host, record, order)


@hosts.command()
@click.argument("host", type=HOST)
@deployment_option
@json_option
@pass_session
def resume(session: Session, host: str, data_dir: Path | None) -> None:
    """Let HOST take jobs again. Needs the operator's login, as `drain` does."""

    async def work() -> tuple[HostRecord | None, HostOrder | None]:
        request = HostOrderRequest(host_id=host, wish=HostWish.ACTIVE)
        await _order(session, data_dir, request)
        async with connected(session) as remote:
            return await _look(remote, host)

    record, order = run_stoppable(work())
    _show(session, host, record, order)


@hosts.command()
@click.option("--libvirt-uri", default=SYSTEM, show_default=True, help="The libvirt to ask.")
@click.option(
    "--kernel",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Start this kernel to see whether it comes up under KVM.",
)
@click.option("--no-boot", is_flag=True, help="Start no guest; then KVM is not vouched for.")
@json_option
@pass_session
def probe(session: Session, libvirt_uri: str, kernel: Path | None, no_boot: bool) -> None:  # noqa: FBT001
    """Say what THIS machine can start enclaves in, and why not the rest.

    Needs no stack. Under KVM two small guests are started, for 30 seconds at most each.
    """
    found = run_stoppable(asking.probe(uri=libvirt_uri, kernel=kernel, boot=not no_boot))
    rows = [(it.name, "yes" if it.able else "no", printable(it.reason)) for it in found]
    for line in table(rows, indent=""):
        session.print(line)
    abilities = [{"name": it.name, "able": it.able, "reason": it.reason} for it in found]
    session.document({"host": platform.node(), "abilities": abilities})


async def _order(session: Session, data_dir: Path | None, request: HostOrderRequest) -> None:
    async with operating(session, data_dir) as bus:
        await ask(bus, endpoints.HOST_ORDER, request)


async def _look(remote: Remote, host: str) -> tuple[HostRecord | None, HostOrder | None]:
    """What the host says of itself, and what is wanted of it."""
    records = {record.host_id: record for record in await remote.client.hosts()}
    order = (await remote.client.host_orders()).get(host)
    if host not in records and order is None:
        raise NotFoundError(
            f"no host {host} is registered",
            code="host.not_found",
            hint="`atoll hosts list` names those that are",
        )
    return records.get(host), order


def _show(session: Session, host: str, record: HostRecord | None, order: HostOrder | None) -> None:
    document: dict[str, Any] = {
        "host_id": host,
        "host": None if record is None else plain_of(record),
        "order": None if order is None else plain_of(order),
    }
    rows = [("host_id", host)]
    if record is None:
        rows.append(("state", "away"))
    else:
        plain = plain_of(record)
        rows += [(name, str(plain[name])) for name in ("state", "machine", "instance", "version")]
        rows += [
            ("tees", ", ".join(tee.value for tee in record.tees)),
            ("slots", f"{record.busy} of {record.slots} busy"),
            ("warm", f"{record.warm} enclaves wait for a job"),
            ("cpus", f"{record.taken_cpus} of {record.cpus} claimed by jobs"),
            ("memory", f"{size(record.taken_bytes)} of {size(record.memory_bytes)} claimed"),
            ("keeps room for", record.keeps_room_for or "nothing"),
            ("labels", _labels(record)),
            ("lets out to", " ".join(record.egress) or "nowhere"),
            ("dedicated to", " ".join(record.tenants) or "nobody"),
            ("measurement", str(plain["measurement"])),
        ]
    if order is not None:
        said = f" ({order.reason})" if order.reason else ""
        rows.append(("order", printable(f"{order.wish.value}{said}")))
    for line in table(rows):
        session.print(line)
    session.document(document)


def _tenants(host: HostRecord) -> str:
    return f"for {' '.join(host.tenants)}" if host.tenants else ""


def _labels(host: HostRecord) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(host.labels.items()))
