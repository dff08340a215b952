"""The table of operations as a Starlette application."""

import asyncio
import secrets
from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from atoll import version
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import UNMETERED, Meter
from atoll.telemetry.tracing import Tracer
from atoll_gateway.http import faults, openapi, ports, stream
from atoll_gateway.http.gate import Gate, Visit
from atoll_gateway.http.guard import VISIT, Guard
from atoll_gateway.http.operation import Operation
from atoll_gateway.http.operations import Operations
from atoll_gateway.http.routes import OPERATIONS

DEFAULT_MAX_ASSET: Final = 16 << 30
DEFAULT_IDLE_S: Final = 30.0
DEFAULT_WRITE_S: Final = 60.0
NO_OPERATION: Final = "none"
"""The operation of a request that came to none, in metrics."""


def make_app(
    *,
    gate: Gate,
    jobs: ports.Jobs,
    tokens: ports.Tokens,
    hosts: ports.Hosts,
    manifests: ports.Manifests,
    evidence: ports.Evidence,
    outcomes: ports.Outcomes,
    attestor_keys: ports.AttestorKeys,
    releases: ports.Releases,
    assets: ports.Objects,
    results: ports.Objects,
    events: ports.Events,
    webhooks: ports.Webhooks | None = None,
    tracer: Tracer,
    meter: Meter = UNMETERED,
    max_asset: int = DEFAULT_MAX_ASSET,
    idle_s: float = DEFAULT_IDLE_S,
    write_s: float = DEFAULT_WRITE_S,
    heartbeat_s: float = stream.HEARTBEAT_S,
    new_id: Callable[[], str] = lambda: secrets.token_hex(8),
) -> Starlette:
    """The application. Setting `app.state.closing` ends its event streams.

    Args:
        gate: who may come in.
        max_asset: bytes of the largest ciphertext taken.
        idle_s: how long a client may be silent in the middle of a body.
        write_s: how long it may leave an answer unread.
    """
    closing = asyncio.Event()
    operations = Operations(
        jobs=jobs,
        tokens=tokens,
        hosts=hosts,
        manifests=manifests,
        evidence=evidence,
        outcomes=outcomes,
        attestor_keys=attestor_keys,
        releases=releases,
        assets=assets,
        results=results,
        events=events,
        webhooks=webhooks,
        tracer=tracer,
        version=version.VERSION,
        document=openapi.encoded(version.VERSION),
        max_asset=max_asset,
        idle_s=idle_s,
        heartbeat_s=heartbeat_s,
        closing=closing,
    )
    open_paths = frozenset(row.path for row in OPERATIONS if not row.secured)
    app = Starlette(
        routes=make_routes(operations),
        middleware=[
            Middleware(
                Guard,
                gate=gate,
                open_paths=open_paths,
                new_id=new_id,
                write_s=write_s,
                served=_served(meter),
            )
        ],
        exception_handlers={HTTPException: _reraise},
    )
    app.router.redirect_slashes = False
    app.state.closing = closing
    return app


def _served(meter: Meter) -> Callable[[str, int, float], None]:
    def served(operation: str, status: int, seconds: float) -> None:
        name = operation or NO_OPERATION
        meter.count(table.HTTP_REQUESTS, operation=name, status=f"{status:03d}")
        meter.observe(table.HTTP_TIME, seconds, operation=name)

    return served


def make_routes(operations: Operations) -> list[BaseRoute]:
    """One route for each path; it picks the row by method."""
    rows = sorted(OPERATIONS, key=attrgetter("path"))
    return [
        Route(path, _Path(operations, {row.method: row for row in group}))
        for path, group in groupby(rows, key=attrgetter("path"))
    ]


class _Path:
    """All operations of one path, as an ASGI application."""

    def __init__(self, operations: Operations, rows: dict[str, Operation]) -> None:
        self._operations = operations
        self._rows = rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        row = self._rows.get(request.method)
        if row is None:
            allowed = ", ".join(sorted(self._rows))
            raise faults.MethodError(request.method, allowed)
        visit: Visit = scope[VISIT]
        visit.operation = row.id
        visit.require(row.role)
        response = await row.call(self._operations, request)
        await response(scope, receive, send)


async def _reraise(request: Request, error: Exception) -> Response:
    """Leave every error to the guard, which gives all of them one shape."""
    del request
    raise error
