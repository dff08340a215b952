"""Nobody gets in without the token, and every failure has one shape."""

import asyncio
import json
from dataclasses import replace

import pytest
from starlette.types import Message, Receive, Scope, Send

from atoll.errors import UnreachableError
from atoll.wire import schema
from atoll.wire.access import AccessRole
from atoll.wire.messages import JobRecord
from atoll_gateway.http import faults
from atoll_gateway.http.gate import Gate
from atoll_gateway.http.guard import Guard
from atoll_gateway.http.limits import Limits, Rate
from atoll_gateway.http.operation import Operation
from atoll_gateway.http.routes import OPERATIONS
from atoll_gateway.tokens import TokenDirectory
from support.access import EXPIRED, OPERATOR, REVOKED, SUBMITTER, UNKNOWN, VIEWER
from support.gateway import MemoryJobs, submission
from support.nats import wait_for
from unit.gateway.http.asgi import TOKEN
from unit.gateway.http.gateway import JSON, Gateway

ASSET = "ab" * 16


BAD_CREDENTIALS: list[tuple[str | None, list[tuple[str, str]]]] = [
    (None, []),
    ("", []),
    ("short", []),
    (TOKEN + "x", []),
    (TOKEN[:-1], []),
    (TOKEN[:-1] + ("0" if TOKEN[-1] != "0" else "1"), []),
    (UNKNOWN.text, []),
    (EXPIRED.text, []),
    (REVOKED.text, []),
    (replace(OPERATOR, secret=VIEWER.secret).text, []),
    ("é" * 22, []),
    ("x" * 10_000, []),
    (None, [("authorization", TOKEN)]),
    (None, [("authorization", f"Basic {TOKEN}")]),
    (None, [("authorization", f"Bearer{TOKEN}")]),
    (TOKEN, [("authorization", f"Bearer {TOKEN}")]),
    (TOKEN, [("authorization", "")]),
]


@pytest.mark.parametrize(("token", "headers"), BAD_CREDENTIALS)
async def test_every_secured_operation_asks_for_the_token(
    token: str | None, headers: list[tuple[str, str]]
) -> None:
    gateway = Gateway(limits=Limits(failures=Rate(burst=1000, per_s=1)))
    for row in OPERATIONS:
        answer = await gateway.call(row.method, row.path, token=token, headers=headers)
        assert (answer.status == 401) == row.secured, row.id
        if row.secured:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.code == "http.unauthorized"
    assert (await gateway.call("GET", "/nowhere", token=token, headers=headers)).status == 401


async def test_every_bad_credential_gets_the_same_answer() -> None:
    gateway = Gateway(limits=Limits(failures=Rate(burst=1000, per_s=1)))
    bodies = set()
    for token, headers in BAD_CREDENTIALS:
        answer = await gateway.call("GET", "/v1/jobs", token=token, headers=headers)
        plain = answer.json
        del plain["error_id"]
        bodies.add(json.dumps(plain))
    assert len(bodies) == 1


async def test_the_scheme_is_read_in_any_case() -> None:
    answer = await Gateway().call(
        "GET", "/v1/jobs", token=None, headers=[("authorization", f"bEARER {TOKEN}")]
    )
    assert answer.status == 200


BY_ROLE = {
    AccessRole.VIEWER: VIEWER,
    AccessRole.SUBMITTER: SUBMITTER,
    AccessRole.OPERATOR: OPERATOR,
}


@pytest.mark.parametrize("role", AccessRole)
@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.id)
async def test_a_role_may_what_the_table_says_and_nothing_else(
    row: Operation, role: AccessRole
) -> None:
    gateway = Gateway()
    target = row.path.format(
        job_id="none", asset_id=ASSET, token_id="0" * 12, seq=1, webhook_id="none", host_id="none"
    )
    answer = await gateway.call(row.method, target, token=BY_ROLE[role].text)
    refused = row.role is not None and not role.allows(row.role)
    assert (answer.status == 403) is refused, answer.body
    if refused:
        assert answer.code == "http.forbidden"


def test_the_table_gives_each_role_what_it_is_for() -> None:
    """The matrix once more, by hand."""
    table = {row.id: row.role.value if row.role else "" for row in OPERATIONS}
    assert table == {
        "health": "",
        "openapi": "",
        "getJwks": "",
        "submitJob": "submitter",
        "withdrawConsent": "submitter",
        "listJobs": "viewer",
        "getJob": "viewer",
        "cancelJob": "submitter",
        "followEvents": "viewer",
        "getManifest": "viewer",
        "getEvidence": "viewer",
        "releaseKey": "submitter",
        "getOutcome": "viewer",
        "getReceipt": "viewer",
        "putAsset": "submitter",
        "headAsset": "submitter",
        "getAsset": "submitter",
        "getResult": "viewer",
        "getOwnToken": "viewer",
        "listHosts": "operator",
        "orderHost": "operator",
        "listTokens": "operator",
        "createToken": "operator",
        "getToken": "operator",
        "revokeToken": "operator",
        "getEvent": "viewer",
        # These show or concern the jobs of all tenants.
        "followAllEvents": "operator",
        "addWebhook": "operator",
        "listWebhooks": "operator",
        "getWebhook": "operator",
        "removeWebhook": "operator",
        "testWebhook": "operator",
    }


async def test_an_address_that_asks_too_fast_waits() -> None:
    gateway = Gateway(limits=Limits(address=Rate(burst=2, per_s=0.5)))
    for _ in range(2):
        assert (await gateway.call("GET", "/healthz", token=None)).status == 200
    answer = await gateway.call("GET", "/healthz", token=None)
    assert (answer.status, answer.code) == (429, "http.rate_limited")
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["ratelimit"] == '"address";r=0;t=4'
    elsewhere = await gateway.call("GET", "/healthz", token=None, address="192.0.2.2")
    assert elsewhere.status == 200
    gateway.now_s = 2.0
    assert (await gateway.call("GET", "/healthz", token=None)).status == 200


async def test_a_token_that_asks_too_fast_waits_wherever_it_is_shown() -> None:
    gateway = Gateway(limits=Limits(token=Rate(burst=2, per_s=1.0)))
    for number in range(2):
        answer = await gateway.call("GET", "/v1/jobs", address=f"192.0.2.{number}")
        assert answer.headers["ratelimit"] == f'"token";r={1 - number};t={number + 1}'
    answer = await gateway.call("GET", "/v1/jobs", address="192.0.2.9")
    assert (answer.status, answer.code) == (429, "http.rate_limited")
    assert (await gateway.call("GET", "/v1/jobs", token=VIEWER.text)).status == 200


async def test_who_fails_too_often_is_told_to_wait_and_others_behind_the_address_are_not() -> None:
    gateway = Gateway(limits=Limits(failures=Rate(burst=2, per_s=0.1)))
    answers = [await gateway.call("GET", "/v1/jobs", token="wrong") for _ in range(3)]
    assert [answer.status for answer in answers] == [401, 401, 429]
    assert answers[2].code == "http.too_many_failures"
    assert answers[2].headers["retry-after"] == "10"
    assert (await gateway.call("GET", "/v1/jobs")).status == 200


async def test_requests_and_streams_of_a_token_are_counted_while_they_last() -> None:
    gateway = Gateway(limits=Limits(streams_per_token=1, requests_per_token=2))
    gateway.events.hold = asyncio.Event()
    view = await gateway.waiting()
    target, gone = f"/v1/jobs/{view.job_id}/events", asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.call("GET", target, gone=gone))
        await wait_for(lambda: gateway.events.reading == 1, "a stream is open")
        second = await gateway.call("GET", target)
        assert (second.status, second.code) == (429, "http.too_many_streams")
        assert (await gateway.call("GET", "/v1/jobs")).status == 200
        other = tasks.create_task(gateway.call("GET", target, token=VIEWER.text, gone=gone))
        await wait_for(lambda: gateway.events.reading == 2, "another's stream is open")
        gone.set()
    assert other.result().status == 200
    gateway.events.hold = None
    assert (await gateway.call("GET", target)).status == 200


async def test_all_requests_together_are_bounded() -> None:
    gateway = Gateway(limits=Limits(requests=1))
    gateway.events.hold = asyncio.Event()
    view = await gateway.waiting()
    gone = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.call("GET", f"/v1/jobs/{view.job_id}/events", gone=gone))
        await wait_for(lambda: gateway.events.reading == 1, "a stream is open")
        answer = await gateway.call("GET", "/healthz", token=None)
        assert (answer.status, answer.code) == (503, "http.busy")
        assert answer.headers["retry-after"] == "1"
        gone.set()


async def test_a_revoked_token_ends_its_stream() -> None:
    gateway = Gateway()
    gateway.events.hold = asyncio.Event()
    view = await gateway.waiting()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        target = f"/v1/jobs/{view.job_id}/events"
        tasks.create_task(gateway.call("GET", target, token=VIEWER.text))
        await wait_for(lambda: gateway.events.reading == 1, "a stream is open")
        revoked = await gateway.call("POST", f"/v1/tokens/{VIEWER.id}/revoke")
        assert revoked.json["disabled"] is True
    assert (await gateway.call("GET", "/v1/jobs", token=VIEWER.text)).status == 401


async def test_what_a_tokens_holder_is_refused_goes_on_record_and_nobody_elses() -> None:
    gateway = Gateway()
    for _ in range(3):
        answer = await gateway.post("/v1/jobs", {}, token=VIEWER.text)
        assert answer.status == 403
    for text in ("atoll_aaaaaaaaaaaa_" + VIEWER.text.rpartition("_")[2], "x", None):
        assert (await gateway.call("GET", "/v1/jobs", token=text)).status == 401
    await gateway.refusals.record_due()
    revoked = await gateway.call("POST", f"/v1/tokens/{VIEWER.id}/revoke")
    assert revoked.status == 200
    assert (await gateway.call("GET", "/v1/jobs", token=VIEWER.text)).status == 401
    wrong = VIEWER.text[:-1] + ("A" if VIEWER.text[-1] != "A" else "B")
    assert (await gateway.call("GET", "/v1/jobs", token=wrong)).status == 401
    await gateway.refusals.record_due(ending=True)
    told = [one for one in gateway.audit.entries if one.action.value == "request_refused"]
    assert [(one.actor, one.object, one.code) for one in told] == [
        (VIEWER.id, "submitJob and 2 more", "http.forbidden"),
        (VIEWER.id, "", "http.unauthorized"),
    ]


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    aborted = []
    gate = Gate(TokenDirectory(), Limits(), clock=lambda: 0, monotonic=lambda: 0.0)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def never(message: Message) -> None:
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    guard = Guard(app, gate=gate, open_paths={"/"}, new_id=lambda: "id", write_s=0.01)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "headers": [],
        "client": ("192.0.2.1", 1),
        "state": {"abort": lambda: aborted.append(True)},
    }
    await guard(scope, receive, never)
    assert aborted == [True]


async def test_an_unknown_route_and_an_unknown_method_say_so() -> None:
    gateway = Gateway()
    for target in ("/", "/v1", "/v1/jobs/", "/v1/jobs/a/b/c", "/docs"):
        answer = await gateway.call("GET", target)
        assert (answer.status, answer.code) == (404, "http.no_route"), target
    answer = await gateway.call("DELETE", "/v1/jobs")
    assert (answer.status, answer.code) == (405, "http.method")
    assert answer.headers["allow"] == "GET, POST"


class Broken(MemoryJobs):
    """Fails in a way nobody meant."""

    async def get(self, job_id: str) -> tuple[JobRecord, int] | None:
        raise ZeroDivisionError("a secret detail")


class Away(MemoryJobs):
    """The bus does not answer."""

    async def get(self, job_id: str) -> tuple[JobRecord, int] | None:
        raise UnreachableError("no answer", code="bus.unreachable")


async def test_an_unexpected_error_shows_an_id_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = await Gateway(jobs=Broken()).call("GET", "/v1/jobs/a")
    assert answer.status == 500
    error_id = answer.json["error_id"]
    assert answer.json == {"code": "internal", "message": "internal error", "error_id": error_id}
    assert error_id in caplog.text
    assert "a secret detail" in caplog.text


async def test_an_unreachable_bus_asks_to_try_again() -> None:
    answer = await Gateway(jobs=Away()).call("GET", "/v1/jobs/a")
    assert (answer.status, answer.code) == (503, "bus.unreachable")
    assert answer.headers["retry-after"] == "2"


async def test_an_object_that_breaks_in_the_middle_breaks_the_connection() -> None:
    gateway = Gateway()
    gateway.assets.stored[ASSET] = b"x" * 5000
    gateway.assets.fail_after = 2
    answer = await gateway.call("GET", f"/v1/assets/{ASSET}")
    assert (answer.status, len(answer.body), answer.complete) == (200, 2000, False)


async def test_every_answer_forbids_caching_and_sniffing() -> None:
    gateway = Gateway()
    for target in ("/healthz", "/v1/jobs", "/nowhere"):
        answer = await gateway.call("GET", target)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_job_belongs_to_the_trace_that_submitted_it() -> None:
    gateway = Gateway()
    raw = json.dumps(schema.to_plain(submission(), json=True)).encode()
    trace = ("traceparent", f"00-{'ab' * 16}-{'cd' * 8}-01")
    answer = await gateway.call("POST", "/v1/jobs", body=[raw], headers=[JSON, trace])
    assert answer.json["trace_id"] == "ab" * 16


@pytest.mark.parametrize("value", ["", "x", "00-0-0-00", f"00-{'0' * 32}-{'cd' * 8}-01"])
async def test_a_bad_traceparent_starts_a_new_trace(value: str) -> None:
    gateway = Gateway()
    raw = json.dumps(schema.to_plain(submission(), json=True)).encode()
    answer = await gateway.call(
        "POST", "/v1/jobs", body=[raw], headers=[JSON, ("traceparent", value)]
    )
    assert answer.status == 201
    assert answer.json["trace_id"] not in {None, "0" * 32}


def test_a_message_that_quotes_a_surrogate_has_an_answer() -> None:
    error = UnreachableError("x\ud800" * 2000)
    body = json.loads(bytes(faults.respond(error, "e1").body))
    assert len(body["message"]) == faults.MAX_TEXT
