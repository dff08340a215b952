"""Telling running servers what a deployment's files say of its accounts."""

import asyncio
import json
import time
from dataclasses import replace
from typing import Final

from atoll.bus import BusConfig, Signed, connect
from atoll.client.profile import ProfileFile
from atoll.credentials.creds import Credentials
from atoll.errors import (
    AtollError,
    ConfigError,
    InputError,
    NotFoundError,
    RefusedError,
    UnreachableError,
)
from atoll_cli.deployment.folder import Folder
from atoll_cli.deployment.identities import SYSTEM, Identities
from atoll_cli.session import Session

UPDATE: Final = "$SYS.REQ.CLAIMS.UPDATE"
"""Where servers are told of an account (NATS ADR-14 and its resolvers)."""


def renew_profile(session: Session, before: Identities, after: Identities, now: int) -> None:
    """Clients of this ATOLL_HOME go on with the login that counts now."""
    file = ProfileFile(session.home)
    try:
        profile = file.load()
        mine = Credentials.from_text(profile.nats_creds).key.public
    except (NotFoundError, InputError, ConfigError):
        return
    for name, tenant in before.tenants.items():
        if mine == tenant.client.public and name in after.tenants:
            fresh = after.tenants[name].credentials(now=now).text
            file.save(replace(profile, nats_creds=fresh))


def push_all(
    session: Session, folder: Folder, identities: Identities, system: Credentials | None = None
) -> None:
    """Tell the servers of the profile about every account, by the login `system`.

    Raises:
        UnreachableError: `rotate.not_told`.
    """
    known = system or identities.credentials(SYSTEM, now=int(time.time()))
    try:
        asyncio.run(_tell(session, identities, known))
    except AtollError as error:
        raise UnreachableError(
            f"the files in {folder.path} are written, and the servers were not told: {error}",
            code="rotate.not_told",
            hint="`atoll rotate push` tells them; a server that starts reads the files",
        ) from error


async def _tell(session: Session, identities: Identities, system: Credentials) -> None:
    profile = ProfileFile(session.home).load()
    config = BusConfig(
        url=profile.nats_url,
        name="atoll rotate",
        login=Signed(SYSTEM, lambda: system),
        inbox_prefix="_INBOX_system",
        connect_timeout_s=5.0,
        tls_ca=profile.ca,
    )
    async with connect(config) as bus:
        for public, statement in identities.statements(now=int(time.time())).items():
            reply = await bus.request(UPDATE, statement.encode(), timeout_s=5.0)
            answer = json.loads(reply.payload)
            if "error" in answer:
                raise RefusedError(f"account {public}: {answer['error']}", code="rotate.refused")
