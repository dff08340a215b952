"""`atoll keys new|import|protect|unprotect|show|list`."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from atoll.client.files import read_private
from atoll.identity import PartyKeys, PartyPublic
from atoll.sealing.imported_key import MAX_PEM, is_encrypted_pem, signing_key_from_pem
from atoll.sealing.public_key import ED25519_SIZE
from atoll_cli.options import FILE, KEY_NAME, json_option, pass_session, passphrase_file_option
from atoll_cli.session import Session, passphrase_in, typed_passphrase
from atoll_cli.text import table

F = TypeVar("F", bound=Callable[..., Any])

_CLEAR: Final = "in the clear, mode 0600"


def _new_passphrase_options(command: F) -> F:
    asked = click.option(
        "--passphrase", is_flag=True, help="Encrypt the file; ask for the passphrase twice."
    )
    named = click.option(
        "--passphrase-file",
        metavar="FILE",
        type=FILE,
        help="Encrypt the file; the passphrase is the one line of FILE.",
    )
    return asked(named(command))


@click.group()
def keys() -> None:
    """Identity keys: one signs manifests and releases, one opens results."""


@keys.command()
@click.argument("name", type=KEY_NAME)
@_new_passphrase_options
@json_option
@pass_session
def new(
    session: Session,
    name: str,
    passphrase: bool,  # noqa: FBT001
    passphrase_file: Path | None,
) -> None:
    """Make the keys NAME. Existing ones are never replaced."""
    store = session.keys()
    made = store.new(name, _new_passphrase(session, name, passphrase, passphrase_file))
    session.say(f"made {store.path(name)} (mode 0600); keep it, and keep it secret")
    _show(session, made.public)


@keys.command(name="import")
@click.argument("name", type=KEY_NAME)
@click.argument("pem", type=FILE)
@click.option(
    "--pem-passphrase-file",
    metavar="FILE",
    type=FILE,
    help="The passphrase that PEM is encrypted under (default: ask).",
)
@_new_passphrase_options
@json_option
@pass_session
def import_(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    name: str,
    pem: Path,
    pem_passphrase_file: Path | None,
    passphrase: bool,  # noqa: FBT001
    passphrase_file: Path | None,
) -> None:
    """Keep the private key in PEM as the signing key of NAME, beside a fresh key for results.

    Taken are Ed25519, ECDSA on P-256 or P-384 and RSA of 2048 to 4096 bits, as PKCS#8, PKCS#1 or
    SEC 1, encrypted or not. The file PEM stays as it is.
    """
    raw = read_private(pem, limit=MAX_PEM)
    opened_by = None
    if pem_passphrase_file is not None:
        opened_by = passphrase_in(pem_passphrase_file)
    elif is_encrypted_pem(raw):
        opened_by = typed_passphrase(str(pem), hint="--pem-passphrase-file names a file with it")
    made = PartyKeys.imported(name, signing_key_from_pem(raw, opened_by), secrets.token_bytes)
    kept_under = _new_passphrase(session, name, passphrase, passphrase_file)
    store = session.keys()
    store.add(made, kept_under)
    how = _CLEAR if kept_under is None else "encrypted"
    session.say(f"made {store.path(name)} ({how}); keep it, and keep it secret")
    _show(session, made.public)


@keys.command()
@click.argument("name", type=KEY_NAME)
@passphrase_file_option
@json_option
@pass_session
def protect(session: Session, name: str) -> None:
    """Encrypt the file of NAME under a passphrase, which nobody can restore.

    The file in the clear is replaced; what the disk or a backup keeps of it is not.
    """
    store = session.keys()
    public = store.protect(name, lambda: session.passphrase(f"the key {name}", again=True))
    session.say(f"{store.path(name)} is encrypted now")
    _show(session, public)


@keys.command()
@click.argument("name", type=KEY_NAME)
@passphrase_file_option
@json_option
@pass_session
def unprotect(session: Session, name: str) -> None:
    """Take the passphrase off the file of NAME."""
    store = session.keys()
    public = store.unprotect(name)
    session.say(f"{store.path(name)} is {_CLEAR} now")
    _show(session, public)


@keys.command()
@click.argument("name", type=KEY_NAME)
@json_option
@pass_session
def show(session: Session, name: str) -> None:
    """Show the public keys and the fingerprint of NAME. Needs no passphrase."""
    _show(session, session.keys().public(name))


@keys.command(name="list")
@json_option
@pass_session
def list_(session: Session) -> None:
    """List all keys. Needs no passphrase."""
    store = session.keys()
    found = [(store.public(name), store.is_protected(name)) for name in store.names()]
    for line in table(
        (public.name, public.fingerprint, public.algorithm, _protection(protected))
        for public, protected in found
    ):
        session.print(line)
    if not found:
        session.say("no keys; `atoll keys new NAME` makes some")
    session.document(
        {
            "keys": [
                {
                    "name": public.name,
                    "fingerprint": public.fingerprint,
                    "algorithm": public.algorithm,
                    "protected": protected,
                }
                for public, protected in found
            ]
        }
    )


def _new_passphrase(
    session: Session,
    name: str,
    ask: bool,  # noqa: FBT001
    file: Path | None,
) -> bytes | None:
    """What a new file is to be encrypted under, or None."""
    if ask and file is not None:
        raise click.UsageError("--passphrase and --passphrase-file exclude each other")
    if file is not None:
        return passphrase_in(file)
    return session.passphrase(f"the new key {name}", again=True) if ask else None


def _protection(protected: bool) -> str:  # noqa: FBT001
    return "passphrase" if protected else "in the clear"


def _show(session: Session, public: PartyPublic) -> None:
    protected = session.keys().is_protected(public.name)
    key = public.signing_key.hex()
    if len(public.signing_key) != ED25519_SIZE:
        key = f"{len(public.signing_key)} bytes (--json shows it)"
    rows = (
        ("name", public.name),
        ("fingerprint", public.fingerprint),
        ("signing key", f"{public.algorithm}, {key}"),
        ("HPKE key", f"X-Wing, {len(public.hpke_key)} bytes (--json shows it)"),
        ("private file", _protection(protected)),
    )
    for line in table(rows, indent=""):
        session.print(line)
    session.document(
        {
            "name": public.name,
            "fingerprint": public.fingerprint,
            "algorithm": public.algorithm,
            "signing_key": public.signing_key.hex(),
            "hpke_key": public.hpke_key.hex(),
            "protected": protected,
        }
    )
