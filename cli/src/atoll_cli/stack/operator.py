"""The bus as the operator of a stack sees it: by the login that its data directory holds."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from atoll.bus import Bus, BusConfig, connect
from atoll.client.files import read_private
from atoll.client.profile import ProfileFile
from atoll.errors import ConfigError, NotFoundError
from atoll.wire import schema
from atoll.wire.endpoints import Endpoint
from atoll_cli.session import Session

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

SECRETS: Final = "secrets.json"
MAX_FILE: Final = 1 << 20
TIMEOUT_S: Final = 10.0


@asynccontextmanager
async def as_operator(session: Session, data_dir: Path | None) -> AsyncIterator[Bus]:
    """Connect to the stack of the profile with the operator's login.

    Raises:
        NotFoundError: `profile.missing`, `operator.missing`: there is no login here.
        ConfigError: `data_dir.damaged`.
        AtollError: nobody answers, or the login is refused.
    """
    profile = ProfileFile(session.home).load()
    password = _password((data_dir or session.home / "stack") / SECRETS)
    config = BusConfig(
        url=profile.nats_url,
        name="atoll operator",
        user="operator",
        password=password,
        inbox_prefix="_INBOX_operator",
        connect_timeout_s=5.0,
    )
    async with connect(config) as bus:
        yield bus


async def ask(bus: Bus, endpoint: Endpoint[RequestT, ReplyT], request: RequestT) -> ReplyT:
    """One request; raises what the other side refused as the error it was refused with."""
    reply = await bus.request(
        endpoint.subject.of(), schema.encode(request), timeout_s=TIMEOUT_S, retry=True
    )
    return schema.decode(endpoint.reply, reply.payload)


def _password(path: Path) -> str:
    try:
        raw = read_private(path, limit=MAX_FILE)
    except NotFoundError as error:
        raise NotFoundError(
            f"{path} does not exist, and it is where the operator's login is",
            code="operator.missing",
            hint="--data-dir names the directory that `atoll up` keeps its files in",
        ) from error
    try:
        found = json.loads(raw)["passwords"]["operator"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged", code="data_dir.damaged") from error
    if not isinstance(found, str) or not found:
        raise ConfigError(f"{path} is damaged", code="data_dir.damaged")
    return found
