"""`atoll webhook add|list|show|remove|test`."""

from pathlib import Path
from typing import Any

import click

from atoll.client.files import read_private
from atoll.errors import InputError, RefusedError
from atoll.wire import endpoints
from atoll.wire.webhooks import (
    WebhookAddRequest,
    WebhookListRequest,
    WebhookRequest,
    WebhookView,
)
from atoll_cli import show as shown
from atoll_cli.options import FILE, JOB, TokenType, json_option, pass_session
from atoll_cli.remote import connected
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import printable, table

_MAX_SECRET = 256
_WEBHOOK = TokenType("webhook")


@click.group()
def webhook() -> None:
    """Addresses that events are pushed to, signed."""


@webhook.command()
@click.argument("url")
@click.option(
    "--type",
    "types",
    metavar="TYPE",
    multiple=True,
    help="Only these, as `job.completed`; may stand several times (default: all).",
)
@click.option("--job", metavar="JOB", type=JOB, help="Only events of this job.")
@click.option(
    "--secret-file",
    metavar="FILE",
    type=FILE,
    help="Sign with the `whsec_...` in FILE (default: a new one, shown once).",
)
@json_option
@pass_session
def add(
    session: Session, url: str, types: tuple[str, ...], job: str | None, secret_file: Path | None
) -> None:
    """Push events from now on to URL, which is https and answers 2xx."""
    secret = None
    if secret_file is not None:
        try:
            secret = read_private(secret_file, limit=_MAX_SECRET).decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{secret_file} is not a secret", code="webhook.secret") from error
    request = WebhookAddRequest(url=url, types=types, job_id=job, secret=secret)
    reply: Any = _ask(session, endpoints.WEBHOOK_ADD, request, retry=False)
    for line in _lines(reply.webhook):
        session.print(line)
    session.print(f"secret  {reply.secret}")
    session.say("keep the secret: it is not shown again")
    session.document({**shown.plain_of(reply.webhook), "secret": reply.secret})


@webhook.command(name="list")
@json_option
@pass_session
def list_(session: Session) -> None:
    """List webhooks, the oldest first."""
    found: Any = _ask(session, endpoints.WEBHOOK_LIST, WebhookListRequest())
    rows = [
        (item.webhook_id, item.disabled or "active", printable(item.url)) for item in found.webhooks
    ]
    for line in table(rows, indent=""):
        session.print(line)
    if not rows:
        session.say("no webhooks")
    session.document(shown.plain_of(found))


@webhook.command()
@click.argument("webhook_id", metavar="WEBHOOK", type=_WEBHOOK)
@json_option
@pass_session
def show(session: Session, webhook_id: str) -> None:
    """Show one WEBHOOK."""
    _print(session, _ask(session, endpoints.WEBHOOK_GET, WebhookRequest(webhook_id=webhook_id)))


@webhook.command()
@click.argument("webhook_id", metavar="WEBHOOK", type=_WEBHOOK)
@json_option
@pass_session
def remove(session: Session, webhook_id: str) -> None:
    """Push nothing to WEBHOOK any more; what waits for it is dropped."""
    _print(session, _ask(session, endpoints.WEBHOOK_REMOVE, WebhookRequest(webhook_id=webhook_id)))


@webhook.command()
@click.argument("webhook_id", metavar="WEBHOOK", type=_WEBHOOK)
@json_option
@pass_session
def test(session: Session, webhook_id: str) -> None:
    """Call WEBHOOK once, now, with an event `atoll.webhook.test.v1`."""
    request = WebhookRequest(webhook_id=webhook_id)
    reply: Any = _ask(session, endpoints.WEBHOOK_TEST, request, retry=False)
    if reply.error or not 200 <= reply.status < 300:  # noqa: PLR2004
        session.known.update(shown.plain_of(reply))
        raise RefusedError(
            f"the webhook did not take the event: {reply.error or f'status {reply.status}'}",
            code=reply.error or "webhook.status",
        )
    session.print(f"taken, status {reply.status}")
    session.document(shown.plain_of(reply))


def _ask(session: Session, row: Any, request: object, *, retry: bool = True) -> Any:
    async def ask() -> Any:
        async with connected(session) as remote:
            return await remote.client.ask(row, request, retry=retry)

    return run_stoppable(ask())


def _print(session: Session, view: WebhookView) -> None:
    for line in _lines(view):
        session.print(line)
    session.document(shown.plain_of(view))


def _lines(view: WebhookView) -> list[str]:
    plain = shown.plain_of(view)
    plain["types"] = ", ".join(plain["types"]) or "all"
    return table([(name, printable(str(value))) for name, value in plain.items() if value])
