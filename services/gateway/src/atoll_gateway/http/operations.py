"""What each route does: read the request, ask the port, shape the answer."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from atoll.errors import ConflictError, InputError, NotFoundError
from atoll.sealing.release import KeyRelease
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import schema, subjects
from atoll.wire.access import CreateTokenRequest, TokenListRequest, TokenRequest
from atoll.wire.messages import (
    JobListRequest,
    JobRequest,
    JobView,
    OutcomeRecord,
    SubmitRequest,
    WithdrawRequest,
)
from atoll.wire.schema import Digest, Pattern, Range, message
from atoll_gateway.caller import Caller
from atoll_gateway.http import body, ports, stream
from atoll_gateway.http.gate import Visit
from atoll_gateway.http.guard import VISIT
from atoll_gateway.outcomes import current_outcome, result_ids

T = TypeVar("T")

MAX_SUBMIT: Final = 512 << 10
"""Bytes of a submission: the largest manifest in base64url, and 32 consents."""
MAX_WITHDRAWAL: Final = 8 << 10
MAX_RELEASE: Final = 16 << 10
MAX_TOKEN: Final = 4 << 10

_ASSET_ID: Final = re.compile(r"[0-9a-f]{32}")


@message
class AssetInfo:
    """A stored object: its ciphertext's size and digest."""

    asset_id: Annotated[str, Pattern(r"[0-9a-f]{32}")]
    size: Annotated[int, Range(0, 1 << 45)]
    sha256: Digest


@message
class Health:
    """The process is up. It says nothing about the bus."""

    status: Annotated[str, Pattern("ok")]
    version: Annotated[str, Pattern(r"[0-9A-Za-z.+-]{1,64}")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """The operations, over what they need.

    `idle_s` is how long a client may be silent in the middle of a body.
    """

    jobs: ports.Jobs
    tokens: ports.Tokens
    hosts: ports.Hosts
    manifests: ports.Manifests
    evidence: ports.Evidence
    outcomes: ports.Outcomes
    attestor_keys: ports.AttestorKeys
    releases: ports.Releases
    assets: ports.Objects
    results: ports.Objects
    events: ports.Events
    webhooks: ports.Webhooks | None = None
    tracer: Tracer
    version: str
    document: bytes = field(repr=False)
    max_asset: int
    idle_s: float
    heartbeat_s: float
    closing: asyncio.Event

    async def health(self, request: Request) -> Response:
        del request
        return answer(Health(status="ok", version=self.version))

    async def openapi(self, request: Request) -> Response:
        del request
        return Response(self.document, media_type=body.JSON)

    async def jwks(self, request: Request) -> Response:
        with wiring.serve(self.tracer, subjects.ATTEST_KEYS, trace_headers(request)):
            document = await self.attestor_keys.jwks()
        return Response(document, media_type=body.JSON)

    async def submit(self, request: Request) -> Response:
        plain = await body.read_json(request, limit=MAX_SUBMIT, idle_s=self.idle_s)
        submission = schema.from_plain(SubmitRequest, plain, json=True)
        with wiring.serve(self.tracer, subjects.JOBS_SUBMIT, trace_headers(request)):
            view, created = await self.jobs.accept(submission, caller_of(request))
        reply = answer(view, 201 if created else 200)
        if created:
            reply.headers["location"] = f"/v1/jobs/{view.job_id}"
        return reply

    async def withdraw(self, request: Request) -> Response:
        plain = await body.read_json(request, limit=MAX_WITHDRAWAL, idle_s=self.idle_s)
        wanted = schema.from_plain(WithdrawRequest, plain, json=True)
        with wiring.serve(self.tracer, subjects.JOBS_WITHDRAW, trace_headers(request)):
            return answer(await self.jobs.withdraw(wanted, caller_of(request)))

    async def list_jobs(self, request: Request) -> Response:
        query = read_query(request, {"state", "limit"})
        plain: dict[str, Any] = dict(query)
        if "limit" in query:
            plain["limit"] = _integer("limit", query["limit"])
        wanted = schema.from_plain(JobListRequest, plain, json=True)
        with wiring.serve(self.tracer, subjects.JOBS_LIST, trace_headers(request)):
            return answer(await self.jobs.list(wanted, caller_of(request)))

    async def get_job(self, request: Request) -> Response:
        with wiring.serve(self.tracer, subjects.JOBS_GET, trace_headers(request)):
            return answer(await self.view(request))

    async def cancel(self, request: Request) -> Response:
        with wiring.serve(self.tracer, subjects.JOBS_CANCEL, trace_headers(request)):
            return answer(await self.jobs.cancel(_job(request), caller_of(request)))

    async def get_manifest(self, request: Request) -> Response:
        view = await self.view(request)
        agreed = await self.manifests.get(view.manifest_digest)
        if agreed is None:
            raise NotFoundError("the manifest is gone", code="manifest.not_found")
        return answer(agreed)

    async def get_evidence(self, request: Request) -> Response:
        view = await self.view(request)
        record = await self.evidence.get(view.enclave_id) if view.enclave_id else None
        if record is None or (record.job_id, record.attempt) != (view.job_id, view.attempt):
            raise NotFoundError(
                f"job {view.job_id} has no evidence now",
                code="evidence.not_found",
                hint="it is there from the event `awaiting_assets` on",
            )
        return answer(record)

    async def release(self, request: Request) -> Response:
        """Pass a release on. What it is worth is for the enclave to say, which can check it."""
        plain = await body.read_json(request, limit=MAX_RELEASE, idle_s=self.idle_s)
        release = schema.from_plain(KeyRelease, plain, json=True)
        view = await self.view(request)
        enclave_id = require_current(release, view)
        await self.releases.publish(enclave_id, release)
        return Response(status_code=204)

    async def get_outcome(self, request: Request) -> Response:
        return answer(await self._outcome(request))

    async def get_receipt(self, request: Request) -> Response:
        record = await self._outcome(request)
        if not record.receipt:
            raise NotFoundError(f"job {record.job_id} has no receipt", code="receipt.not_found")
        return Response(record.receipt, media_type=body.JSON)

    async def put_asset(self, request: Request) -> Response:
        asset_id = _asset_id(request)
        chunks = body.read_chunks(
            request, media_type=body.BYTES, limit=self.max_asset, idle_s=self.idle_s
        )
        present = await self.assets.info(asset_id)
        if present is None:
            stored = await self.assets.put(asset_id, chunks, caller_of(request).tenant)
            status = 201
        else:
            # An upload whose answer was lost is repeated; another's object is not replaced.
            same = await _sha256(chunks) == present.sha256
            if not same or not caller_of(request).sees(present.tenant):
                raise ConflictError(
                    f"asset {asset_id} exists with other content",
                    code="asset.exists",
                    hint="seal again: every sealing draws a fresh id",
                )
            stored, status = present, 200
        return answer(AssetInfo(asset_id=asset_id, size=stored.size, sha256=stored.sha256), status)

    async def head_asset(self, request: Request) -> Response:
        asset_id = _asset_id(request)
        stored = await self._asset(request, asset_id)
        return stream.ObjectStream(stored.size, stored.sha256, None)

    async def get_asset(self, request: Request) -> Response:
        asset_id = _asset_id(request)
        await self._asset(request, asset_id)
        return await _download(self.assets, "asset", asset_id)

    async def _asset(self, request: Request, asset_id: str) -> ports.Stored:
        """An asset of the caller's tenant. Raises: NotFoundError `asset.not_found`."""
        stored = await self.assets.info(asset_id)
        if stored is None or not caller_of(request).sees(stored.tenant):
            raise _no_object("asset", asset_id)
        return stored

    async def get_result(self, request: Request) -> Response:
        """A result of the job's outcome: who may not see the job finds none."""
        asset_id = _asset_id(request)
        record = await self._outcome(request)
        if asset_id not in result_ids(record):
            raise _no_object("result", asset_id)
        return await _download(self.results, "result", asset_id)

    async def own_token(self, request: Request) -> Response:
        return answer(await self.tokens.get(TokenRequest(token_id=caller_of(request).actor)))

    async def list_tokens(self, request: Request) -> Response:
        query = read_query(request, {"tenant"})
        wanted = schema.from_plain(TokenListRequest, dict(query), json=True)
        return answer(await self.tokens.list(wanted))

    async def create_token(self, request: Request) -> Response:
        plain = await body.read_json(request, limit=MAX_TOKEN, idle_s=self.idle_s)
        wanted = schema.from_plain(CreateTokenRequest, plain, json=True)
        with wiring.serve(self.tracer, subjects.TOKENS_CREATE, trace_headers(request)):
            return answer(await self.tokens.create(wanted, caller_of(request)), 201)

    async def get_token(self, request: Request) -> Response:
        return answer(await self.tokens.get(_token(request)))

    async def revoke_token(self, request: Request) -> Response:
        with wiring.serve(self.tracer, subjects.TOKENS_REVOKE, trace_headers(request)):
            return answer(await self.tokens.revoke(_token(request), caller_of(request)))

    async def view(self, request: Request) -> JobView:
        """The job that the path names. Raises: NotFoundError `job.not_found`."""
        return await self.jobs.get(_job(request), caller_of(request))

    async def _outcome(self, request: Request) -> OutcomeRecord:
        """The outcome that the ledger names, and no other."""
        view = await self.view(request)
        record = await current_outcome(view, self.outcomes)
        if record is None:
            raise NotFoundError(
                f"job {view.job_id} is {view.state.value} and has no outcome",
                code="outcome.not_found",
            )
        return record


def require_current(release: KeyRelease, view: JobView) -> str:
    """The enclave that a release is for, if it is for the job as it now stands.

    Raises:
        InputError: `release.other_job`.
        ConflictError: `release.stale`: no enclave waits for it, or another one does.
    """
    if release.job_id != view.job_id:
        raise InputError(
            f"release is for job {release.job_id}, not {view.job_id}", code="release.other_job"
        )
    if release.manifest_digest.hex() != view.manifest_digest:
        raise InputError("release is for another manifest", code="release.other_manifest")
    current = (view.attempt, view.evidence_digest)
    if (
        view.enclave_id is None
        or view.state.terminal
        or (release.attempt, release.evidence_digest.hex()) != current
    ):
        raise ConflictError(
            f"no enclave of job {view.job_id} waits for this release now",
            code="release.stale",
            hint="appraise the current evidence and release again",
        )
    return view.enclave_id


def answer(value: object, status: int = 200) -> Response:
    """The JSON form of a message."""
    text = json.dumps(schema.to_plain(value, json=True), ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "replace"), status, media_type=body.JSON)


def read_query(request: Request, known: set[str]) -> dict[str, str]:
    """The query parameters.

    Raises:
        InputError: one that is unknown, or stands twice.
    """
    result: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known or name in result:
            raise InputError(f"query parameter {name[:40]!r} is unknown or stands twice")
        result[name] = value
    return result


def trace_headers(request: Request) -> Mapping[str, str]:
    """The headers that say to which trace a request belongs."""
    values = request.headers.getlist("traceparent")
    return {"traceparent": values[0]} if len(values) == 1 else {}


def caller_of(request: Request) -> Caller:
    """Who asks; every path but the open ones has a caller."""
    caller = visit_of(request).caller
    if caller is None:
        raise AssertionError("this path is not open")
    return caller


def visit_of(request: Request) -> Visit:
    found = request.scope[VISIT]
    if not isinstance(found, Visit):
        raise TypeError("requests come through the guard")
    return found


def _token(request: Request) -> TokenRequest:
    return schema.from_plain(TokenRequest, {"token_id": request.path_params["token_id"]}, json=True)


def _job(request: Request) -> JobRequest:
    return schema.from_plain(JobRequest, {"job_id": request.path_params["job_id"]}, json=True)


def _asset_id(request: Request) -> str:
    value = str(request.path_params["asset_id"])
    if not _ASSET_ID.fullmatch(value):
        raise InputError(f"asset id {value[:80]!r} is not 32 lower-case hex digits")
    return value


def _integer(name: str, text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise InputError(f"query parameter {name} is {text[:20]!r}, want an integer")
    return int(text)


def _no_object(kind: str, asset_id: str) -> NotFoundError:
    return NotFoundError(f"there is no {kind} {asset_id}", code=f"{kind}.not_found")


async def _download(objects: ports.Objects, kind: str, asset_id: str) -> Response:
    found = await objects.get(asset_id)
    if found is None:
        raise _no_object(kind, asset_id)
    stored, chunks = found
    return stream.ObjectStream(stored.size, stored.sha256, chunks)


async def _sha256(chunks: AsyncIterable[bytes] | AsyncGenerator[bytes, None]) -> str:
    digest = hashlib.sha256()
    async for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
