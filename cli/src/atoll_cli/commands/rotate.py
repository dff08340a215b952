"""`atoll attest rotate-key`."""

import secrets
import time
from pathlib import Path

import click

from atoll.client.files import read_private, write_private
from atoll.evidence.ear import MAX_LIFETIME_S
from atoll.evidence.ear_keys import MAX_RING, KeyRing
from atoll_cli.options import json_option, pass_session
from atoll_cli.session import Session

KEY_RING = "attestor-keys.json"
"""As `atoll_cli.stack.material` names it in a data directory."""


@click.command(name="rotate-key")
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The stack's data directory (default: `stack` in ATOLL_HOME).",
)
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
