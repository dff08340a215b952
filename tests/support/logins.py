"""Logins for tests: a deployment's identities, and users of it that may do what a test says."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from atoll.bus import BusConfig, Signed
from atoll.credentials import claims, jwt
from atoll.credentials.claims import Permissions
from atoll.credentials.creds import Credentials
from atoll.credentials.nkey import KeyPair, Kind
from atoll_cli.deployment.folder import server_section
from atoll_cli.deployment.identities import Identities
from atoll_cli.nats_server import EmbeddedNats

IDENTITIES = Identities.generate(secrets.token_bytes)


def login(
    permissions: Permissions,
    *,
    account: str = "ATOLL",
    of: Identities = IDENTITIES,
    expires: int = 0,
    now: int | None = None,
) -> Credentials:
    """A user of an account, or of a tenant's, named for nothing."""
    key = KeyPair.generate(Kind.USER, secrets.token_bytes)
    token = jwt.sign(
        claims.user(permissions),
        by=of.tenants[account].account if account in of.tenants else of.accounts[account],
        subject=key.public,
        now=int(time.time()) - 60 if now is None else now,
        expires=expires,
    )
    return Credentials(jwt=token, key=key)


def config(server: EmbeddedNats, credentials: Credentials, inbox: str = "_INBOX_test") -> BusConfig:
    """How to connect with them."""
    return BusConfig(
        url=server.url,
        name="test",
        login=Signed("test", lambda: credentials),
        inbox_prefix=inbox,
        connect_timeout_s=5.0,
        drain_timeout_s=2.0,
    )


@asynccontextmanager
async def believing(
    data_dir: Path, identities: Identities = IDENTITIES
) -> AsyncIterator[EmbeddedNats]:
    """A server that believes this deployment."""
    trust = server_section(identities, data_dir / "jwt", now=int(time.time()))
    async with EmbeddedNats(data_dir, trust=trust) as server:
        yield server
