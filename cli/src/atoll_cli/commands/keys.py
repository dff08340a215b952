"""`atoll keys new|show|list`."""

import click

from atoll.client.keystore import KeyStore
from atoll.identity import PartyPublic
from atoll_cli.options import KEY_NAME, json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.text import table


@click.group()
def keys() -> None:
    """Identity keys: one signs manifests and releases, one opens results."""


@keys.command()
@click.argument("name", type=KEY_NAME)
@json_option
@pass_session
def new(session: Session, name: str) -> None:
    """Make the keys NAME. Existing ones are never replaced."""
    store = KeyStore(session.home)
    made = store.new(name)
    session.say(f"made {store.path(name)} (mode 0600); keep it, and keep it secret")
    _show(session, made.public)


@keys.command()
@click.argument("name", type=KEY_NAME)
@json_option
@pass_session
def show(session: Session, name: str) -> None:
    """Show the public keys and the fingerprint of NAME."""
    _show(session, KeyStore(session.home).load(name).public)


@keys.command(name="list")
@json_option
@pass_session
def list_(session: Session) -> None:
    """List all keys."""
    store = KeyStore(session.home)
    found = [store.load(name).public for name in store.names()]
    for line in table((public.name, public.fingerprint) for public in found):
        session.print(line)
    if not found:
        session.say("no keys; `atoll keys new NAME` makes some")
    session.document(
        {"keys": [{"name": item.name, "fingerprint": item.fingerprint} for item in found]}
    )


def _show(session: Session, public: PartyPublic) -> None:
    rows = (
        ("name", public.name),
        ("fingerprint", public.fingerprint),
        ("signing key", public.signing_key.hex()),
        ("HPKE key", f"X-Wing, {len(public.hpke_key)} bytes (--json shows it)"),
    )
    for line in table(rows, indent=""):
        session.print(line)
    session.document(
        {
            "name": public.name,
            "fingerprint": public.fingerprint,
            "signing_key": public.signing_key.hex(),
            "hpke_key": public.hpke_key.hex(),
        }
    )
