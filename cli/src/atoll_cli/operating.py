"""The bus as the operator sees it, by the login in a deployment's directory."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from atoll.bus import Bus, BusConfig, connect, in_force, login_from
from atoll.client.profile import ProfileFile
from atoll.errors import NotFoundError
from atoll.wire import level, schema
from atoll.wire.endpoints import Endpoint
from atoll_cli.deployment.folder import Folder
from atoll_cli.deployment.identities import OPERATOR
from atoll_cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])
RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

TIMEOUT_S: Final = 10.0

deployment_option = click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The deployment's directory (default: `stack` in ATOLL_HOME).",
)


def folder(session: Session, data_dir: Path | None) -> Folder:
    """Where the deployment's logins are."""
    return Folder((data_dir or session.home / "stack") / "bus")


@asynccontextmanager
async def operating(session: Session, data_dir: Path | None) -> AsyncIterator[Bus]:
    """Connect to the stack of the profile with the operator's login.

    Raises:
        NotFoundError: `profile.missing`, `operator.missing`: there is no login here.
        ConfigError: `config.unreadable`, `creds.invalid`; `protocol.too_old`, `protocol.too_new`.
        AtollError: nobody answers, or the login is refused.
    """
    profile = ProfileFile(session.home).load()
    path = folder(session, data_dir).creds(OPERATOR)
    if not path.exists():
        raise NotFoundError(
            f"{path} does not exist, and it is the operator's login",
            code="operator.missing",
            hint="--data-dir names the directory that `atoll up` or `atoll init` keeps",
        )
    config = BusConfig(
        url=profile.nats_url,
        name="atoll operator",
        login=login_from(path, OPERATOR),
        inbox_prefix=f"_INBOX_{OPERATOR}",
        connect_timeout_s=5.0,
        tls_ca=profile.ca,
    )
    async with connect(config) as bus:
        level.take_part((await in_force(bus)).level)
        yield bus


async def ask(
    bus: Bus,
    endpoint: Endpoint[RequestT, ReplyT],
    request: RequestT,
    *,
    timeout_s: float = TIMEOUT_S,
) -> ReplyT:
    """One request; raises what the other side refused as the error it was refused with."""
    raw = await bus.request(
        endpoint.subject.of(), schema.encode(request), timeout_s=timeout_s, retry=True
    )
    return schema.decode(endpoint.reply, raw.payload)
