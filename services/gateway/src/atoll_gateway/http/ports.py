"""What the operations need from outside, as small as they need it."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from atoll.sealing.release import KeyRelease
from atoll.wire.access import (
    DEFAULT_TENANT,
    CreateTokenRequest,
    TokenList,
    TokenListRequest,
    TokenRequest,
    TokenView,
)
from atoll.wire.cloudevents import Event
from atoll.wire.hosts import HostList, HostOrder, HostOrderRequest
from atoll.wire.messages import (
    AgreedManifest,
    EvidenceRecord,
    JobList,
    JobListRequest,
    JobRequest,
    JobView,
    OutcomeRecord,
    SubmitRequest,
    WithdrawReply,
    WithdrawRequest,
)
from atoll.wire.webhooks import (
    WebhookAdded,
    WebhookAddRequest,
    WebhookList,
    WebhookListRequest,
    WebhookRequest,
    WebhookTested,
    WebhookView,
)
from atoll_gateway.caller import Caller


class Jobs(Protocol):
    """The operations that HTTP and NATS share (`atoll_gateway.audited.AuditedJobs`)."""

    async def accept(self, request: SubmitRequest, caller: Caller) -> tuple[JobView, bool]: ...
    async def get(self, request: JobRequest, caller: Caller) -> JobView: ...
    async def list(self, request: JobListRequest, caller: Caller) -> JobList: ...
    async def cancel(self, request: JobRequest, caller: Caller) -> JobView: ...
    async def withdraw(self, request: WithdrawRequest, caller: Caller) -> WithdrawReply: ...


class Tokens(Protocol):
    """Access tokens (`atoll_gateway.audited.AuditedTokens`)."""

    async def create(self, request: CreateTokenRequest, caller: Caller) -> TokenView: ...
    async def revoke(self, request: TokenRequest, caller: Caller) -> TokenView: ...
    async def get(self, request: TokenRequest) -> TokenView: ...
    async def list(self, request: TokenListRequest) -> TokenList: ...


class Hosts(Protocol):
    """Hosts, and orders for them (`atoll_gateway.audited.AuditedHosts`)."""

    async def list(self) -> HostList: ...
    async def order(self, request: HostOrderRequest, caller: Caller) -> HostOrder: ...


class Manifests(Protocol):
    """Agreed manifests by digest."""

    async def get(self, digest: str) -> AgreedManifest | None: ...


class Evidence(Protocol):
    """Evidence by enclave."""

    async def get(self, enclave_id: str) -> EvidenceRecord | None: ...


class Outcomes(Protocol):
    """What an attempt gave."""

    async def get(self, job_id: str, attempt: int) -> OutcomeRecord | None: ...


class AttestorKeys(Protocol):
    """What attestation results are signed with."""

    async def jwks(self) -> str:
        """A JWK set. Raises: UnreachableError: no attestor answers."""
        ...


class Releases(Protocol):
    """The way to an enclave's ear; saying a thing twice is saying it once."""

    async def publish(self, enclave_id: str, release: KeyRelease) -> None: ...


class Webhooks(Protocol):
    """As `atoll_gateway.webhooks.api.WebhookApi`."""

    async def add(self, request: WebhookAddRequest, caller: Caller) -> WebhookAdded: ...
    async def list(self, request: WebhookListRequest, caller: Caller) -> WebhookList: ...
    async def get(self, request: WebhookRequest, caller: Caller) -> WebhookView: ...
    async def remove(self, request: WebhookRequest, caller: Caller) -> WebhookView: ...
    async def test(self, request: WebhookRequest, caller: Caller) -> WebhookTested: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is known of a stored object without reading it."""

    size: int
    sha256: str
    tenant: str = DEFAULT_TENANT
    """Whose it is."""


class Objects(Protocol):
    """Ciphertext by name."""

    async def info(self, name: str) -> Stored | None: ...

    async def get(self, name: str) -> tuple[Stored, AsyncIterator[bytes]] | None: ...

    async def put(self, name: str, chunks: AsyncIterable[bytes], tenant: str) -> Stored:
        """All of it or nothing: what `chunks` raises leaves no object behind."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event as it was told.

    `number` is what a reader resumes after: the event's `seq` in the history of one job,
    its place among all events otherwise.
    """

    number: int
    place: int
    event: Event
    traceparent: str = ""
    tenant: str = DEFAULT_TENANT
    """Whose it is."""


class Events(Protocol):
    """What happened, oldest first, each event once, from behind the number `after` on."""

    def of_job(self, job_id: str, *, after: int, follow: bool) -> AsyncGenerator[Told, None]: ...
    def of_all(self, *, after: int, follow: bool) -> AsyncGenerator[Told, None]: ...
