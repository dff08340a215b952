"""Every request that a service answers: the table from which documents are made."""

from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from atoll.wire import access, hosts, letters, subjects, verification
from atoll.wire import admission_messages as a
from atoll.wire import messages as m
from atoll.wire import webhooks as w
from atoll.wire.subjects import Subject

Role = Literal["gateway", "manager", "attestor", "enclave", "client", "operator"]
ROLES: Final[tuple[Role, ...]] = ("gateway", "manager", "attestor", "enclave", "client")
"""Who has cells in the table of permissions. `enclave` stands for all of them together; what a
single one may do is in `atoll.wire.admission`. The operator, who provisions, may do anything."""

OPERATORS: Final[frozenset[Role]] = frozenset({"operator"})
"""Who looks after the deployment: no role that works or submits."""

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint(Generic[RequestT, ReplyT]):
    """One request and its reply, who answers it, and who may ask."""

    name: str
    subject: Subject
    request: type[RequestT]
    reply: type[ReplyT]
    owner: Role
    callers: frozenset[Role]
    summary: str


SUBMIT: Final = Endpoint(
    name="submit",
    subject=subjects.JOBS_SUBMIT,
    request=m.SubmitRequest,
    reply=m.JobView,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="Accept an agreed manifest as a job; durable before it is acknowledged.",
)
GET: Final = Endpoint(
    name="get",
    subject=subjects.JOBS_GET,
    request=m.JobRequest,
    reply=m.JobView,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="One job.",
)
LIST: Final = Endpoint(
    name="list",
    subject=subjects.JOBS_LIST,
    request=m.JobListRequest,
    reply=m.JobList,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="The newest jobs first.",
)
CANCEL: Final = Endpoint(
    name="cancel",
    subject=subjects.JOBS_CANCEL,
    request=m.JobRequest,
    reply=m.JobView,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="End a job that has not ended; an ended one is left as it is.",
)
WITHDRAW: Final = Endpoint(
    name="withdraw",
    subject=subjects.JOBS_WITHDRAW,
    request=m.WithdrawRequest,
    reply=m.WithdrawReply,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="Take a consent back: no job of the manifest starts or gets a key from then on.",
)
WEBHOOK_ADD: Final = Endpoint(
    name="add",
    subject=subjects.WEBHOOKS_ADD,
    request=w.WebhookAddRequest,
    reply=w.WebhookAdded,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="Push events from now on to an address; the secret is answered once.",
)
WEBHOOK_LIST: Final = Endpoint(
    name="list",
    subject=subjects.WEBHOOKS_LIST,
    request=w.WebhookListRequest,
    reply=w.WebhookList,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="All webhooks, the oldest first.",
)
WEBHOOK_GET: Final = Endpoint(
    name="get",
    subject=subjects.WEBHOOKS_GET,
    request=w.WebhookRequest,
    reply=w.WebhookView,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="One webhook.",
)
WEBHOOK_REMOVE: Final = Endpoint(
    name="remove",
    subject=subjects.WEBHOOKS_REMOVE,
    request=w.WebhookRequest,
    reply=w.WebhookView,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="Push nothing to it any more; what waits for it is dropped.",
)
WEBHOOK_TEST: Final = Endpoint(
    name="test",
    subject=subjects.WEBHOOKS_TEST,
    request=w.WebhookRequest,
    reply=w.WebhookTested,
    owner="gateway",
    callers=frozenset({"client"}),
    summary="Call it once, now, with an event of its own type.",
)
# No role may ask for these: only the operator's login, which may publish everywhere.
CREATE_TOKEN: Final = Endpoint(
    name="create-token",
    subject=subjects.TOKENS_CREATE,
    request=access.CreateTokenRequest,
    reply=access.TokenView,
    owner="gateway",
    callers=OPERATORS,
    summary="Let an access token of the HTTP gateway count, by the digest of its secret.",
)
LIST_TOKENS: Final = Endpoint(
    name="list-tokens",
    subject=subjects.TOKENS_LIST,
    request=access.TokenListRequest,
    reply=access.TokenList,
    owner="gateway",
    callers=OPERATORS,
    summary="All access tokens, without their digests.",
)
GET_TOKEN: Final = Endpoint(
    name="get-token",
    subject=subjects.TOKENS_GET,
    request=access.TokenRequest,
    reply=access.TokenView,
    owner="gateway",
    callers=OPERATORS,
    summary="One access token.",
)
REVOKE_TOKEN: Final = Endpoint(
    name="revoke-token",
    subject=subjects.TOKENS_REVOKE,
    request=access.TokenRequest,
    reply=access.TokenView,
    owner="gateway",
    callers=OPERATORS,
    summary="Refuse an access token from now on, for good.",
)
HOST_ORDER: Final = Endpoint(
    name="host-order",
    subject=subjects.HOSTS_ORDER,
    request=hosts.HostOrderRequest,
    reply=hosts.HostOrder,
    owner="gateway",
    callers=OPERATORS,
    summary="Drain a host or let it work again; the order stands until the next one.",
)
NONCE: Final = Endpoint(
    name="nonce",
    subject=subjects.ATTEST_NONCE,
    request=m.NonceRequest,
    reply=m.NonceReply,
    owner="attestor",
    callers=frozenset({"enclave"}),
    summary="A challenge that evidence must contain to be fresh.",
)
APPRAISE: Final = Endpoint(
    name="appraise",
    subject=subjects.ATTEST_APPRAISE,
    request=m.AppraiseRequest,
    reply=m.AppraiseReply,
    owner="attestor",
    callers=frozenset({"client"}),
    summary="Appraise evidence and answer a signed attestation result (EAR).",
)
ADMIT: Final = Endpoint(
    name="admit",
    subject=subjects.ATTEST_ADMIT,
    request=a.AdmitRequest,
    reply=a.AdmitReply,
    owner="attestor",
    callers=frozenset({"enclave"}),
    summary="Appraise an enclave's evidence, publish it, and admit the enclave to the bus.",
)
REVOKE: Final = Endpoint(
    name="revoke",
    subject=subjects.ATTEST_REVOKE,
    request=a.RevokeRequest,
    reply=a.Revocations,
    owner="attestor",
    callers=OPERATORS,
    summary="Turn enclaves away by enclave, host, chip, measurement or policy; ends connections.",
)
REINSTATE: Final = Endpoint(
    name="reinstate",
    subject=subjects.ATTEST_REINSTATE,
    request=a.ReinstateRequest,
    reply=a.Revocations,
    owner="attestor",
    callers=OPERATORS,
    summary="Take a revocation back.",
)
REVOCATIONS: Final = Endpoint(
    name="revocations",
    subject=subjects.ATTEST_REVOCATIONS,
    request=a.RevocationsRequest,
    reply=a.Revocations,
    owner="attestor",
    callers=OPERATORS,
    summary="What is revoked.",
)
KEYS: Final = Endpoint(
    name="keys",
    subject=subjects.ATTEST_KEYS,
    request=m.KeysRequest,
    reply=m.KeysReply,
    owner="attestor",
    callers=frozenset({"gateway", "manager", "client"}),
    summary="The keys that attestation results are signed with.",
)
ACTIVATE: Final = Endpoint(
    name="activate",
    subject=subjects.ATTEST_ACTIVATE,
    request=m.ActivateRequest,
    reply=m.PolicyView,
    owner="attestor",
    callers=frozenset({"client"}),
    summary="Put a policy in force that its owners signed; older versions are refused.",
)
VERIFY: Final = Endpoint(
    name="verify",
    subject=subjects.ATTEST_VERIFY,
    request=verification.VerifyRequest,
    reply=verification.VerifyReply,
    owner="attestor",
    callers=frozenset({"client"}),
    summary="Judge evidence of any kind by the collateral that is here; the result is signed.",
)
LETTERS_LIST: Final = Endpoint(
    name="letters-list",
    subject=subjects.LETTERS_LIST,
    request=letters.LettersRequest,
    reply=letters.Letters,
    owner="gateway",
    callers=OPERATORS,
    summary="Messages nobody could process, the oldest first.",
)
LETTERS_SHOW: Final = Endpoint(
    name="letters-show",
    subject=subjects.LETTERS_SHOW,
    request=letters.LetterRequest,
    reply=letters.LetterContents,
    owner="gateway",
    callers=OPERATORS,
    summary="One dead letter with what it holds.",
)
LETTERS_REDRIVE: Final = Endpoint(
    name="letters-redrive",
    subject=subjects.LETTERS_REDRIVE,
    request=letters.RedriveRequest,
    reply=letters.Redriven,
    owner="gateway",
    callers=OPERATORS,
    summary="Put the message of a dead letter into its queue again, once.",
)
LETTERS_DROP: Final = Endpoint(
    name="letters-drop",
    subject=subjects.LETTERS_DROP,
    request=letters.LetterRequest,
    reply=letters.LetterView,
    owner="gateway",
    callers=OPERATORS,
    summary="Erase a dead letter.",
)

ENDPOINTS: Final[tuple[Endpoint[object, object], ...]] = (
    SUBMIT,
    GET,
    LIST,
    CANCEL,
    WITHDRAW,
    CREATE_TOKEN,
    LIST_TOKENS,
    GET_TOKEN,
    REVOKE_TOKEN,
    WEBHOOK_ADD,
    WEBHOOK_LIST,
    WEBHOOK_GET,
    WEBHOOK_REMOVE,
    WEBHOOK_TEST,
    HOST_ORDER,
    NONCE,
    APPRAISE,
    ADMIT,
    REVOKE,
    REINSTATE,
    REVOCATIONS,
    KEYS,
    ACTIVATE,
    VERIFY,
    LETTERS_LIST,
    LETTERS_SHOW,
    LETTERS_REDRIVE,
    LETTERS_DROP,
)  # type: ignore[assignment]
