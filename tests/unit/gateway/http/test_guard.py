"""Nobody gets in without the token, and every failure has one shape."""

import json

import pytest

from atoll.errors import ConfigError, UnreachableError
from atoll.wire import schema
from atoll.wire.messages import JobRecord
from atoll_gateway.http import faults
from atoll_gateway.http.routes import OPERATIONS
from support.gateway import MemoryJobs, submission
from unit.gateway.http.asgi import TOKEN
from unit.gateway.http.gateway import JSON, Gateway

ASSET = "ab" * 16


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        (None, []),
        ("", []),
        ("a-token-for-tests-onlx", []),
        (TOKEN + "x", []),
        (TOKEN[:-1], []),
        ("é" * 22, []),
        (None, [("authorization", TOKEN)]),
        (None, [("authorization", f"Basic {TOKEN}")]),
        (TOKEN, [("authorization", f"Bearer {TOKEN}")]),
    ],
)
async def test_every_secured_operation_asks_for_the_token(
    token: str | None, headers: list[tuple[str, str]]
) -> None:
    gateway = Gateway()
    for row in OPERATIONS:
        answer = await gateway.call(row.method, row.path, token=token, headers=headers)
        assert (answer.status == 401) == row.secured, row.id
        if row.secured:
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.code == "http.unauthorized"
    assert (await gateway.call("GET", "/nowhere", token=token, headers=headers)).status == 401


async def test_the_scheme_is_read_in_any_case() -> None:
    answer = await Gateway().call(
        "GET", "/v1/jobs", token=None, headers=[("authorization", f"bEARER {TOKEN}")]
    )
    assert answer.status == 200


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 15, "with a space in it", "tab\t" * 8, "é" * 20]
)
def test_a_weak_token_stops_the_start(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Gateway(changes={"token": token})
    assert caught.value.code == "http.token"


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
