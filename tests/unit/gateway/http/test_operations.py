"""Every operation over ports in memory: what is taken, what is answered, what is refused."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from atoll.computation.manifest import TeeRequirements
from atoll.sealing.release import WRAPPED_SIZE
from atoll.sealing.result import ResultRecord, WrappedKey
from atoll.wire import schema
from atoll.wire.messages import (
    AgreedManifest,
    EvidenceRecord,
    OutcomeRecord,
    ReportKind,
    Tee,
)
from atoll_gateway.http.routes import OPERATIONS
from support.access import FOREIGN, OPERATOR, OTHER_TENANT, SUBMITTER, VIEWER, access_token
from support.gateway import submission
from unit.gateway.http.gateway import JSON, Gateway, release

BYTES = ("content-type", "application/octet-stream")
ASSET = "ab" * 16


async def test_a_submission_makes_a_job_and_the_same_again_finds_it() -> None:
    gateway = Gateway()
    first, again = await gateway.submit(), await gateway.submit()
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    assert first.headers["location"] == f"/v1/jobs/{first.json['job_id']}"
    found = await gateway.call("GET", first.headers["location"])
    assert (found.status, found.json) == (200, first.json)


async def test_the_attestors_keys_need_no_token_but_an_attestor() -> None:
    gateway = Gateway()
    answer = await gateway.call("GET", "/.well-known/jwks.json", token=None)
    assert (answer.status, answer.json) == (200, {"keys": []})
    assert answer.headers["content-type"] == "application/json"
    gateway.attestor_keys.document = None
    answer = await gateway.call("GET", "/.well-known/jwks.json")
    assert (answer.status, answer.code) == (503, "bus.no_responders")


async def test_a_key_used_for_another_manifest_is_a_conflict() -> None:
    gateway = Gateway()
    await gateway.submit()
    answer = await gateway.submit(nonce=1)
    assert (answer.status, answer.code) == (409, "job.idempotency")
    assert "hint" in answer.json


async def test_a_kind_nobody_starts_is_refused() -> None:
    answer = await Gateway().submit(tee=TeeRequirements(kind=Tee.SEV_SNP))
    assert (answer.status, answer.code) == (403, "job.no_such_tee")


async def test_cancels() -> None:
    gateway = Gateway()
    job_id = (await gateway.submit()).json["job_id"]
    answer = await gateway.call("POST", f"/v1/jobs/{job_id}/cancel")
    assert (answer.status, answer.json["state"]) == (200, "cancelled")


async def test_lists_by_state_and_limit() -> None:
    gateway = Gateway()
    await gateway.submit()
    await gateway.submit(key="key-2")
    await gateway.index.follow(gateway.jobs)
    counts = []
    for query in ("", "?limit=1", "?state=submitted&limit=1000", "?state=running"):
        answer = await gateway.call("GET", f"/v1/jobs{query}")
        assert answer.status == 200
        counts.append(len(answer.json["jobs"]))
    assert counts == [2, 1, 2, 0]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "limit=1&limit=2",
        "state=x",
        "page=1",
        "limit=1e1",
    ],
)
async def test_refuses_a_query_it_does_not_understand(query: str) -> None:
    answer = await Gateway().call("GET", f"/v1/jobs?{query}")
    assert answer.status == 400


@pytest.mark.parametrize("name", ["manifest", "evidence", "outcome", "receipt", "events", ""])
async def test_an_unknown_job_is_not_found(name: str) -> None:
    answer = await Gateway().call("GET", f"/v1/jobs/nobody/{name}".rstrip("/"))
    assert (answer.status, answer.code) == (404, "job.not_found")


@pytest.mark.parametrize("job_id", ["..", "a.b", "a b", "*", ">", "a" * 65, "é", "a\x00b"])
async def test_an_id_that_is_none_is_refused(job_id: str) -> None:
    answer = await Gateway().call("GET", f"/v1/jobs/{job_id}")
    assert (answer.status, answer.code) == (400, "message.invalid")


async def test_gives_the_manifest_as_it_was_signed() -> None:
    gateway = Gateway()
    job_id = (await gateway.submit()).json["job_id"]
    answer = await gateway.call("GET", f"/v1/jobs/{job_id}/manifest")
    assert schema.from_plain(AgreedManifest, answer.json, json=True) == submission().agreed


async def test_gives_the_evidence_of_the_current_enclave_only() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    target = f"/v1/jobs/{view.job_id}/evidence"
    assert (await gateway.call("GET", target)).code == "evidence.not_found"
    for attempt, status in ((2, 404), (1, 200)):
        gateway.evidence.stored["e1"] = EvidenceRecord(
            enclave_id="e1", job_id=view.job_id, attempt=attempt, evidence=b"x", ear="y"
        )
        assert (await gateway.call("GET", target)).status == status
    await gateway.report(view.job_id, ReportKind.LOST)
    assert (await gateway.call("GET", target)).code == "evidence.not_found"


async def test_gives_outcome_and_receipt_of_the_accepted_attempt_only() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    record = OutcomeRecord(
        job_id=view.job_id, attempt=1, results={"results": b"r"}, receipt=b'{"a":1}'
    )
    gateway.outcomes.stored[view.job_id, 1] = record
    target = f"/v1/jobs/{view.job_id}"
    assert (await gateway.call("GET", f"{target}/outcome")).code == "outcome.not_found"
    await gateway.report(view.job_id, ReportKind.FINISHED, outcome=record)
    outcome = await gateway.call("GET", f"{target}/outcome")
    assert schema.from_plain(OutcomeRecord, outcome.json, json=True) == record
    receipt = await gateway.call("GET", f"{target}/receipt")
    assert (receipt.headers["content-type"], receipt.body) == ("application/json", b'{"a":1}')


async def test_an_outcome_that_the_ledger_does_not_name_is_not_given_out() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    own = OutcomeRecord(job_id=view.job_id, attempt=1, results={}, receipt=b"own")
    await gateway.report(view.job_id, ReportKind.FINISHED, outcome=own)
    gateway.outcomes.stored[view.job_id, 1] = replace(own, receipt=b"of a stale enclave")
    answer = await gateway.call("GET", f"/v1/jobs/{view.job_id}/outcome")
    assert (answer.status, answer.code) == (404, "outcome.not_found")


async def test_an_outcome_without_receipt_has_none() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    record = OutcomeRecord(job_id=view.job_id, attempt=1, results={"results": b"r"}, receipt=b"")
    gateway.outcomes.stored[view.job_id, 1] = record
    await gateway.report(view.job_id, ReportKind.FINISHED, outcome=record)
    answer = await gateway.call("GET", f"/v1/jobs/{view.job_id}/receipt")
    assert (answer.status, answer.code) == (404, "receipt.not_found")


async def test_passes_a_release_on_to_the_current_enclave() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    answer = await gateway.post(f"/v1/jobs/{view.job_id}/releases", release(view))
    assert (answer.status, answer.body) == (204, b"")
    ((enclave_id, passed),) = gateway.releases.published
    assert (enclave_id, schema.to_plain(passed, json=True)) == ("e1", release(view))


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"job_id": "other"}, 400, "release.other_job"),
        ({"manifest_digest": bytes(32)}, 400, "release.other_manifest"),
        ({"attempt": 2}, 409, "release.stale"),
        ({"evidence_digest": bytes(32)}, 409, "release.stale"),
    ],
)
async def test_refuses_a_release_for_something_else(
    changes: dict[str, Any], status: int, code: str
) -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    answer = await gateway.post(f"/v1/jobs/{view.job_id}/releases", release(view, **changes))
    assert (answer.status, answer.code) == (status, code)
    assert gateway.releases.published == []


async def test_refuses_a_release_for_a_job_that_ended() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    await gateway.report(view.job_id, ReportKind.FINISHED)
    answer = await gateway.post(f"/v1/jobs/{view.job_id}/releases", release(view))
    assert (answer.status, answer.code) == (409, "release.stale")


async def test_stores_an_asset_once_and_gives_it_back() -> None:
    gateway = Gateway()
    target, parts = f"/v1/assets/{ASSET}", [b"a" * 3000, b"", b"b" * 1500]
    first = await gateway.call("PUT", target, body=parts, headers=[BYTES])
    again = await gateway.call("PUT", target, body=[b"".join(parts)], headers=[BYTES])
    assert (first.status, again.status) == (201, 200)
    assert first.json == again.json
    other = await gateway.call("PUT", target, body=[b"other"], headers=[BYTES])
    assert (other.status, other.code) == (409, "asset.exists")
    found = await gateway.call("GET", target)
    head = await gateway.call("HEAD", target)
    assert found.body == b"".join(parts)
    assert head.body == b""
    for answer in (found, head):
        assert answer.headers["content-length"] == "4500"
        assert answer.headers["etag"] == f'"{first.json["sha256"]}"'


async def test_gives_a_result_of_the_jobs_outcome_and_no_other() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    stored = outcome(view.job_id, ASSET)
    await gateway.report(view.job_id, ReportKind.FINISHED, outcome=stored)
    gateway.results.stored = {ASSET: b"sealed", "00" * 16: b"another job's"}
    gateway.outcomes.stored[view.job_id, 1] = stored
    target = f"/v1/jobs/{view.job_id}/results"
    assert (await gateway.call("GET", f"{target}/{ASSET}")).body == b"sealed"
    missing = await gateway.call("GET", f"{target}/{'00' * 16}")
    assert (missing.status, missing.code) == (404, "result.not_found")


async def test_a_result_that_an_enclave_left_unreadable_is_none() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    stored = OutcomeRecord(job_id=view.job_id, attempt=1, results={"results": b"r"}, receipt=b"")
    await gateway.report(view.job_id, ReportKind.FINISHED, outcome=stored)
    gateway.outcomes.stored[view.job_id, 1] = stored
    answer = await gateway.call("GET", f"/v1/jobs/{view.job_id}/results/{ASSET}")
    assert (answer.status, answer.code) == (404, "result.not_found")


async def test_what_is_another_tenants_does_not_exist() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    stored = outcome(view.job_id, ASSET)
    await gateway.report(view.job_id, ReportKind.FINISHED, outcome=stored)
    gateway.results.stored[ASSET] = b"sealed"
    gateway.outcomes.stored[view.job_id, 1] = stored
    job = f"/v1/jobs/{view.job_id}"
    rows = [row for row in OPERATIONS if "{job_id}" in row.path]
    assert len(rows) == 10
    for row in rows:
        target = row.path.format(job_id=view.job_id, asset_id=ASSET, seq=1)
        body = [json.dumps(release(view)).encode()] if row.id == "releaseKey" else []
        call = {"body": body, "headers": [JSON] if body else []}
        foreign = await gateway.call(row.method, target, token=FOREIGN.text, **call)
        unknown = await gateway.call(
            row.method, target.replace(view.job_id, "nobody"), token=FOREIGN.text, **call
        )
        assert (foreign.status, foreign.code) == (404, "job.not_found"), row.id
        assert (
            foreign.json["message"].replace(view.job_id, "nobody") == (unknown.json["message"])
            or row.id == "releaseKey"
        )
    gateway.index.note((await gateway.jobs.get(view.job_id) or (None, 0))[0])  # type: ignore[arg-type]
    for token, count in ((FOREIGN, 0), (VIEWER, 1), (OPERATOR, 1)):
        listed = await gateway.call("GET", "/v1/jobs", token=token.text)
        assert len(listed.json["jobs"]) == count
    assert (await gateway.call("GET", job, token=VIEWER.text)).status == 200


async def test_tenants_never_meet_in_one_job_and_the_operator_sees_both() -> None:
    gateway = Gateway()
    raw = [json.dumps(schema.to_plain(submission(), json=True)).encode()]
    jobs = {}
    for token in (SUBMITTER, FOREIGN):
        answer = await gateway.call(
            "POST", "/v1/jobs", body=list(raw), headers=[JSON], token=token.text
        )
        assert answer.status == 201
        jobs[answer.json["tenant"]] = answer.json["job_id"]
    assert set(jobs) == {"main", OTHER_TENANT}
    assert len(set(jobs.values())) == 2
    for job in jobs.values():
        assert (await gateway.call("GET", f"/v1/jobs/{job}", token=OPERATOR.text)).status == 200
    foreign = await gateway.call("POST", f"/v1/jobs/{jobs['main']}/cancel", token=FOREIGN.text)
    assert foreign.status == 404
    own = await gateway.call("POST", f"/v1/jobs/{jobs['main']}/cancel", token=SUBMITTER.text)
    assert own.json["state"] == "cancelled"


async def test_who_did_what_is_on_record_once_it_changed_something() -> None:
    gateway = Gateway()
    view = await gateway.waiting()
    await gateway.submit()
    for _ in range(2):
        await gateway.call("POST", f"/v1/jobs/{view.job_id}/cancel")
    assert gateway.audit.told() == [
        ("job_submit", "done", view.job_id),
        ("job_cancel", "done", view.job_id),
    ]
    entry = gateway.audit.entries[0]
    assert (entry.actor_kind.value, entry.actor) == ("token", OPERATOR.id)
    assert (entry.source, entry.tenant) == ("192.0.2.1", "main")


async def test_a_request_has_the_id_that_is_on_record() -> None:
    gateway = Gateway()
    answer = await gateway.submit()
    assert gateway.audit.entries[0].request_id == answer.headers["x-request-id"]
    failed = await gateway.call("GET", "/v1/jobs/nobody")
    assert failed.json["error_id"] == failed.headers["x-request-id"]


async def test_an_operator_makes_shows_and_revokes_tokens() -> None:
    gateway = Gateway()
    token = access_token("new")
    made = {
        "token_id": token.id,
        "digest": base64.urlsafe_b64encode(token.digest).rstrip(b"=").decode(),
        "tenant": "t",
        "roles": ["viewer"],
        "name": "for a test",
    }
    created = await gateway.post("/v1/tokens", made)
    assert (created.status, created.json["tenant"]) == (201, "t")
    assert "digest" not in created.json
    assert (await gateway.call("GET", "/v1/jobs", token=token.text)).status == 200
    listed = await gateway.call("GET", "/v1/tokens?tenant=t")
    assert [each["token_id"] for each in listed.json["tokens"]] == [token.id]
    assert (await gateway.call("GET", f"/v1/tokens/{token.id}")).json == created.json
    revoked = await gateway.call("POST", f"/v1/tokens/{token.id}/revoke")
    assert revoked.json == {**created.json, "disabled": True}
    assert (await gateway.call("GET", "/v1/jobs", token=token.text)).status == 401
    assert gateway.audit.told() == [
        ("token_create", "begun", token.id),
        ("token_create", "done", token.id),
        ("token_revoke", "begun", token.id),
        ("token_revoke", "done", token.id),
    ]
    other = await gateway.post("/v1/tokens", {**made, "digest": "A" * 43})
    assert (other.status, other.code) == (409, "token.exists")


async def test_a_token_says_what_it_is() -> None:
    answer = await Gateway().call("GET", "/v1/token", token=FOREIGN.text)
    assert (answer.json["token_id"], answer.json["tenant"]) == (FOREIGN.id, OTHER_TENANT)
    assert "digest" not in answer.json


async def test_without_an_audit_operators_can_do_nothing_and_users_can() -> None:
    gateway = Gateway()
    gateway.audit.down = True
    answer = await gateway.call("POST", f"/v1/tokens/{VIEWER.id}/revoke")
    assert (answer.status, answer.code) == (503, "audit.unavailable")
    assert (await gateway.call("GET", "/v1/jobs", token=VIEWER.text)).status == 200
    assert (await gateway.submit()).status == 201


def outcome(job_id: str, asset_id: str) -> OutcomeRecord:
    """An outcome with one result."""
    record = ResultRecord(
        version=2,
        job_id=job_id,
        attempt=1,
        manifest_digest=bytes(32),
        evidence_digest=bytes(32),
        output="results",
        asset_id=bytes.fromhex(asset_id),
        size=6,
        archive_commitment=bytes(32),
        consumers=(WrappedKey(consumer="alice", wrapped=bytes(WRAPPED_SIZE)),),
        signature=bytes(64),
    )
    return OutcomeRecord(
        job_id=job_id, attempt=1, results={"results": schema.encode(record)}, receipt=b""
    )


@pytest.mark.parametrize("asset_id", ["AB" * 16, "ab", "..", "g" * 32, "ab" * 17])
@pytest.mark.parametrize("method", ["PUT", "HEAD", "GET"])
async def test_refuses_an_asset_id_that_is_none(method: str, asset_id: str) -> None:
    gateway = Gateway()
    answer = await gateway.call(method, f"/v1/assets/{asset_id}", headers=[BYTES], body=[b"x"])
    assert answer.status == 400
    assert gateway.assets.stored == {}


async def test_an_asset_beyond_the_limit_leaves_nothing() -> None:
    gateway = Gateway()
    answer = await gateway.call(
        "PUT", f"/v1/assets/{ASSET}", body=[b"x" * 6000, b"x" * 4001], headers=[BYTES]
    )
    assert (answer.status, answer.code) == (413, "http.too_large")
    assert gateway.assets.stored == {}


async def test_a_declared_length_beyond_the_limit_is_refused_before_a_byte_is_kept() -> None:
    gateway = Gateway()
    headers = [BYTES, ("content-length", "10001"), ("expect", "100-continue")]
    answer = await gateway.call("PUT", f"/v1/assets/{ASSET}", body=[b"x"] * 3, headers=headers)
    assert (answer.status, answer.unread) == (413, 3)


async def test_a_refused_body_is_read_only_so_far() -> None:
    part = b"x" * (1 << 20)
    headers = [JSON, ("content-length", str(50 << 20))]
    answer = await Gateway().call("POST", "/v1/jobs", body=[part] * 50, headers=headers)
    assert answer.status == 413
    assert answer.unread == 46


async def test_a_silent_client_is_let_go() -> None:
    gateway = Gateway()
    answer = await gateway.call(
        "PUT", f"/v1/assets/{ASSET}", body=[b"x"], headers=[BYTES], stalls=True
    )
    assert (answer.status, answer.code) == (408, "http.timeout")
    assert gateway.assets.stored == {}


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing() -> None:
    gateway = Gateway()
    answer = await gateway.call(
        "PUT", f"/v1/assets/{ASSET}", body=[b"half"], headers=[BYTES], leaves=True
    )
    assert (answer.status, answer.complete) == (0, False)
    assert gateway.assets.stored == {}


@pytest.mark.parametrize("media", ["text/plain", "application/json", "", "application/octet"])
async def test_refuses_an_asset_of_another_content_type(media: str) -> None:
    answer = await Gateway().call(
        "PUT", f"/v1/assets/{ASSET}", body=[b"x"], headers=[("content-type", media)]
    )
    assert (answer.status, answer.code) == (415, "http.media_type")


@pytest.mark.parametrize(
    "media", ["text/json", "application/json; charset=latin-1", "application/jsonx", ""]
)
async def test_refuses_json_of_another_content_type(media: str) -> None:
    answer = await Gateway().call(
        "POST", "/v1/jobs", body=[b"{}"], headers=[("content-type", media)]
    )
    assert (answer.status, answer.code) == (415, "http.media_type")


async def test_takes_json_that_says_it_is_utf_8() -> None:
    gateway = Gateway()
    raw = json.dumps(schema.to_plain(submission(), json=True)).encode()
    headers = [("content-type", "Application/JSON; charset=UTF-8")]
    assert (await gateway.call("POST", "/v1/jobs", body=[raw], headers=headers)).status == 201


BAD_JSON = {
    "nothing": b"",
    "not JSON": b"{",
    "key twice": b'{"agreed":1,"agreed":1}',
    "key twice inside": b'{"agreed":{"a":1,"a":1}}',
    "a float": b'{"x":1.0}',
    "NaN": b'{"x":NaN}',
    "Infinity": b"Infinity",
    "invalid UTF-8": b'{"x":"\xff"}',
    "UTF-16": '{"x":1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a lone surrogate": b'{"idempotency_key":"\\ud800"}',
    "a long number": b'{"x":' + b"9" * 5000 + b"}",
    "a deep nest": b"[" * 100_000 + b"]" * 100_000,
    "two values": b"{}{}",
}


@pytest.mark.parametrize("name", BAD_JSON)
async def test_refuses_json_with(name: str) -> None:
    answer = await Gateway().call("POST", "/v1/jobs", body=[BAD_JSON[name]], headers=[JSON])
    assert (answer.status, answer.code) == (400, "json.malformed")


@pytest.mark.parametrize("value", [{}, [], None, 5, "x", {"agreed": {}, "idempotency_key": "k"}])
async def test_refuses_json_that_is_not_the_message(value: object) -> None:
    answer = await Gateway().post("/v1/jobs", value)
    assert (answer.status, answer.code) == (400, "message.invalid")


async def test_refuses_an_unknown_field_in_a_submission() -> None:
    plain = schema.to_plain(submission(), json=True)
    answer = await Gateway().post("/v1/jobs", {**plain, "priority": 1})
    assert (answer.status, answer.code) == (400, "message.invalid")
    assert "priority" in answer.json["message"]


async def test_refuses_a_manifest_of_two_mebibytes() -> None:
    plain = schema.to_plain(submission(), json=True)
    plain["agreed"]["manifest"] = "A" * (2 << 20)
    answer = await Gateway().post("/v1/jobs", plain)
    assert (answer.status, answer.code) == (413, "http.too_large")


async def test_without_a_key_for_their_secrets_there_are_no_webhooks() -> None:
    gateway = Gateway()
    for answer in (
        await gateway.post("/v1/webhooks", {"url": "https://example.org/"}),
        await gateway.call("GET", "/v1/webhooks"),
        await gateway.call("DELETE", "/v1/webhooks/w1"),
    ):
        assert (answer.status, answer.json["code"]) == (404, "webhook.off")
