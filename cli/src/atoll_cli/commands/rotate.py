"""`atoll rotate`: fresh keys for what has keys; and `atoll attest rotate-key`."""

import secrets
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import click

from atoll.client.files import read_private, write_private
from atoll.evidence.ear import MAX_LIFETIME_S
from atoll.evidence.ear_keys import MAX_RING, KeyRing
from atoll_cli.deployment.folder import KEY_RING
from atoll_cli.deployment.identities import LOGINS, SYSTEM, Identities
from atoll_cli.operating import deployment_option
from atoll_cli.operating import folder as deployment_folder
from atoll_cli.options import TokenType, json_option, pass_session
from atoll_cli.pushing import push_all, renew_profile
from atoll_cli.session import Session


@click.command(name="rotate-key")
@deployment_option
@json_option
@pass_session
def rotate_key(session: Session, data_dir: Path | None) -> None:
    """Give the attestor a fresh signing key.

    A running attestor uses it within seconds. The key before it signs nothing any more and
    stays published until what it signed has expired. Not to be called twice at the same time.
    """
    path = (data_dir or session.home / "stack") / KEY_RING
    ring = KeyRing.from_bytes(read_private(path, limit=MAX_RING))
    now = int(time.time())
    after = ring.rotated(secrets.token_bytes, now=now)
    write_private(path, after.to_bytes())
    session.print(f"{after.active.kid} signs from now on")
    published = [key.kid for key in after.published(now=now, ttl_s=MAX_LIFETIME_S)]
    for kid in published[1:]:
        session.print(f"{kid} is retired")
    session.document({"kid": after.active.kid, "retired": published[1:]})


@click.group()
def rotate() -> None:
    """Give fresh keys to logins, and to attestors for tickets and for results."""


@rotate.command()
@click.argument("logins", nargs=-1, type=click.Choice(LOGINS), required=True)
@deployment_option
@json_option
@pass_session
def login(session: Session, logins: tuple[str, ...], data_dir: Path | None) -> None:
    """Give LOGINS fresh keys. What they had no longer counts, and connections by it are ended.

    Services read their files when they connect again, which they do by themselves.
    """
    _rotate(
        session,
        data_dir,
        lambda known, now: reduce(
            lambda made, name: made.rotated(name, secrets.token_bytes, now=now), logins, known
        ),
        list(logins),
    )


@rotate.command()
@click.argument("names", metavar="NAME...", nargs=-1, type=TokenType("tenant"), required=True)
@deployment_option
@json_option
@pass_session
def tenant(session: Session, names: tuple[str, ...], data_dir: Path | None) -> None:
    """Give the clients of tenants fresh keys. Copies of what they had no longer count, and
    connections by it are ended.

    Clients need the new profile (`atoll tenant profile`).
    """
    _rotate(
        session,
        data_dir,
        lambda known, now: reduce(
            lambda made, name: made.with_rotated_tenant(name, secrets.token_bytes, now=now),
            names,
            known,
        ),
        list(names),
    )


@rotate.command()
@deployment_option
@json_option
@pass_session
def door(session: Session, data_dir: Path | None) -> None:
    """Give the attestors fresh keys to admit enclaves with.

    Running attestors use them within seconds; until then, nobody is admitted. Enclaves that are
    connected stay, and ask for admission anew when their ticket is half over.
    """
    _rotate(
        session,
        data_dir,
        lambda known, _: known.with_fresh_signers(secrets.token_bytes),
        ["door keys"],
    )


@rotate.command()
@deployment_option
@json_option
@pass_session
def push(session: Session, data_dir: Path | None) -> None:
    """Tell the servers again what the deployment's files say of its accounts."""
    folder = deployment_folder(session, data_dir)
    push_all(session, folder, folder.identities())
    session.document({"rotated": []})


rotate.add_command(rotate_key, name="attestor-key")


def _rotate(
    session: Session,
    data_dir: Path | None,
    change: Callable[[Identities, int], Identities],
    what: list[str],
) -> None:
    folder = deployment_folder(session, data_dir)
    now = int(time.time())
    before = folder.identities()
    # The login by which servers are told must be one that they still believe.
    system = before.credentials(SYSTEM, now=now)
    after = change(before, now)
    folder.write(after, now=now)
    renew_profile(session, before, after, now)
    push_all(session, folder, after, system)
    session.print(f"rotated: {', '.join(what)}")
    session.document({"rotated": what})
