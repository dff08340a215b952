"""Hosts over HTTP: which there are, and what operators want of them."""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from atoll.telemetry import wiring
from atoll.wire import schema, subjects
from atoll.wire.hosts import HostOrderRequest, HostWishRequest
from atoll_gateway.http import body
from atoll_gateway.http.operations import Operations, answer, caller_of, trace_headers

MAX_ORDER: Final = 8 << 10


async def list_(operations: Operations, request: Request) -> Response:
    del request
    return answer(await operations.hosts.list())


async def order(operations: Operations, request: Request) -> Response:
    plain = await body.read_json(request, limit=MAX_ORDER, idle_s=operations.idle_s)
    wish = schema.from_plain(HostWishRequest, plain, json=True)
    named = {
        "host_id": request.path_params["host_id"],
        "wish": wish.wish.value,
        "reason": wish.reason,
    }
    wanted = schema.from_plain(HostOrderRequest, named, json=True)
    with wiring.serve(operations.tracer, subjects.HOSTS_ORDER, trace_headers(request)):
        return answer(await operations.hosts.order(wanted, caller_of(request)))
