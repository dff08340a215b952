"""A connection with one of the operator's logins, for commands that only the operator may give."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from atoll.bus import Bus, BusConfig, connect, login_from
from atoll.client.profile import Profile, ProfileFile
from atoll.wire import schema
from atoll.wire.endpoints import Endpoint
from atoll_cli.deployment.folder import Folder
from atoll_cli.deployment.identities import OPERATOR
from atoll_cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])
RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

TIMEOUT_S: Final = 10.0

creds_option = click.option(
    "--creds",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The operator's login (default: of the stack in ATOLL_HOME).",
)


@asynccontextmanager
async def operating(
    session: Session, creds: Path | None, login: str = OPERATOR
) -> AsyncIterator[Bus]:
    """Connect to the profile's bus.

    Raises:
        NotFoundError: `profile.missing`.
        ConfigError: `config.unreadable`, `creds.invalid`.
        AtollError: nobody answers, or the login is refused.
    """
    profile = ProfileFile(session.home).load()
    path = creds or Folder(session.home / "stack" / "bus").creds(login)
    async with connect(_config(profile, path, login)) as bus:
        yield bus


async def ask(bus: Bus, endpoint: Endpoint[RequestT, ReplyT], request: RequestT) -> ReplyT:
    """One request."""
    raw = await bus.request(
        endpoint.subject.of(), schema.encode(request), timeout_s=TIMEOUT_S, retry=True
    )
    return schema.decode(endpoint.reply, raw.payload)


def _config(profile: Profile, path: Path, login: str) -> BusConfig:
    return BusConfig(
        url=profile.nats_url,
        name=f"atoll as {login}",
        login=login_from(path, login),
        inbox_prefix=f"_INBOX_{login}",
        connect_timeout_s=5.0,
        tls_ca=profile.ca,
    )
