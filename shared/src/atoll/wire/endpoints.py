"""Every request that a service answers: the table from which documents are made."""

from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from atoll.wire import access, assets, hosts, letters, reading, subjects, verification
from atoll.wire import admission_messages as a
from atoll.wire import messages as m
from atoll.wire import webhooks as w
from atoll.wire.subjects import Subject

Role = Literal["gateway", "manager", "attestor", "enclave", "client", "operator"]
ROLES: Final[tuple[Role, ...]] = ("gateway", "manager", "attestor", "enclave", "client")
"""Who has cells in the table of permissions. `enclave` stands for all of them together; what a
single one may do is in `atoll.wire.admission`. `client` is a tenant's, in an account of its own
(`atoll.wire.tenancy`). The operator, who provisions, may do anything."""

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

    @property
    def is_tenants(self) -> bool:
        """Whether it is answered by what tenant asks."""
        return self.owner == "gateway" and "client" in self.callers

    @property
    def served(self) -> str:
        """The subject that its owner listens on."""
        if self.is_tenants:
            return subjects.of_tenants(self.subject).wildcard
        return self.subject.template


def _for_clients(
    name: str, subject: Subject, request: type[RequestT], reply: type[ReplyT], summary: str
) -> Endpoint[RequestT, ReplyT]:
    """What a gateway does for the clients of a tenant."""
    return Endpoint(
        name=name,
        subject=subject,
        request=request,
        reply=reply,
        owner="gateway",
        callers=frozenset({"client"}),
        summary=summary,
    )


SUBMIT: Final = _for_clients(
    "submit",
    subjects.JOBS_SUBMIT,
    m.SubmitRequest,
    m.JobView,
    "Accept an agreed manifest as a job; durable before it is acknowledged.",
)
GET: Final = _for_clients("get", subjects.JOBS_GET, m.JobRequest, m.JobView, "One job.")
LIST: Final = _for_clients(
    "list", subjects.JOBS_LIST, m.JobListRequest, m.JobList, "The newest jobs first."
)
CANCEL: Final = _for_clients(
    "cancel",
    subjects.JOBS_CANCEL,
    m.JobRequest,
    m.JobView,
    "End a job that has not ended; an ended one is left as it is.",
)
WITHDRAW: Final = _for_clients(
    "withdraw",
    subjects.JOBS_WITHDRAW,
    m.WithdrawRequest,
    m.WithdrawReply,
    "Take a consent back: no job of the manifest starts or gets a key from then on.",
)
MANIFEST: Final = _for_clients(
    "manifest",
    subjects.JOBS_MANIFEST,
    m.JobRequest,
    m.AgreedManifest,
    "What the parties of a job agreed on.",
)
EVIDENCE: Final = _for_clients(
    "evidence",
    subjects.JOBS_EVIDENCE,
    reading.EvidenceRequest,
    m.EvidenceRecord,
    "The evidence of an enclave that runs a job one may see.",
)
RELEASE: Final = _for_clients(
    "release",
    subjects.JOBS_RELEASE,
    reading.ReleaseRequest,
    reading.ReleaseTaken,
    "Pass a key release on to the enclave of a job; durable when answered.",
)
OUTCOME: Final = _for_clients(
    "outcome",
    subjects.JOBS_OUTCOME,
    reading.OutcomeRequest,
    m.OutcomeRecord,
    "What an attempt at a job left.",
)
RESULT: Final = _for_clients(
    "get",
    subjects.RESULTS_GET,
    reading.ResultRequest,
    reading.ResultView,
    "A sealed result of a job.",
)
RESULT_CHUNK: Final = _for_clients(
    "chunk",
    subjects.RESULTS_CHUNK,
    reading.ChunkRequest,
    reading.Chunk,
    "A sealed result, chunk by chunk.",
)
ASSET: Final = _for_clients(
    "get",
    subjects.ASSETS_GET,
    assets.AssetRequest,
    assets.AssetView,
    "A sealed asset of one's own.",
)
ASSET_STORED: Final = _for_clients(
    "stored",
    subjects.ASSETS_STORED,
    assets.UploadRequest,
    assets.UploadState,
    "How much is stored of an upload; what lies out of order is erased.",
)
ASSET_PUT: Final = _for_clients(
    "put",
    subjects.ASSETS_PUT,
    assets.AssetPutRequest,
    assets.AssetView,
    "Make an asset of an upload; the same again changes nothing.",
)
ASSET_ERASE: Final = _for_clients(
    "erase",
    subjects.ASSETS_ERASE,
    assets.AssetEraseRequest,
    assets.AssetErased,
    "Erase a sealed asset, or what is stored of it.",
)
WEBHOOK_ADD: Final = _for_clients(
    "add",
    subjects.WEBHOOKS_ADD,
    w.WebhookAddRequest,
    w.WebhookAdded,
    "Push events from now on to an address; the secret is answered once.",
)
WEBHOOK_LIST: Final = _for_clients(
    "list",
    subjects.WEBHOOKS_LIST,
    w.WebhookListRequest,
    w.WebhookList,
    "All webhooks, the oldest first.",
)
WEBHOOK_GET: Final = _for_clients(
    "get", subjects.WEBHOOKS_GET, w.WebhookRequest, w.WebhookView, "One webhook."
)
WEBHOOK_REMOVE: Final = _for_clients(
    "remove",
    subjects.WEBHOOKS_REMOVE,
    w.WebhookRequest,
    w.WebhookView,
    "Push nothing to it any more; what waits for it is dropped.",
)
WEBHOOK_TEST: Final = _for_clients(
    "test",
    subjects.WEBHOOKS_TEST,
    w.WebhookRequest,
    w.WebhookTested,
    "Call it once, now, with an event of its own type.",
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
    MANIFEST,
    EVIDENCE,
    RELEASE,
    OUTCOME,
    RESULT,
    RESULT_CHUNK,
    ASSET,
    ASSET_STORED,
    ASSET_PUT,
    ASSET_ERASE,
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
