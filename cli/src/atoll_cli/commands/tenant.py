"""`atoll tenant add|list|remove|profile`: who has an account of its own on the bus."""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from atoll.bus.provision import ensure_history, forget_history
from atoll.client.files import write_private
from atoll.client.profile import ProfileFile
from atoll_cli.deployment.folder import Folder
from atoll_cli.deployment.identities import SYSTEM, Identities
from atoll_cli.operating import deployment_option, operating
from atoll_cli.operating import folder as deployment_folder
from atoll_cli.options import TokenType, json_option, pass_session
from atoll_cli.pushing import push_all
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import table

NAME = TokenType("tenant")


@click.group()
def tenant() -> None:
    """Tenants: each has an account of its own on the bus. They are the operator's to make."""


@tenant.command()
@click.argument("name", type=NAME)
@deployment_option
@json_option
@pass_session
def add(session: Session, name: str, data_dir: Path | None) -> None:
    """Make the tenant NAME, and tell the running servers. Harmless to repeat."""
    folder = _change(session, data_dir, lambda known, _: known.with_tenant(name, _random))

    async def make() -> None:
        async with operating(session, data_dir) as bus:
            await ensure_history(bus, name)

    run_stoppable(make())
    path = folder.tenant_creds(name)
    session.print(f"tenant {name}")
    session.print(f"  login   {path}")
    session.print(f"  profile atoll tenant profile {name} --out FILE")
    session.document({"tenant": name, "login": str(path)})


@tenant.command(name="list")
@deployment_option
@json_option
@pass_session
def list_(session: Session, data_dir: Path | None) -> None:
    """List the tenants that there are, and that there were."""
    folder = deployment_folder(session, data_dir)
    known = folder.identities()
    rows = [
        *((name, each.account.public, "") for name, each in known.tenants.items()),
        *((name, each.account, "removed") for name, each in known.removed.items()),
    ]
    for line in table(rows, indent=""):
        session.print(line)
    session.document(
        {
            "tenants": [
                {"tenant": name, "account": account, "removed": bool(state)}
                for name, account, state in rows
            ]
        }
    )


@tenant.command()
@click.argument("name", type=NAME)
@deployment_option
@json_option
@pass_session
def remove(session: Session, name: str, data_dir: Path | None) -> None:
    """Take the tenant NAME its account. Its connections end, and nobody comes in by its login.

    What it did stays: jobs run on, results and records are kept as long as any. Its access
    tokens of the HTTP API are revoked apart (`atoll token`). The name is not given again.
    """
    _change(session, data_dir, lambda known, now: known.without_tenant(name, now=now))

    async def forget() -> None:
        async with operating(session, data_dir) as bus:
            await forget_history(bus, name)

    run_stoppable(forget())
    session.print(f"tenant {name} is removed")
    session.document({"tenant": name, "removed": True})


@tenant.command()
@click.argument("name", type=NAME)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where to write it: `profile.json` in the ATOLL_HOME of its people.",
)
@deployment_option
@json_option
@pass_session
def profile(session: Session, name: str, out: Path, data_dir: Path | None) -> None:
    """Write the profile by which the people of tenant NAME find this deployment. It is a secret.

    It has this profile's addresses, roots and policy, the tenant's login on the bus, and no token
    of the HTTP API.
    """
    known = deployment_folder(session, data_dir).identities().tenant(name)
    here = ProfileFile(session.home).load()
    login = known.credentials(now=int(time.time())).text
    made = replace(here, nats_creds=login, tenant=name, http_token="")
    write_private(out, made.to_bytes())
    session.print(f"profile of tenant {name} in {out}")
    session.document({"tenant": name, "profile": str(out)})


def _change(
    session: Session, data_dir: Path | None, change: Callable[[Identities, int], Identities]
) -> Folder:
    folder = deployment_folder(session, data_dir)
    now = int(time.time())
    before = folder.identities()
    after = change(before, now)
    folder.write(after, now=now)
    push_all(session, folder, after, before.credentials(SYSTEM, now=now))
    return folder


def _random(size: int) -> bytes:
    return secrets.token_bytes(size)
