"""The gateway's operations with a record of who did what."""

import secrets
from collections.abc import Callable

from atoll.audit import Action, ActorKind, Audit, AuditEntry, audited
from atoll.telemetry.context import SpanContext
from atoll.wire.access import CreateTokenRequest, TokenList, TokenListRequest, TokenRequest
from atoll.wire.access import TokenView as View
from atoll.wire.hosts import HostList, HostOrder, HostOrderRequest
from atoll.wire.letters import (
    LetterContents,
    LetterRequest,
    Letters,
    LettersRequest,
    LetterView,
    Redriven,
    RedriveRequest,
)
from atoll.wire.messages import (
    JobList,
    JobListRequest,
    JobRequest,
    JobState,
    JobView,
    SubmitRequest,
    WithdrawReply,
    WithdrawRequest,
)
from atoll_gateway.api import GatewayApi
from atoll_gateway.caller import BUS, BUS_OPERATOR, Caller
from atoll_gateway.hosts import HostOrders
from atoll_gateway.letters import LetterDesk
from atoll_gateway.tokens import TokenDesk


class Recorder:
    """Makes the entries of one gateway's audit.

    Args:
        context: the trace that the current request belongs to, if any.
        new_id: ids of requests that came without one.
    """

    def __init__(
        self,
        audit: Audit,
        context: Callable[[], SpanContext | None],
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.audit = audit
        self._context = context
        self._new_id = new_id

    def entry(self, action: Action, caller: Caller, what: str = "") -> AuditEntry:
        """Of an act of `caller` upon `what`."""
        context = self._context()
        return AuditEntry(
            action=action,
            actor_kind=caller.kind,
            actor=caller.actor,
            tenant=caller.tenant,
            object=what,
            request_id=caller.request_id or self._new_id(),
            trace_id=context.trace_id if context else None,
            source=caller.source,
        )


class AuditedJobs:
    """`GatewayApi`, recorded. Only what changed something goes on record: a user who repeats
    what is refused or done already shall not fill the stream that operators' acts need."""

    def __init__(self, api: GatewayApi, recorder: Recorder) -> None:
        self._api = api
        self._recorder = recorder

    async def submit(self, request: SubmitRequest, caller: Caller = BUS) -> JobView:
        """As `accept`, without saying whether the job is new."""
        view, _ = await self.accept(request, caller)
        return view

    async def accept(self, request: SubmitRequest, caller: Caller = BUS) -> tuple[JobView, bool]:
        """As `GatewayApi.accept`."""
        entry = self._recorder.entry(Action.JOB_SUBMIT, caller)
        async with audited(self._recorder.audit, entry, strict=False) as act:
            view, created = await self._api.accept(request, caller)
            act.about(view.job_id)
            act.changed = created
        return view, created

    async def get(self, request: JobRequest, caller: Caller = BUS) -> JobView:
        """As `GatewayApi.get`."""
        return await self._api.get(request, caller)

    async def list(self, request: JobListRequest, caller: Caller = BUS) -> JobList:
        """As `GatewayApi.list`."""
        return await self._api.list(request, caller)

    async def cancel(self, request: JobRequest, caller: Caller = BUS) -> JobView:
        """As `GatewayApi.cancel`."""
        before = await self._api.get(request, caller)
        entry = self._recorder.entry(Action.JOB_CANCEL, caller, request.job_id)
        async with audited(self._recorder.audit, entry, strict=False) as act:
            view = await self._api.cancel(request, caller)
            act.changed = not before.state.terminal and view.state is JobState.CANCELLED
        return view

    async def withdraw(self, request: WithdrawRequest, caller: Caller = BUS) -> WithdrawReply:
        """As `GatewayApi.withdraw`. The party whose signature it bears is who did it."""
        withdrawal = request.withdrawal
        party = Caller(
            kind=ActorKind.PARTY,
            actor=withdrawal.party,
            tenant=caller.tenant,
            roles=caller.roles,
            request_id=caller.request_id,
            source=caller.source,
        )
        name = withdrawal.manifest_digest.hex()
        entry = self._recorder.entry(Action.CONSENT_WITHDRAW, party, name)
        again = await self._api.is_withdrawn(name)
        async with audited(self._recorder.audit, entry, strict=False) as act:
            reply = await self._api.withdraw(request, caller)
            act.changed = not again or bool(reply.ended)
        return reply


class AuditedTokens:
    """`TokenDesk`, recorded: no token is made or revoked that is not on record first."""

    def __init__(self, desk: TokenDesk, recorder: Recorder) -> None:
        self._desk = desk
        self._recorder = recorder

    async def create(self, request: CreateTokenRequest, caller: Caller = BUS_OPERATOR) -> View:
        """As `TokenDesk.create`."""
        entry = self._recorder.entry(Action.TOKEN_CREATE, caller, request.token_id)
        async with audited(self._recorder.audit, entry, strict=True):
            return await self._desk.create(request)

    async def revoke(self, request: TokenRequest, caller: Caller = BUS_OPERATOR) -> View:
        """As `TokenDesk.revoke`."""
        entry = self._recorder.entry(Action.TOKEN_REVOKE, caller, request.token_id)
        async with audited(self._recorder.audit, entry, strict=True):
            return await self._desk.revoke(request)

    async def get(self, request: TokenRequest) -> View:
        """As `TokenDesk.get`."""
        return await self._desk.get(request)

    async def list(self, request: TokenListRequest) -> TokenList:
        """As `TokenDesk.list`."""
        return await self._desk.list(request)


class AuditedHosts:
    """`HostOrders`, recorded: no order is given that is not on record first."""

    def __init__(self, orders: HostOrders, recorder: Recorder) -> None:
        self._orders = orders
        self._recorder = recorder

    async def list(self) -> HostList:
        """As `HostOrders.list`."""
        return await self._orders.list()

    async def order(self, request: HostOrderRequest, caller: Caller = BUS_OPERATOR) -> HostOrder:
        """As `HostOrders.order`."""
        what = f"{request.host_id} {request.wish.value}"
        entry = self._recorder.entry(Action.HOST_ORDER, caller, what)
        async with audited(self._recorder.audit, entry, strict=True):
            return await self._orders.order(request)


class AuditedLetters:
    """`LetterDesk`, recorded: no letter goes back or is erased that is not on record first."""

    def __init__(self, desk: LetterDesk, recorder: Recorder) -> None:
        self._desk = desk
        self._recorder = recorder

    async def list(self, request: LettersRequest) -> Letters:
        """As `LetterDesk.list`."""
        return await self._desk.list(request)

    async def show(self, request: LetterRequest) -> LetterContents:
        """As `LetterDesk.show`."""
        return await self._desk.show(request)

    async def redrive(self, request: RedriveRequest, caller: Caller = BUS_OPERATOR) -> Redriven:
        """As `LetterDesk.redrive`."""
        what = f"{request.id} forced" if request.force else str(request.id)
        entry = self._recorder.entry(Action.DEAD_REDRIVE, caller, what)
        async with audited(self._recorder.audit, entry, strict=True) as act:
            done = await self._desk.redrive(request)
            act.about(f"{what} to {done.letter.stream} as {done.sequence}")
        return done

    async def drop(self, request: LetterRequest, caller: Caller = BUS_OPERATOR) -> LetterView:
        """As `LetterDesk.drop`."""
        entry = self._recorder.entry(Action.DEAD_DROP, caller, str(request.id))
        async with audited(self._recorder.audit, entry, strict=True) as act:
            letter = await self._desk.drop(request)
            act.about(f"{request.id} of {letter.stream}")
        return letter
