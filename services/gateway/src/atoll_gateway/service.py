"""The gateway's API on the bus: the NATS micro service `atoll-gateway`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from atoll import version
from atoll.bus import Bus, Endpoint, Service
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import endpoints, schema
from atoll_gateway.api import GatewayApi

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


def gateway_service(bus: Bus, api: GatewayApi, tracer: Tracer) -> Service:
    """The service; it answers between `__aenter__` and `__aexit__`."""
    rows: tuple[tuple[endpoints.Endpoint[Any, Any], Callable[[Any], Awaitable[Any]]], ...] = (
        (endpoints.SUBMIT, api.submit),
        (endpoints.GET, api.get),
        (endpoints.LIST, api.list),
        (endpoints.CANCEL, api.cancel),
    )
    return Service(
        bus,
        name="atoll-gateway",
        version=version.VERSION,
        description="Accepts jobs and keeps the ledger of their states.",
        endpoints=[_endpoint(row, operation, tracer) for row, operation in rows],
    )


def _endpoint(
    row: endpoints.Endpoint[RequestT, ReplyT],
    operation: Callable[[RequestT], Awaitable[ReplyT]],
    tracer: Tracer,
) -> Endpoint:
    async def handle(payload: bytes, headers: Mapping[str, str]) -> bytes:
        with wiring.serve(tracer, row.subject, headers):
            return schema.encode(await operation(schema.decode(row.request, payload)))

    return Endpoint(name=row.name, subject=row.subject.template, handler=handle)
