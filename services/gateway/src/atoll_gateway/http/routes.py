"""Every operation, once. The router and the OpenAPI document are both made from this table."""

from typing import Final

from atoll.sealing.release import KeyRelease
from atoll.wire import cloudevents
from atoll.wire.access import AccessRole, TokenView
from atoll.wire.messages import (
    AgreedManifest,
    EvidenceRecord,
    JobList,
    JobState,
    JobView,
    OutcomeRecord,
    SubmitRequest,
    WithdrawReply,
    WithdrawRequest,
)
from atoll_gateway.http import body, events, operations, stream
from atoll_gateway.http.operation import TOKEN_PATTERN, Answer, Body, Operation, Parameter
from atoll_gateway.http.operations import AssetInfo, Health, Operations
from atoll_gateway.http.operator_routes import FOR_OPERATORS

NUMBER_PATTERN: Final = "^[0-9]{1,15}$"
ASSET_PATTERN: Final = "^[0-9a-f]{32}$"

_JOB: Final = Parameter(
    name="job_id",
    place="path",
    schema={"type": "string", "pattern": TOKEN_PATTERN},
    text="The job's id.",
)
_ASSET: Final = Parameter(
    name="asset_id",
    place="path",
    schema={"type": "string", "pattern": ASSET_PATTERN},
    text="The sealed asset's id, from its header.",
)
_STATE: Final = Parameter(
    name="state",
    place="query",
    schema={"type": "string", "enum": [state.value for state in JobState]},
    text="Only jobs in this state.",
)
_LIMIT: Final = Parameter(
    name="limit",
    place="query",
    schema={"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    text="At most so many.",
)
_FOLLOW: Final = Parameter(
    name="follow",
    place="query",
    schema={"type": "string", "enum": ["true", "false"], "default": "true"},
    text="`false` ends after the newest event.",
)
_LAST: Final = Parameter(
    name="Last-Event-ID",
    place="header",
    schema={"type": "string", "pattern": NUMBER_PATTERN},
    text="As `after`, and stronger: what a browser sends when it comes back.",
)
_AFTER: Final = Parameter(
    name="after",
    place="query",
    schema={"type": "string", "pattern": NUMBER_PATTERN, "default": "0"},
    text="Leave out the events up to this one.",
)
_PAGE: Final = Parameter(
    name="limit",
    place="query",
    schema={"type": "integer", "minimum": 1, "maximum": events.MAX_PAGE},
    text="At most so many in a batch.",
)
_SEQ: Final = Parameter(
    name="seq",
    place="path",
    schema={"type": "string", "pattern": NUMBER_PATTERN},
    text="The event's number in the job's history.",
)
_EVENTS: Final = Answer(text="Events in order.", media=stream.SSE, also=(cloudevents.BATCH,))
_VIEW: Final = Answer(text="The job.", message=JobView)
_BYTES: Final = Answer(text="The ciphertext.", media=body.BYTES)

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        method="GET",
        path="/healthz",
        id="health",
        summary="Whether the process is up.",
        call=Operations.health,
        answers={200: Answer(text="It is.", message=Health)},
        role=None,
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        id="openapi",
        summary="This document.",
        call=Operations.openapi,
        answers={200: Answer(text="OpenAPI 3.1.", media=body.JSON)},
        role=None,
    ),
    Operation(
        method="GET",
        path="/.well-known/jwks.json",
        id="getJwks",
        summary="The keys that attestation results are signed with (RFC 7517).",
        call=Operations.jwks,
        answers={200: Answer(text="A JWK set.", media=body.JSON)},
        role=None,
    ),
    Operation(
        method="POST",
        path="/v1/jobs",
        id="submitJob",
        summary="Accept an agreed manifest as a job; durable before it is acknowledged.",
        role=AccessRole.SUBMITTER,
        call=Operations.submit,
        body=Body(message=SubmitRequest, limit=operations.MAX_SUBMIT),
        answers={
            201: Answer(text="A new job.", message=JobView),
            200: Answer(text="The job that this idempotency key stands for.", message=JobView),
        },
        errors=(403, 409),
    ),
    Operation(
        method="POST",
        path="/v1/withdrawals",
        id="withdrawConsent",
        summary="Take a consent back: no job of the manifest starts or gets a key from then on.",
        role=AccessRole.SUBMITTER,
        call=Operations.withdraw,
        body=Body(message=WithdrawRequest, limit=operations.MAX_WITHDRAWAL),
        answers={200: Answer(text="The jobs that ended for it.", message=WithdrawReply)},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/jobs",
        id="listJobs",
        summary="The newest jobs first; it may trail the ledger by a moment.",
        role=AccessRole.VIEWER,
        call=Operations.list_jobs,
        parameters=(_STATE, _LIMIT),
        answers={200: Answer(text="Jobs.", message=JobList)},
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}",
        id="getJob",
        summary="One job.",
        role=AccessRole.VIEWER,
        call=Operations.get_job,
        parameters=(_JOB,),
        answers={200: _VIEW},
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/v1/jobs/{job_id}/cancel",
        id="cancelJob",
        summary="End a job that has not ended; an ended one is left as it is.",
        role=AccessRole.SUBMITTER,
        call=Operations.cancel,
        parameters=(_JOB,),
        answers={200: _VIEW},
        errors=(404, 409),
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}/events",
        id="followEvents",
        summary="The job's events in order, from any number on; a stream ends with the job.",
        role=AccessRole.VIEWER,
        call=events.job_events,
        parameters=(_JOB, _AFTER, _FOLLOW, _PAGE, _LAST),
        answers={200: _EVENTS},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}/events/{seq}",
        id="getEvent",
        summary="One event of the job.",
        role=AccessRole.VIEWER,
        call=events.one_event,
        parameters=(_JOB, _SEQ),
        answers={200: Answer(text="The event.", media=cloudevents.STRUCTURED)},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/events",
        id="followAllEvents",
        summary="The events of all jobs and submissions in order, from any place on.",
        role=AccessRole.OPERATOR,
        call=events.all_events,
        parameters=(_AFTER, _FOLLOW, _PAGE, _LAST),
        answers={200: _EVENTS},
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}/manifest",
        id="getManifest",
        summary="The manifest and the consents to it.",
        role=AccessRole.VIEWER,
        call=Operations.get_manifest,
        parameters=(_JOB,),
        answers={200: Answer(text="The manifest.", message=AgreedManifest)},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}/evidence",
        id="getEvidence",
        summary="The evidence of the job's current enclave. Appraise it yourself.",
        role=AccessRole.VIEWER,
        call=Operations.get_evidence,
        parameters=(_JOB,),
        answers={200: Answer(text="The evidence.", message=EvidenceRecord)},
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/v1/jobs/{job_id}/releases",
        id="releaseKey",
        summary="Pass a key release on to the job's current enclave.",
        role=AccessRole.SUBMITTER,
        call=Operations.release,
        parameters=(_JOB,),
        body=Body(message=KeyRelease, limit=operations.MAX_RELEASE),
        answers={204: Answer(text="On its way.")},
        errors=(404, 409),
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}/outcome",
        id="getOutcome",
        summary="The sealed result's record and the receipt.",
        role=AccessRole.VIEWER,
        call=Operations.get_outcome,
        parameters=(_JOB,),
        answers={200: Answer(text="The outcome.", message=OutcomeRecord)},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}/receipt",
        id="getReceipt",
        summary="The receipt file, to be verified offline.",
        role=AccessRole.VIEWER,
        call=Operations.get_receipt,
        parameters=(_JOB,),
        answers={200: Answer(text="The receipt.", media=body.JSON)},
        errors=(404,),
    ),
    Operation(
        method="PUT",
        path="/v1/assets/{asset_id}",
        id="putAsset",
        summary="Store a sealed asset. Storing the same bytes again changes nothing.",
        role=AccessRole.SUBMITTER,
        call=Operations.put_asset,
        parameters=(_ASSET,),
        body=Body(message=None, limit=None),
        answers={
            201: Answer(text="Stored.", message=AssetInfo),
            200: Answer(text="It was there.", message=AssetInfo),
        },
        errors=(409,),
    ),
    Operation(
        method="HEAD",
        path="/v1/assets/{asset_id}",
        id="headAsset",
        summary="Size and digest of a sealed asset, in the headers.",
        role=AccessRole.SUBMITTER,
        call=Operations.head_asset,
        parameters=(_ASSET,),
        answers={200: Answer(text="It is there.")},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/assets/{asset_id}",
        id="getAsset",
        summary="A sealed asset.",
        role=AccessRole.SUBMITTER,
        call=Operations.get_asset,
        parameters=(_ASSET,),
        answers={200: _BYTES},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/jobs/{job_id}/results/{asset_id}",
        id="getResult",
        summary="A sealed result of the job.",
        role=AccessRole.VIEWER,
        call=Operations.get_result,
        parameters=(_JOB, _ASSET),
        answers={200: _BYTES},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/v1/token",
        id="getOwnToken",
        summary="The token that the request shows.",
        role=AccessRole.VIEWER,
        call=Operations.own_token,
        answers={200: Answer(text="The token.", message=TokenView)},
    ),
    *FOR_OPERATORS,
)
