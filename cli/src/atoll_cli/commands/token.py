"""`atoll token create|list|show|revoke|check`: access tokens of the HTTP gateway."""

import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from atoll.client.files import read_private
from atoll.client.profile import ProfileFile
from atoll.errors import InputError
from atoll.wire import endpoints, schema
from atoll.wire.access import (
    DEFAULT_TENANT,
    AccessRole,
    AccessToken,
    CreateTokenRequest,
    TokenListRequest,
    TokenRequest,
    TokenView,
)
from atoll_cli import http_asking
from atoll_cli.operating import ask, deployment_option, operating
from atoll_cli.options import DURATION, FILE, TokenType, json_option, pass_session
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import table

TENANT: Final = TokenType("tenant")
_DAY_S: Final = 86_400
_MAX_LABEL: Final = 80
_MAX_TOKEN: Final = 256
_MAX_CA: Final = 65_536


class IdType(click.ParamType[str]):
    """A token's id, or a whole token, of which only the id is taken."""

    name = "token"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            if text.startswith("atoll_"):
                return AccessToken.parse(text).id
            return schema.from_plain(TokenRequest, {"token_id": text}, json=True).token_id
        except InputError:
            self.fail("want a token's id, 12 letters and digits", param, ctx)


ID: Final = IdType()


@click.group()
def token() -> None:
    """Access tokens of the HTTP gateway. They are the operator's to give."""


@token.command()
@click.option("--tenant", metavar="TENANT", type=TENANT, default=DEFAULT_TENANT, show_default=True)
@click.option(
    "--role",
    "roles",
    type=click.Choice([role.value for role in AccessRole]),
    multiple=True,
    required=True,
    help="viewer reads, submitter submits too, operator may all and sees all tenants.",
)
@click.option("--expires", metavar="TIME", type=DURATION, help="30d, 12h, ...; default: never.")
@click.option("--name", metavar="TEXT", default="", help="For whom or for what.")
@deployment_option
@json_option
@pass_session
def create(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    tenant: str,
    roles: tuple[str, ...],
    expires: int | None,
    name: str,
    data_dir: Path | None,
) -> None:
    """Make a token and print it, once.

    Its secret is drawn here and stays with you: gateway and bus get its SHA-256.
    """
    if len(name) > _MAX_LABEL or not name.isprintable():
        raise click.BadParameter(f"want up to {_MAX_LABEL} printable characters", param_hint="name")
    made = AccessToken.generate(secrets.token_bytes)
    request = CreateTokenRequest(
        token_id=made.id,
        digest=made.digest,
        tenant=tenant,
        roles=tuple(AccessRole(role) for role in dict.fromkeys(roles)),
        name=name,
        lifetime_s=expires,
    )

    async def work() -> TokenView:
        async with operating(session, data_dir) as bus:
            return await ask(bus, endpoints.CREATE_TOKEN, request)

    view = run_stoppable(work())
    session.print(made.text)
    session.say("keep it: it is not shown again")
    session.document({"token": made.text, **_document(view)})


@token.command(name="list")
@click.option("--tenant", metavar="TENANT", type=TENANT, help="Only those of this tenant.")
@deployment_option
@json_option
@pass_session
def list_(session: Session, tenant: str | None, data_dir: Path | None) -> None:
    """List all tokens, the newest first."""

    async def work() -> tuple[TokenView, ...]:
        async with operating(session, data_dir) as bus:
            return (await ask(bus, endpoints.LIST_TOKENS, TokenListRequest(tenant=tenant))).tokens

    found = run_stoppable(work())
    for line in table([_row(view) for view in found], indent=""):
        session.print(line)
    if not found:
        session.say("no tokens")
    session.document({"tokens": [_document(view) for view in found]})


@token.command()
@click.argument("token_id", metavar="TOKEN", type=ID)
@deployment_option
@json_option
@pass_session
def show(session: Session, token_id: str, data_dir: Path | None) -> None:
    """Show one TOKEN, by its id."""

    async def work() -> TokenView:
        async with operating(session, data_dir) as bus:
            return await ask(bus, endpoints.GET_TOKEN, TokenRequest(token_id=token_id))

    _show(session, run_stoppable(work()))


@token.command()
@click.argument("token_id", metavar="TOKEN", type=ID)
@deployment_option
@json_option
@pass_session
def revoke(session: Session, token_id: str, data_dir: Path | None) -> None:
    """Refuse TOKEN from now on, at every gateway, for good. It ends its event streams too."""

    async def work() -> TokenView:
        async with operating(session, data_dir) as bus:
            return await ask(bus, endpoints.REVOKE_TOKEN, TokenRequest(token_id=token_id))

    _show(session, run_stoppable(work()))


@token.command()
@click.option("--url", metavar="URL", help="The gateway (default: the profile's).")
@click.option("--ca", metavar="PEM", type=FILE, help="Whom to trust (default: the profile's).")
@click.option(
    "--token-file", metavar="FILE", type=FILE, help="Holds the token (default: the profile's)."
)
@json_option
@pass_session
def check(session: Session, url: str | None, ca: Path | None, token_file: Path | None) -> None:
    """Ask the gateway, over HTTP, whose token this is and what it may."""
    if url is None or token_file is None:
        profile = ProfileFile(session.home).load()
        url, text, pem = url or profile.http_url, profile.http_token, profile.http_ca
    else:
        text, pem = "", ""
    if token_file is not None:
        text = read_private(token_file, limit=_MAX_TOKEN).decode("latin-1").strip()
    if ca is not None:
        pem = read_private(ca, limit=_MAX_CA).decode("latin-1")
    shown = AccessToken.parse(text).text
    plain = http_asking.get(url, "/v1/token", token=shown, ca=pem)
    _show(session, schema.from_plain(TokenView, plain, json=True))


def _show(session: Session, view: TokenView) -> None:
    document = _document(view)
    for key, value in document.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        session.print(f"{key:<11}{shown or '-'}")
    session.document(document)


def _row(view: TokenView) -> tuple[str, ...]:
    document = _document(view)
    return (
        view.token_id,
        document["state"],
        view.tenant,
        ",".join(document["roles"]),
        document["expires"] or "never expires",
        document["last_used"] or "not used yet",
        view.name,
    )


def _document(view: TokenView) -> dict[str, Any]:
    used = _date(view.used_day * _DAY_S)[:10] if view.used_day else None
    return {
        "token_id": view.token_id,
        "state": _state(view),
        "tenant": view.tenant,
        "roles": [role.value for role in view.roles],
        "name": view.name,
        "created": _date(view.created_ms // 1000),
        "expires": None if view.expires_ms is None else _date(view.expires_ms // 1000),
        "last_used": used,
    }


def _state(view: TokenView) -> str:
    if view.disabled:
        return "revoked"
    expired = view.expires_ms is not None and view.expires_ms <= time.time() * 1000
    return "expired" if expired else "live"


def _date(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
