"""Who may come in: the token is checked, then how much its bearer has asked for already."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from atoll.audit import ActorKind
from atoll.errors import RefusedError
from atoll.wire.access import AccessRole, TokenRecord, permits
from atoll_gateway.caller import Caller
from atoll_gateway.http import faults
from atoll_gateway.http.limits import Allowance, Buckets, Limits, Slots, address_key
from atoll_gateway.ports import Clock
from atoll_gateway.tokens import Held, TokenDirectory

MAX_BEARER: Final = 256
"""Characters of the longest token text that is looked at."""
_BUSY_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Visit:
    """One request that was let in, with its caller; None: on a path that is open to all."""

    request_id: str
    allowance: Allowance
    caller: Caller | None = None
    operation: str = ""
    """What is asked for, once that is known."""
    held: Held | None = None
    now_ms: int = 0
    streams: Slots
    leaving: ExitStack = field(default_factory=ExitStack)

    def require(self, role: AccessRole | None) -> None:
        """Return if the caller may what `role` may.

        Raises:
            RefusedError: `http.forbidden`.
        """
        if role is None:
            return
        if self.caller is None or not permits(self.caller.roles, role):
            raise RefusedError(
                f"this needs a token with the role {role.value}",
                code="http.forbidden",
                hint="`atoll token create --role` makes one",
            )

    def open_stream(self) -> None:
        """Count an event stream until the visit ends.

        Raises:
            TooManyError: `http.too_many_streams`.
        """
        if self.caller is None:
            raise AssertionError("streams are for callers")
        refusal = faults.TooManyError(
            "this token has as many event streams open as it may",
            code="http.too_many_streams",
            retry_after_s=_BUSY_S,
        )
        self.leaving.enter_context(self.streams.held(self.caller.actor, refusal))

    async def wait_ended(self) -> None:
        """Until the token counts no longer: it was revoked, or it expired."""
        if self.held is None:
            raise AssertionError("only tokens end")
        expires_ms = self.held.record.expires_ms
        left_s = None if expires_ms is None else max(0.0, (expires_ms - self.now_ms) / 1000)
        try:
            async with asyncio.timeout(left_s):
                await self.held.ended.wait()
        except TimeoutError:
            return


class Gate:
    """Lets requests in.

    Args:
        monotonic: seconds of a clock that never goes back.
        refused: told of what a token's holder is refused: who, which operation, the code.
    """

    def __init__(
        self,
        directory: TokenDirectory,
        limits: Limits,
        *,
        clock: Clock,
        monotonic: Callable[[], float],
        refused: Callable[[Caller, str, str], None] = lambda *_: None,
    ) -> None:
        self._refused = refused
        self._directory = directory
        self._clock = clock
        self._monotonic = monotonic
        self._by_address = Buckets("address", limits.address)
        self._by_token = Buckets("token", limits.token)
        self._failures = Buckets("failures", limits.failures)
        self._requests = Slots(limits.requests)
        self._requests_by_token = Slots(limits.requests_per_token)
        self._streams = Slots(limits.streams_per_token)

    @contextmanager
    def visit(self, scope: Scope, *, request_id: str, is_open: bool) -> Iterator[Visit]:
        """Let one request in for the time of the block.

        Raises:
            RefusedError: `http.unauthorized`, the same for every reason.
            TooManyError: `http.rate_limited`, `http.too_many_failures`,
                `http.too_many_requests`, `http.busy`.
        """
        source = str(scope["client"][0]) if scope.get("client") else ""
        address, now_s = address_key(source), self._monotonic()
        allowance = self._by_address.take(address, now_s)
        if not allowance.ok:
            raise _too_fast(allowance, "this address")
        visit = Visit(request_id=request_id, allowance=allowance, streams=self._streams)
        with visit.leaving as stack:
            busy = faults.TooManyError(
                "the gateway is at its limit", code="http.busy", retry_after_s=_BUSY_S
            )
            stack.enter_context(self._requests.held("", busy))
            if not is_open:
                self._identify(visit, scope, source, address, now_s)
            yield visit

    def note(self, visit: Visit, code: str) -> None:
        """A request that was let in is refused."""
        if visit.caller is not None:
            self._refused(visit.caller, visit.operation, code)

    def _identify(
        self, visit: Visit, scope: Scope, source: str, address: str, now_s: float
    ) -> None:
        now_ms = self._clock()
        text = _bearer(scope)
        held = self._directory.find(text, now_ms)
        if held is None:
            if (former := self._directory.former(text)) is not None:
                self._refused(_caller(former, visit, source), "", "http.unauthorized")
            failed = self._failures.take(address, now_s)
            if not failed.ok:
                raise _too_fast(failed, "this address", code="http.too_many_failures")
            raise RefusedError(
                "the request carries no valid bearer token",
                code="http.unauthorized",
                hint="send `Authorization: Bearer TOKEN`",
            )
        record = held.record
        visit.allowance = self._by_token.take(record.token_id, now_s)
        if not visit.allowance.ok:
            raise _too_fast(visit.allowance, "this token")
        many = faults.TooManyError(
            "this token has as many requests going on as it may",
            code="http.too_many_requests",
            retry_after_s=_BUSY_S,
            headers=visit.allowance.headers(),
        )
        visit.leaving.enter_context(self._requests_by_token.held(record.token_id, many))
        visit.held, visit.now_ms = held, now_ms
        visit.caller = _caller(record, visit, source)


def _caller(record: TokenRecord, visit: Visit, source: str) -> Caller:
    return Caller(
        kind=ActorKind.TOKEN,
        actor=record.token_id,
        tenant=record.tenant,
        roles=frozenset(record.roles),
        request_id=visit.request_id,
        source=source,
    )


def _bearer(scope: Scope) -> str:
    """What the one `Authorization` header shows as a bearer token; else nothing."""
    values = Headers(scope=scope).getlist("authorization")
    scheme, _, shown = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    shown = shown.strip()
    return shown if scheme.lower() == "bearer" and len(shown) <= MAX_BEARER else ""


def _too_fast(allowance: Allowance, who: str, code: str = "http.rate_limited") -> Exception:
    return faults.TooManyError(
        f"{who} asks for more than {allowance.rate.per_s:g} a second",
        code=code,
        retry_after_s=allowance.wait_s,
        headers=allowance.headers(),
    )
