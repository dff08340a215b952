"""Access tokens: who shows which, making and revoking them.

Every gateway keeps all records in memory and follows the bucket `tokens`, so that a revocation
counts everywhere as soon as the bus has passed it on, and no request asks the bus who it is.
"""

import asyncio
import hmac
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from atoll.errors import (
    AtollError,
    ConfigError,
    ConflictError,
    InputError,
    NotFoundError,
    RefusedError,
)
from atoll.wire.access import (
    DEFAULT_TENANT,
    MAX_TOKENS,
    AccessRole,
    AccessToken,
    CreateTokenRequest,
    TokenList,
    TokenListRequest,
    TokenRecord,
    TokenRequest,
    TokenView,
    view_of,
)
from atoll_gateway.ports import Clock

_log = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000
TOUCH_S: Final = 5.0
_ATTEMPTS: Final = 8
_NOBODY: Final = AccessToken(id="0" * 12, secret="0" * 43)


class TokenStore(Protocol):
    """Bucket `tokens` with compare-and-set."""

    async def get(self, token_id: str) -> tuple[TokenRecord, int] | None: ...

    async def create(self, record: TokenRecord) -> int:
        """Raises: ConflictError if the token exists."""
        ...

    async def update(self, record: TokenRecord, revision: int) -> int:
        """Raises: ConflictError if somebody else wrote since `revision`."""
        ...

    def watch(self) -> AsyncGenerator[tuple[str, TokenRecord | None, int, int], None]:
        """Id, record (None: gone), revision, and how many entries wait behind it; every current
        entry, then every change."""
        ...


@dataclass(slots=True)
class Held:
    """A token as a gateway knows it."""

    record: TokenRecord
    revision: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it counts no longer, for those who serve its bearer for long."""


class TokenDirectory:
    """All tokens by id, in memory."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._used: dict[str, int] = {}
        self.current = asyncio.Event()
        """Set when every token that was there at the start is known."""

    def __len__(self) -> int:
        return len(self._held)

    def note(self, record: TokenRecord, revision: int) -> None:
        """Take in a record; an older one is ignored."""
        held = self._held.get(record.token_id)
        if held is None:
            held = self._held[record.token_id] = Held(record, revision)
        elif revision <= held.revision:
            return
        else:
            held.record, held.revision = record, revision
        if record.disabled:
            held.ended.set()

    def forget(self, token_id: str) -> None:
        """Its record is gone: it counts no longer."""
        held = self._held.pop(token_id, None)
        if held is not None:
            held.ended.set()

    def find(self, text: str, now_ms: int) -> Held | None:
        """Whose token this is, or None; how long that takes says nothing about why.

        An id that nobody has is compared like any other, with what no secret gives.
        """
        try:
            shown = AccessToken.parse(text)
            held = self._held.get(shown.id)
        except InputError:
            shown, held = _NOBODY, None
        digest = bytes(32) if held is None else held.record.digest
        same = hmac.compare_digest(shown.digest, digest)
        if held is None or not same or not held.record.is_live(now_ms):
            return None
        day = now_ms // DAY_MS
        if held.record.used_day < day:
            self._used[held.record.token_id] = day
        return held

    def former(self, text: str) -> TokenRecord | None:
        """Whose token this was, if it counts no longer: only who has its secret is told apart."""
        try:
            shown = AccessToken.parse(text)
        except InputError:
            return None
        held = self._held.get(shown.id)
        if held is None or not hmac.compare_digest(shown.digest, held.record.digest):
            return None
        return held.record

    def views(self, tenant: str | None) -> tuple[TokenView, ...]:
        """All tokens, the newest first."""
        chosen = [
            view_of(held.record)
            for held in self._held.values()
            if tenant in (None, held.record.tenant)
        ]
        chosen.sort(key=lambda view: (view.created_ms, view.token_id), reverse=True)
        return tuple(chosen[:MAX_TOKENS])

    def take_used(self) -> dict[str, int]:
        """Tokens whose day of last use is not stored yet; they are forgotten here."""
        used, self._used = self._used, {}
        return used

    async def follow(self, store: TokenStore) -> None:
        """Keep up with the bucket until cancelled."""
        async with aclosing(store.watch()) as entries:
            async for token_id, record, revision, behind in entries:
                if record is None:
                    self.forget(token_id)
                else:
                    self.note(record, revision)
                if behind == 0:
                    self.current.set()


class TokenDesk:
    """Makes, shows and revokes tokens, and remembers their use."""

    def __init__(self, store: TokenStore, directory: TokenDirectory, clock: Clock) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock

    async def create(self, request: CreateTokenRequest) -> TokenView:
        """Let a token count from now on; the same request again changes nothing.

        Raises:
            ConflictError: `token.exists`: its id stands for another one.
            RefusedError: `token.too_many`.
        """
        if len(self._directory) >= MAX_TOKENS:
            raise RefusedError(f"there are {MAX_TOKENS} tokens already", code="token.too_many")
        now = self._clock()
        lifetime = request.lifetime_s
        record = TokenRecord(
            token_id=request.token_id,
            digest=request.digest,
            tenant=request.tenant,
            roles=tuple(sorted(set(request.roles), key=lambda role: role.value)),
            name=request.name,
            created_ms=now,
            expires_ms=None if lifetime is None else now + lifetime * 1000,
        )
        return view_of(await self._put(record))

    async def require(self, token: AccessToken) -> None:
        """Let the deployment's first token count, with the role operator, unless it was revoked.

        Raises:
            ConfigError: `http.token`: its id stands for another one.
        """
        record = TokenRecord(
            token_id=token.id,
            digest=token.digest,
            tenant=DEFAULT_TENANT,
            roles=(AccessRole.OPERATOR,),
            name="first token",
            created_ms=self._clock(),
        )
        try:
            await self._put(record)
        except ConflictError as error:
            raise ConfigError(
                f"the token {token.id} is another one in this deployment",
                code="http.token",
                hint="give the gateway the token file that belongs to this data",
            ) from error

    async def get(self, request: TokenRequest) -> TokenView:
        """Raises: NotFoundError `token.not_found`."""
        record, _ = await self._stored(request.token_id)
        return view_of(record)

    async def list(self, request: TokenListRequest) -> TokenList:
        """The newest first; it may trail the bucket by a moment."""
        return TokenList(tokens=self._directory.views(request.tenant))

    async def revoke(self, request: TokenRequest) -> TokenView:
        """Refuse a token from now on. Its record stays, so that its id names it for good.

        Raises:
            NotFoundError: `token.not_found`.
        """
        for _ in range(_ATTEMPTS):
            record, revision = await self._stored(request.token_id)
            if record.disabled:
                return view_of(record)
            after = replace(record, disabled=True)
            try:
                self._directory.note(after, await self._store.update(after, revision))
            except ConflictError:
                continue
            return view_of(after)
        raise ConflictError(f"the token {request.token_id} keeps changing", code="token.busy")

    async def run(self) -> None:
        """Store on which day tokens were last used, until cancelled."""
        while True:
            await asyncio.sleep(TOUCH_S)
            await self.store_used()

    async def store_used(self) -> None:
        """One round. Somebody else's change is not overwritten; the day is then lost until the
        next use."""
        for token_id, day in self._directory.take_used().items():
            try:
                record, revision = await self._stored(token_id)
                if record.used_day < day:
                    after = replace(record, used_day=day)
                    self._directory.note(after, await self._store.update(after, revision))
            except AtollError as error:
                _log.debug("last use of token %s not stored: %s", token_id, error.code)

    async def _put(self, record: TokenRecord) -> TokenRecord:
        try:
            revision = await self._store.create(record)
        except ConflictError:
            existing, revision = await self._stored(record.token_id)
            if existing.digest != record.digest:
                raise ConflictError(
                    f"the token id {record.token_id} is taken", code="token.exists"
                ) from None
            record = existing
        self._directory.note(record, revision)
        return record

    async def _stored(self, token_id: str) -> tuple[TokenRecord, int]:
        found = await self._store.get(token_id)
        if found is None:
            raise NotFoundError(f"there is no token {token_id!r}", code="token.not_found")
        return found
