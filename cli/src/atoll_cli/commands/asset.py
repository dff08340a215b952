"""`atoll asset put|list|show|delete`."""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from atoll.client import asset_upload
from atoll.client.asset_record import AssetRecord, address
from atoll.client.asset_source import Source, Survey, survey
from atoll.client.asset_store import AssetStore
from atoll.client.asset_upload import Put, PutOutcome, require_same
from atoll.client.files import write_private
from atoll.client.profile import ProfileFile
from atoll.errors import AtollError, InputError, RefusedError, UnreachableError
from atoll.wire.names import require_name
from atoll_cli import show as shown
from atoll_cli.meter import Meter
from atoll_cli.options import DEFAULT_KEY, KEY_NAME, NameType, json_option, pass_session
from atoll_cli.remote import connected
from atoll_cli.session import Session, error_document
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import printable, size, table

ASSET_NAME: Final = NameType("asset name")


@click.group()
def asset() -> None:
    """Assets that are sealed once, uploaded once, and used by any number of jobs."""


@asset.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", type=ASSET_NAME, help="What to call it (default: the name in PATH).")
@click.option(
    "--key", "key_name", metavar="NAME", type=KEY_NAME, default=DEFAULT_KEY, show_default=True,
    help="Whose asset it is.",
)  # fmt: skip
@click.option(
    "--public-digest", is_flag=True,
    help="Show its SHA-256 in the card: others can agree to exactly this content, or guess it.",
)  # fmt: skip
@click.option(
    "--replace", is_flag=True,
    help="Give up another asset of this name, with its keys and its sealed object.",
)  # fmt: skip
@json_option
@pass_session
def put(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    path: Path,
    name: str | None,
    key_name: str,
    public_digest: bool,  # noqa: FBT001
    replace: bool,  # noqa: FBT001
) -> None:
    """Seal PATH and upload it. A directory is sealed as its deterministic archive.

    After an interruption the same command goes on behind what is stored already. The content
    must be what it was: one key never seals two contents.
    """
    chosen = name or _name_in(path)
    store = AssetStore(session.home)
    remote = address(ProfileFile(session.home).load().nats_url)
    # A card with a name that has no key would be of no use.
    session.keys().public(key_name)
    source = Source(path)
    with store.locked(chosen):
        old = store.find(chosen)
        known = survey(source.pieces(), told=Meter(session=session, what="read").reached)
        record = old
        if old is not None:
            try:
                require_same(old, source, known, provider=key_name)
            except AtollError:
                if not replace:
                    raise
                record = None
        if record is None:
            record = AssetRecord.new(
                name=chosen,
                provider=key_name,
                kind=source.kind,
                size=known.size,
                sha256=known.sha256,
                public_digest=public_digest,
                remote=remote,
                created_ms=time.time_ns() // 1_000_000,
            )
        ended = run_stoppable(
            _put(
                session,
                store,
                old=old,
                record=record,
                source=source,
                known=known,
                public=public_digest,
                remote=remote,
            )
        )
    _show_put(session, ended)


async def _put(
    session: Session,
    store: AssetStore,
    *,
    old: AssetRecord | None,
    record: AssetRecord,
    source: Source,
    known: Survey,
    public: bool,
    remote: str,
) -> Put:
    async with connected(session) as there:
        if old is not None and old.asset_id != record.asset_id:
            await there.client.delete_asset(old.asset_id, old.upload_id)
        if record is not old:
            store.save(record)
        elif public and not record.public_digest:
            record = record.with_public_digest()
            store.save(record)
        session.known["asset_id"] = record.asset_id
        meter = Meter(session=session, what="stored", total=record.sealed_size)
        try:
            return await asset_upload.put(
                there.client,
                store,
                record,
                source,
                known,
                remote=remote,
                told=meter.reached_stoppable,
            )
        except UnreachableError as error:
            error.hint = error.hint or "the same command goes on where this one ended"
            raise


def _show_put(session: Session, ended: Put) -> None:
    record = ended.record
    match ended.outcome:
        case PutOutcome.PRESENT:
            session.say(f"{record.name} is stored already; nothing was sent")
        case PutOutcome.CONTINUED:
            session.say(
                f"{record.name} is stored: {size(ended.kept)} were there, {size(ended.sent)} sent"
            )
        case PutOutcome.UPLOADED:
            session.say(f"{record.name} is stored: {size(ended.sent)} sent")
    for line in _lines(record):
        session.print(line)
    session.document(
        {
            **_document(record),
            "outcome": ended.outcome.value,
            "kept_bytes": ended.kept,
            "sent_bytes": ended.sent,
        }
    )


@asset.command(name="list")
@json_option
@pass_session
def list_(session: Session) -> int:
    """List the assets whose keys are here. Asks nobody; exit status 1 if a record is damaged."""
    store = AssetStore(session.home)
    rows: list[tuple[str, ...]] = []
    documents: list[dict[str, Any]] = []
    damaged: list[dict[str, Any]] = []
    for name in store.names():
        try:
            record = store.load(name)
        except AtollError as error:
            damaged.append({"name": name, "error": error_document(error)})
            session.say(f"error: {printable(error.message)} [{error.code}]")
            continue
        rows.append(
            (name, record.kind.value, size(record.size), record.state.value, record.asset_id)
        )
        documents.append(_document(record))
    for line in table(rows, indent=""):
        session.print(line)
    if not rows and not damaged:
        session.say("no assets; `atoll asset put PATH` makes one")
    session.document({"assets": documents, "damaged": damaged})
    return 1 if damaged else 0


@asset.command()
@click.argument("name", type=ASSET_NAME)
@click.option(
    "--card",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what a manifest says of it to FILE; there is no secret in it.",
)
@json_option
@pass_session
def show(session: Session, name: str, card: Path | None) -> None:
    """Show the asset NAME, without its keys. Asks nobody."""
    record = AssetStore(session.home).load(name)
    for line in _lines(record):
        session.print(line)
    if card is not None:
        write_private(card, (json.dumps(record.card, indent=2) + "\n").encode())
        session.say(f"wrote {printable(str(card))}")
    session.document(_document(record))


@asset.command()
@click.argument("name", type=ASSET_NAME)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--local", is_flag=True, help="Only here; the sealed object stays where it is.")
@json_option
@pass_session
def delete(session: Session, name: str, yes: bool, local: bool) -> None:  # noqa: FBT001
    """Delete the asset NAME: its sealed object and its keys, which nobody can restore.

    Jobs that have not got their keys yet cannot use it any more.
    """
    store = AssetStore(session.home)
    if local:
        # A damaged record, too: that is what this is for.
        store.path(name)
    record = None if local else store.load(name)
    _confirm(name, yes=yes)
    with store.locked(name):
        gone, reason = (False, None) if record is None else _delete_there(session, record)
        store.remove(name)
    where = "the sealed object and the keys" if gone else "the keys"
    session.print(f"deleted {where} of {name}")
    if not gone:
        stays = "it was left alone" if local else printable(reason["message"] if reason else "")
        session.print(f"  only here: {stays or 'the bus had no sealed object'}")
    session.document(
        {
            "name": name,
            "asset_id": record.asset_id if record else None,
            "deleted_here": True,
            "deleted_there": gone,
            "reason": reason,
        }
    )


def _delete_there(session: Session, record: AssetRecord) -> tuple[bool, dict[str, Any] | None]:
    """Whether the sealed object was erased; if the bus does not let us, why.

    Raises:
        AtollError: no connection; nothing was deleted.
    """

    async def ask() -> tuple[bool, dict[str, Any] | None]:
        async with connected(session) as there:
            try:
                return await there.client.delete_asset(record.asset_id, record.upload_id), None
            except RefusedError as error:
                return False, error_document(error)

    try:
        return run_stoppable(ask())
    except AtollError as error:
        error.hint = (
            f"nothing was deleted; `atoll asset delete {record.name} --local` deletes the keys "
            "here, without which the sealed object is of no use"
        )
        raise


def _confirm(name: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            "there is no terminal to ask whether to delete; say --yes",
            ctx=click.get_current_context(),
        )
    if not click.confirm(f"delete {name} and its keys for good?", err=True):
        raise RefusedError(f"{name} was kept", code="asset.kept")


def _name_in(path: Path) -> str:
    try:
        return require_name(path.absolute().name, "asset name")
    except InputError as error:
        raise click.UsageError(
            f"{error.message}; choose one with --name", ctx=click.get_current_context()
        ) from error


def _lines(record: AssetRecord) -> list[str]:
    rows = [
        ("name", record.name),
        ("asset", record.asset_id),
        ("provider", record.provider),
        ("content", f"{record.kind.value}, {size(record.size)}, {size(record.sealed_size)} sealed"),
        ("sha256", f"{record.sha256} ({'public' if record.public_digest else 'not in the card'})"),
        ("commitment", record.ref.commitment),
        ("state", record.state.value),
        ("bus", record.remote),
    ]
    return table(rows, indent="")


def _document(record: AssetRecord) -> dict[str, Any]:
    """Everything but the secrets."""
    plain: dict[str, Any] = shown.plain_of(record)
    for secret in ("format", "version", "content_key", "salt", "prefix"):
        del plain[secret]
    return {**plain, "sealed_size": record.sealed_size, "card": record.card}
