"""`atoll admission list|revoke|reinstate`: who may not be on the bus."""

from pathlib import Path
from typing import Any, TypeVar

import click

from atoll.errors import InputError
from atoll.wire import endpoints, schema
from atoll.wire.admission_messages import (
    ReinstateRequest,
    Revocations,
    RevocationsRequest,
    RevokedKind,
    RevokeRequest,
)
from atoll_cli.operating import ask, deployment_option, operating
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import moment, table

T = TypeVar("T")
_KINDS = click.Choice([kind.value for kind in RevokedKind])


@click.group()
def admission() -> None:
    """Turn enclaves away: by enclave, host, chip, measurement or policy."""


@admission.command()
@click.argument("kind", type=_KINDS)
@click.argument("name", metavar="ID")
@click.option("--reason", required=True, help="Why; it is shown and logged.")
@deployment_option
@json_option
@pass_session
def revoke(session: Session, kind: str, name: str, reason: str, data_dir: Path | None) -> None:
    """Turn away every enclave whose KIND is ID, and end the connections they have.

    The id of a policy is its digest. It holds until `reinstate`.
    """
    request = _legal(RevokeRequest(kind=RevokedKind(kind), id=name, reason=reason))

    async def run() -> Revocations:
        async with operating(session, data_dir) as bus:
            return await ask(bus, endpoints.REVOKE, request)

    said = run_stoppable(run())
    session.print(f"{kind} {name} is turned away; {said.ended} connections ended")
    session.document(_document(said))


@admission.command()
@click.argument("kind", type=_KINDS)
@click.argument("name", metavar="ID")
@deployment_option
@json_option
@pass_session
def reinstate(session: Session, kind: str, name: str, data_dir: Path | None) -> None:
    """Take a revocation back; one that is not there is no error."""
    request = _legal(ReinstateRequest(kind=RevokedKind(kind), id=name))

    async def run() -> Revocations:
        async with operating(session, data_dir) as bus:
            return await ask(bus, endpoints.REINSTATE, request)

    said = run_stoppable(run())
    session.print(f"{kind} {name} is not turned away")
    session.document(_document(said))


@admission.command(name="list")
@deployment_option
@json_option
@pass_session
def list_(session: Session, data_dir: Path | None) -> None:
    """Show what is revoked, the newest first."""

    async def run() -> Revocations:
        async with operating(session, data_dir) as bus:
            return await ask(bus, endpoints.REVOCATIONS, RevocationsRequest())

    said = run_stoppable(run())
    rows = [
        (each.kind.value, each.id, moment(each.revoked_ms), each.reason)
        for each in said.revocations
    ]
    for line in table(rows, indent=""):
        session.print(line)
    if not rows:
        session.say("nothing is revoked")
    session.document(_document(said))


def _legal(request: T) -> T:
    try:
        return schema.decode(type(request), schema.encode(request))
    except InputError as error:
        raise click.UsageError(error.message) from error


def _document(said: Revocations) -> dict[str, Any]:
    return {
        "ended": said.ended,
        "revocations": [
            {
                "kind": each.kind.value,
                "id": each.id,
                "reason": each.reason,
                "revoked": moment(each.revoked_ms),
            }
            for each in said.revocations
        ],
    }
