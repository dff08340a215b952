"""What no client should send, to a gateway on a real port: each has a clean answer."""

import asyncio
import json

import pytest

from atoll.wire import schema
from atoll_gateway.http.limits import Limits
from atoll_gateway.http.protocol import MAX_HEAD
from atoll_gateway.http.server import HttpServer
from integration.gateway.client import TOKEN, Gateway
from integration.gateway.test_server import make_app
from integration.gateway.wire import send
from support.access import EXPIRED, FOREIGN, REVOKED, UNKNOWN
from support.gateway import submission
from support.nats import wait_for

HEAD = b"Host: x\r\nConnection: close\r\n"
AUTH = f"Authorization: Bearer {TOKEN}\r\n".encode()


def request(line: str, *headers: bytes, body: bytes = b"") -> bytes:
    return line.encode() + b"\r\n" + HEAD + b"".join(headers) + b"\r\n" + body


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (b"Authorization: Bearer\r\n",),
        (b"Authorization: Bearer \r\n",),
        (b"Authorization: Basic dXNlcjpwYXNz\r\n",),
        (AUTH, AUTH),
        (AUTH, b"Authorization: Basic dXNlcjpwYXNz\r\n"),
        (b"Authorization: Bearer " + b"x" * 8000 + b"\r\n",),
        (b"Authorization: Bearer \xff\xfe\xfd\r\n",),
        *(
            (f"Authorization: Bearer {token.text}\r\n".encode(),)
            for token in (EXPIRED, REVOKED, UNKNOWN)
        ),
    ],
)
async def test_a_credential_that_is_none(gateway: Gateway, headers: tuple[bytes, ...]) -> None:
    answer = await send(gateway.http.port, request("GET /v1/jobs HTTP/1.1", *headers))
    assert (answer.status, answer.code) == (401, "http.unauthorized")


async def test_a_foreign_tenants_job_is_not_there(gateway: Gateway) -> None:
    made = await gateway.post("/v1/jobs", schema.to_plain(submission(), json=True))
    target = f"/v1/jobs/{made.json['job_id']}"
    answer = await gateway.call("GET", target, token=FOREIGN.text)
    assert (answer.status, answer.json["code"]) == (404, "job.not_found")


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"hello\r\n\r\n", 400, "http.request"),
        (b"GET /\r\n\r\n", 400, "http.request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, "http.request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "http.request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400, "http.request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", 400, "http.request"),
        (b"\x16\x03\x01\x00\xa5\x01" + bytes(200), 400, "http.request"),
        (
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            "http.request",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (MAX_HEAD + 1),
            431,
            "http.headers_too_large",
        ),
        (b"GET /" + b"a" * (MAX_HEAD + 1), 431, "http.headers_too_large"),
    ],
)
async def test_what_is_no_request(gateway: Gateway, raw: bytes, status: int, code: str) -> None:
    answer = await send(gateway.http.port, raw)
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["error_id"]
    assert (await gateway.call("GET", "/healthz")).status == 200


@pytest.mark.parametrize("line", ["GET /healthz HTTP/2.0", "PRI * HTTP/2.0", "GET / HTTP/0.9"])
async def test_a_version_that_is_not_spoken(gateway: Gateway, line: str) -> None:
    answer = await send(gateway.http.port, request(line))
    assert (answer.status, answer.code) == (505, "http.version")


async def test_old_http_is_answered(gateway: Gateway) -> None:
    answer = await send(gateway.http.port, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (answer.status, answer.json["status"]) == (200, "ok")
    closed = await send(gateway.http.port, b"GET /v1/jobs HTTP/1.0\r\n\r\n")
    assert closed.status == 401


async def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    keep = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await send(gateway.http.port, keep + keep + request("GET /v1/jobs HTTP/1.1") + keep)
    statuses = [part[:3] for part in answer.bytes.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"401"]


async def test_a_head_that_never_ends_is_cut_off(gateway: Gateway) -> None:
    """The limit is one second in these tests; one byte at a time does not move it."""
    answer = await send(gateway.http.port, b"GET /healthz HTTP/1.1\r\n", b"Host: x\r\n")
    assert (answer.status, answer.code) == (408, "http.timeout")
    silent = await send(gateway.http.port, b"")
    assert (silent.status, silent.code) == (408, "http.timeout")


async def test_a_head_that_drips_is_cut_off(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http.port)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:

        async def drip() -> None:
            writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
            while True:
                writer.write(b"a")
                await asyncio.sleep(0.05)

        dripping = tasks.create_task(drip())
        answer = await reader.read()
        dripping.cancel()
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_body_that_drips_is_cut_off(gateway: Gateway) -> None:
    head = request(
        "POST /v1/jobs HTTP/1.1",
        AUTH,
        b"Content-Type: application/json\r\n",
        b"Content-Length: 9\r\n",
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.http.port)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:

        async def drip() -> None:
            writer.write(head)
            while True:
                writer.write(b"[")
                await asyncio.sleep(0.2)

        dripping = tasks.create_task(drip())
        answer = await reader.readuntil(b"}")
        dripping.cancel()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "http.timeout"
    writer.close()


@pytest.mark.parametrize("kind", [b"", b"Content-Type: text/plain\r\n"])
async def test_a_body_of_another_type(gateway: Gateway, kind: bytes) -> None:
    raw = request("POST /v1/jobs HTTP/1.1", AUTH, kind, b"Content-Length: 2\r\n", body=b"{}")
    answer = await send(gateway.http.port, raw)
    assert (answer.status, answer.code) == (415, "http.media_type")


async def test_a_body_that_breaks_its_own_framing(gateway: Gateway) -> None:
    raw = request(
        "POST /v1/jobs HTTP/1.1",
        AUTH,
        b"Content-Type: application/json\r\n",
        b"Transfer-Encoding: chunked\r\n",
        body=b"zz\r\n{}",
    )
    answer = await send(gateway.http.port, raw)
    assert (answer.status, answer.code) == (400, "http.request")


async def test_connections_are_bounded_by_address_and_given_back() -> None:
    limits = Limits(connections=3, connections_per_address=2, head_s=30.0)
    async with HttpServer("127.0.0.1", 0, make_app(), limits=limits, grace_s=1.0) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        for _, writer in held:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for reader, _ in held:
            await reader.readuntil(b"hello")
        assert (await send(server.port, request("GET / HTTP/1.1"))).bytes == b""
        held[0][1].close()

        async def served() -> bool:
            return (await send(server.port, request("GET / HTTP/1.1"))).status == 200

        async with asyncio.timeout(20):
            while not await served():  # noqa: ASYNC110 - only a connection tells
                await asyncio.sleep(0.01)
        held[1][1].close()


async def test_a_token_that_is_revoked_anywhere_counts_nowhere_soon(gateway: Gateway) -> None:
    """By the bucket, as another gateway would do it."""
    from atoll.wire.access import TokenRequest
    from atoll_gateway.adapters import KvTokens
    from atoll_gateway.tokens import TokenDesk, TokenDirectory
    from support.access import VIEWER

    assert (await gateway.call("GET", "/v1/jobs", token=VIEWER.text)).status == 200
    other = TokenDesk(KvTokens(gateway.bus), TokenDirectory(), lambda: 1)
    await other.revoke(TokenRequest(token_id=VIEWER.id))
    await wait_for(
        lambda: gateway.directory.find(VIEWER.text, 1) is None, "this gateway heard of it"
    )
    assert (await gateway.call("GET", "/v1/jobs", token=VIEWER.text)).status == 401
