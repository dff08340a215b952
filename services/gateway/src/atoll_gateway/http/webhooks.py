"""Webhooks over HTTP: the same five requests as on the bus."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from atoll.errors import NotFoundError
from atoll.telemetry import wiring
from atoll.wire import schema, subjects
from atoll.wire.webhooks import WebhookAddRequest, WebhookListRequest, WebhookRequest
from atoll_gateway.http import body, ports
from atoll_gateway.http.operations import Operations, answer, caller_of, trace_headers

MAX_ADD: Final = 8 << 10


async def add(operations: Operations, request: Request) -> Response:
    plain = await body.read_json(request, limit=MAX_ADD, idle_s=operations.idle_s)
    wanted = schema.from_plain(WebhookAddRequest, plain, json=True)
    api = _api(operations)
    with wiring.serve(operations.tracer, subjects.WEBHOOKS_ADD, trace_headers(request)):
        return answer(await api.add(wanted, caller_of(request)), 201)


async def list_(operations: Operations, request: Request) -> Response:
    api = _api(operations)
    with wiring.serve(operations.tracer, subjects.WEBHOOKS_LIST, trace_headers(request)):
        return answer(await api.list(WebhookListRequest(), caller_of(request)))


async def get(operations: Operations, request: Request) -> Response:
    api, wanted = _api(operations), _wanted(request)
    with wiring.serve(operations.tracer, subjects.WEBHOOKS_GET, trace_headers(request)):
        return answer(await api.get(wanted, caller_of(request)))


async def remove(operations: Operations, request: Request) -> Response:
    api, wanted = _api(operations), _wanted(request)
    with wiring.serve(operations.tracer, subjects.WEBHOOKS_REMOVE, trace_headers(request)):
        return answer(await api.remove(wanted, caller_of(request)))


async def test(operations: Operations, request: Request) -> Response:
    api, wanted = _api(operations), _wanted(request)
    with wiring.serve(operations.tracer, subjects.WEBHOOKS_TEST, trace_headers(request)):
        return answer(await api.test(wanted, caller_of(request)))


def _api(operations: Operations) -> ports.Webhooks:
    if operations.webhooks is None:
        raise NotFoundError(
            "this deployment has no webhooks",
            code="webhook.off",
            hint="the operator names a key for their secrets (webhook_key_file)",
        )
    return operations.webhooks


def _wanted(request: Request) -> WebhookRequest:
    plain = {"webhook_id": request.path_params["webhook_id"]}
    return schema.from_plain(WebhookRequest, plain, json=True)
