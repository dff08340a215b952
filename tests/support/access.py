"""Access tokens for tests, and the bucket that they are kept in, in memory."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from atoll.errors import ConflictError
from atoll.wire import schema
from atoll.wire.access import DEFAULT_TENANT, AccessRole, AccessToken, TokenRecord


def access_token(name: str) -> AccessToken:
    """The same token for the same name."""
    counter = itertools.count()

    def random(size: int) -> bytes:
        return hashlib.sha256(f"{name} {next(counter)}".encode()).digest()[:size]

    return AccessToken.generate(random)


OPERATOR = access_token("operator")
SUBMITTER = access_token("submitter")
VIEWER = access_token("viewer")
FOREIGN = access_token("foreign")
"""A submitter of another tenant."""
EXPIRED = access_token("expired")
REVOKED = access_token("revoked")
UNKNOWN = access_token("unknown")

OTHER_TENANT = "other"


def records(now_ms: int) -> list[TokenRecord]:
    """What is kept of all of them but the unknown one."""

    def record(token: AccessToken, role: AccessRole, **changes: object) -> TokenRecord:
        fields: dict[str, object] = {
            "token_id": token.id,
            "digest": token.digest,
            "tenant": DEFAULT_TENANT,
            "roles": (role,),
            "created_ms": now_ms,
        }
        return TokenRecord(**{**fields, **changes})  # type: ignore[arg-type]

    return [
        record(OPERATOR, AccessRole.OPERATOR),
        record(SUBMITTER, AccessRole.SUBMITTER),
        record(VIEWER, AccessRole.VIEWER),
        record(FOREIGN, AccessRole.SUBMITTER, tenant=OTHER_TENANT),
        record(EXPIRED, AccessRole.OPERATOR, expires_ms=now_ms),
        record(REVOKED, AccessRole.OPERATOR, disabled=True),
    ]


@dataclass
class MemoryTokens:
    """Bucket `tokens` with compare-and-set."""

    entries: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    _revisions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def get(self, token_id: str) -> tuple[TokenRecord, int] | None:
        await asyncio.sleep(0)
        if token_id not in self.entries:
            return None
        raw, revision = self.entries[token_id]
        return schema.decode(TokenRecord, raw), revision

    async def create(self, record: TokenRecord) -> int:
        if record.token_id in self.entries:
            raise ConflictError("it exists", code="bus.conflict")
        return self.write(record)

    async def update(self, record: TokenRecord, revision: int) -> int:
        if self.entries[record.token_id][1] != revision:
            raise ConflictError("it changed", code="bus.conflict")
        return self.write(record)

    def write(self, record: TokenRecord) -> int:
        revision = next(self._revisions)
        self.entries[record.token_id] = (schema.encode(record), revision)
        return revision

    async def watch(self) -> AsyncGenerator[tuple[str, TokenRecord | None, int, int], None]:
        left = len(self.entries)
        for token_id, (raw, revision) in list(self.entries.items()):
            left -= 1
            yield token_id, schema.decode(TokenRecord, raw), revision, left
