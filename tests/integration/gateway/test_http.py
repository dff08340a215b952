"""The gateway over a real bus: HTTP and NATS give the same answers."""

import asyncio
import http.client
import json
from collections.abc import Iterator

import pytest

from atoll.bus import ObjectStore, last_message, read_stream
from atoll.computation.manifest import TeeRequirements, digest
from atoll.errors import ConflictError, ManifestError, NotFoundError, RefusedError
from atoll.sealing.release import WRAPPED_SIZE, KeyRelease
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import (
    JobRequest,
    JobView,
    ReportKind,
    SpawnRequest,
    SubmitRequest,
    Tee,
)
from atoll_gateway.adapters import KvJobs
from integration.gateway.client import TOKEN, Gateway
from support.gateway import keys, sign, submission
from support.nats import restart, wait_for

BYTES = {"Content-Type": "application/octet-stream"}
ASSET = "ab" * 16
EVIDENCE = "cd" * 32


async def over_nats(gateway: Gateway, request: SubmitRequest) -> JobView:
    reply = await gateway.bus.request(subjects.JOBS_SUBMIT.template, schema.encode(request))
    return schema.decode(JobView, reply.payload)


async def submit(gateway: Gateway, key: str = "key-1") -> str:
    answer = await gateway.post("/v1/jobs", schema.to_plain(submission(key=key), json=True))
    assert answer.status == 201, answer.body
    return str(answer.json["job_id"])


async def test_a_submission_over_http_and_over_nats_is_one_job(gateway: Gateway) -> None:
    job_id = await submit(gateway)
    view = await over_nats(gateway, submission())
    assert view.job_id == job_id
    found = await gateway.call("GET", f"/v1/jobs/{job_id}")
    assert schema.from_plain(JobView, found.json, json=True) == view
    asked = schema.encode(JobRequest(job_id=job_id))
    reply = await gateway.bus.request(subjects.JOBS_GET.template, asked)
    assert schema.decode(JobView, reply.payload) == view


async def test_an_accepted_job_is_an_event_and_one_wish_for_an_enclave(gateway: Gateway) -> None:
    job_id = await submit(gateway)
    await over_nats(gateway, submission())
    wish = await last_message(gateway.bus, topology.SPAWN.name, subjects.SPAWN.wildcard)
    assert wish is not None
    assert wish.seq == 1
    wanted = schema.decode(SpawnRequest, wish.payload)
    assert wanted.job_id == job_id
    assert wanted.manifest_digest == digest(submission().agreed.manifest).hex()
    events = [
        message
        async for message in read_stream(
            gateway.bus, topology.EVENTS.name, subjects.HISTORY.under(None, "job", job_id)
        )
    ]
    assert [message.headers["ce-id"] for message in events] == [f"{job_id}.1"]


@pytest.mark.parametrize(
    ("request_", "status", "error", "code"),
    [
        (submission(tee=TeeRequirements(kind=Tee.SEV_SNP)), 403, RefusedError, "job.no_such_tee"),
        (
            SubmitRequest(
                agreed=sign(submission().agreed.manifest, keys("alice", seed=2)),
                idempotency_key="k",
            ),
            400,
            ManifestError,
            "consent.signature",
        ),
        (submission(nonce=1), 409, ConflictError, "job.idempotency"),
    ],
)
async def test_a_refusal_is_the_same_over_http_and_over_nats(
    gateway: Gateway, request_: SubmitRequest, status: int, error: type[Exception], code: str
) -> None:
    await submit(gateway)
    answer = await gateway.post("/v1/jobs", schema.to_plain(request_, json=True))
    assert (answer.status, answer.json["code"]) == (status, code)
    with pytest.raises((error, ManifestError.__base__ or error)) as caught:
        await over_nats(gateway, request_)
    assert getattr(caught.value, "code", "") == code


async def test_an_unknown_job_is_unknown_on_both(gateway: Gateway) -> None:
    assert (await gateway.call("GET", "/v1/jobs/nobody")).status == 404
    with pytest.raises(NotFoundError) as caught:
        await gateway.bus.request(
            subjects.JOBS_GET.template, schema.encode(JobRequest(job_id="nobody"))
        )
    assert caught.value.code == "job.not_found"


async def test_the_list_follows_the_ledger(gateway: Gateway) -> None:
    jobs = {await submit(gateway, key) for key in ("a", "b")}
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(gateway.index.follow(KvJobs(gateway.bus)))
        await wait_for(lambda: len(gateway.index) == 2, "the index has both jobs")
        following.cancel()
    answer = await gateway.call("GET", "/v1/jobs?state=submitted")
    assert {job["job_id"] for job in answer.json["jobs"]} == jobs


class Events:
    """An event stream that is read line by line, in a thread."""

    def __init__(self, port: int, job_id: str, last: int = 0, query: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"Authorization": f"Bearer {TOKEN}", "Last-Event-ID": str(last)}
        self._connection.request("GET", f"/v1/jobs/{job_id}/events{query}", headers=headers)
        self._response = self._connection.getresponse()

    def read(self) -> Iterator[tuple[int, str]]:
        seq = 0
        for raw in self._response:
            line = raw.decode().strip()
            if line.startswith("id: "):
                seq = int(line.removeprefix("id: "))
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))["data"]
                assert data["seq"] == seq
                yield seq, data["state"]

    def take(self, count: int) -> list[int]:
        source = self.read()
        return [next(source)[0] for _ in range(count)]

    def close(self) -> None:
        self._response.close()
        self._connection.close()


async def test_events_arrive_while_they_happen_and_resume_where_they_stopped(
    gateway: Gateway,
) -> None:
    job_id = await submit(gateway)
    port = gateway.http.port
    first = await asyncio.to_thread(Events, port, job_id)
    assert await asyncio.to_thread(first.take, 1) == [1]
    await gateway.report(job_id, ReportKind.LEASED)
    assert await asyncio.to_thread(first.take, 1) == [2]
    first.close()
    for kind in (ReportKind.ATTESTING, ReportKind.ADMITTED, ReportKind.STARTED):
        await gateway.report(job_id, kind)
    second = await asyncio.to_thread(Events, port, job_id, 2)
    rest = asyncio.to_thread(lambda: list(second.read()))
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(rest)
        await gateway.report(job_id, ReportKind.FINISHED)
    assert reading.result() == [
        (3, "attesting"),
        (4, "awaiting_assets"),
        (5, "running"),
        (6, "completed"),
    ]
    second.close()


async def test_events_without_following_end_at_the_newest(gateway: Gateway) -> None:
    job_id = await submit(gateway)
    answer = await gateway.call("GET", f"/v1/jobs/{job_id}/events?follow=false")
    assert answer.body.count(b"event: submitted") == 1
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_a_stream_of_events_outlives_a_restart_of_the_broker(gateway: Gateway) -> None:
    job_id = await submit(gateway)
    events = await asyncio.to_thread(Events, gateway.http.port, job_id)
    assert await asyncio.to_thread(events.take, 1) == [1]
    await restart(gateway.nats)
    await wait_for(lambda: gateway.bus.connected, "connected again")
    await gateway.report(job_id, ReportKind.LEASED)
    assert await asyncio.to_thread(events.take, 1) == [2]
    events.close()


async def test_an_asset_of_8_mib_goes_in_and_comes_out(gateway: Gateway) -> None:
    raw = bytes(range(256)) * (8 << 12)
    stored = await gateway.call("PUT", f"/v1/assets/{ASSET}", body=raw, headers=BYTES)
    assert (stored.status, stored.json["size"]) == (201, 8 << 20)
    assert stored.json["sha256"] == digest(raw).hex()
    again = await gateway.call("PUT", f"/v1/assets/{ASSET}", body=raw, headers=BYTES)
    assert (again.status, again.json) == (200, stored.json)
    other = await gateway.call("PUT", f"/v1/assets/{ASSET}", body=b"x", headers=BYTES)
    assert (other.status, other.json["code"]) == (409, "asset.exists")
    assert (await gateway.call("GET", f"/v1/assets/{ASSET}")).body == raw
    head = await gateway.call("HEAD", f"/v1/assets/{ASSET}")
    assert (head.headers["content-length"], head.body) == (str(8 << 20), b"")


async def test_an_asset_without_announced_length_is_cut_off_at_the_limit(
    gateway: Gateway,
) -> None:
    parts = (b"x" * (1 << 20) for _ in range(17))
    answer = await gateway.call("PUT", f"/v1/assets/{ASSET}", body=parts, headers=BYTES)
    assert (answer.status, answer.json["code"]) == (413, "http.too_large")
    assert (await gateway.call("HEAD", f"/v1/assets/{ASSET}")).status == 404
    assert await ObjectStore(gateway.bus, topology.ASSETS).list() == []


async def test_half_an_upload_leaves_no_object(gateway: Gateway) -> None:
    head = (
        f"PUT /v1/assets/{ASSET} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n\r\n"
    )
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.http.port)
    writer.write(head.encode() + b"x" * 600_000)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    answer = await gateway.call("HEAD", f"/v1/assets/{ASSET}")
    assert answer.status == 404


async def test_a_client_that_falls_silent_is_let_go_and_others_are_served(
    gateway: Gateway,
) -> None:
    head = (
        f"PUT /v1/assets/{ASSET} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\nabc"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http.port)
    writer.write(head.encode())
    assert (await gateway.call("GET", "/v1/jobs")).status == 200
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_slow_reader_gets_all_of_it_while_others_are_served(gateway: Gateway) -> None:
    raw = bytes(range(256)) * (8 << 12)
    await gateway.call("PUT", f"/v1/assets/{ASSET}", body=raw, headers=BYTES)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http.port, limit=4096)
    writer.write(
        f"GET /v1/assets/{ASSET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
    )
    received = bytearray(await reader.read(100))
    # Its answer now fills the buffers on the way and waits.
    for _ in range(5):
        assert (await gateway.call("GET", "/v1/jobs")).status == 200
    while part := await reader.read(64 << 10):
        received += part
    writer.close()
    assert bytes(received).partition(b"\r\n\r\n")[2] == raw


async def test_a_manifest_of_two_mebibytes_is_refused_and_the_gateway_goes_on(
    gateway: Gateway,
) -> None:
    plain = schema.to_plain(submission(), json=True)
    plain["agreed"]["manifest"] = "A" * (2 << 20)
    answer = await gateway.post("/v1/jobs", plain)
    assert (answer.status, answer.json["code"]) == (413, "http.too_large")
    await submit(gateway)


async def test_the_attestors_keys_are_public_as_it_says_them(gateway: Gateway) -> None:
    answer = await gateway.call("GET", "/.well-known/jwks.json", token=None)
    assert (answer.status, answer.json) == (200, {"keys": []})


async def test_nobody_gets_in_without_the_token(gateway: Gateway) -> None:
    for token in (None, "wrong-token-for-tests"):
        answer = await gateway.call("GET", "/v1/jobs", token=token)
        assert (answer.status, answer.json["code"]) == (401, "http.unauthorized")
    assert (await gateway.call("GET", "/healthz", token=None)).status == 200


async def test_a_release_reaches_the_stream_of_the_current_enclave_once(gateway: Gateway) -> None:
    job_id = await submit(gateway)
    await gateway.report(job_id, ReportKind.LEASED)
    await gateway.report(job_id, ReportKind.ADMITTED, evidence_digest=EVIDENCE)
    release = KeyRelease(
        version=1,
        job_id=job_id,
        attempt=1,
        manifest_digest=digest(submission().agreed.manifest),
        asset_name="iris.csv",
        asset_id=bytes(16),
        evidence_digest=bytes.fromhex(EVIDENCE),
        provider="alice",
        wrapped=bytes(WRAPPED_SIZE),
        signature=bytes(64),
    )
    plain = schema.to_plain(release, json=True)
    for _ in range(2):
        answer = await gateway.post(f"/v1/jobs/{job_id}/releases", plain)
        assert answer.status == 204
    subject = subjects.RELEASE.of("e1")
    messages = read_stream(gateway.bus, topology.ENCLAVE.name, subject)
    found = [schema.decode(KeyRelease, item.payload) async for item in messages]
    assert found == [release]
