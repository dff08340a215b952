"""The gateway's API on the bus: the NATS micro service `atoll-gateway`."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from atoll import version
from atoll.bus import Bus, Endpoint, Service
from atoll.telemetry import wiring
from atoll.telemetry.metrics.metric import UNMETERED, Meter
from atoll.telemetry.metrics.wiring import requests
from atoll.telemetry.tracing import Tracer
from atoll.wire import endpoints, level
from atoll_gateway.assets import AssetDesk
from atoll_gateway.audited import AuditedHosts, AuditedJobs, AuditedLetters, AuditedTokens
from atoll_gateway.caller import Caller, client_of
from atoll_gateway.reading import JobReader
from atoll_gateway.webhooks.api import WebhookApi

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


def gateway_service(  # noqa: PLR0917 - what it serves
    bus: Bus,
    api: AuditedJobs,
    reader: JobReader,
    assets: AssetDesk,
    tokens: AuditedTokens,
    desk: AuditedLetters,
    hosts: AuditedHosts,
    tracer: Tracer,
    webhooks: WebhookApi | None = None,
    meter: Meter = UNMETERED,
) -> Service:
    """The service; it answers between `__aenter__` and `__aexit__`."""
    return Service(
        bus,
        name="atoll-gateway",
        version=version.VERSION,
        description="Accepts jobs and keeps the ledger of their states.",
        endpoints=[
            _for_clients(endpoints.SUBMIT, api.submit, tracer),
            _for_clients(endpoints.GET, api.get, tracer),
            _for_clients(endpoints.LIST, api.list, tracer),
            _for_clients(endpoints.CANCEL, api.cancel, tracer),
            _for_clients(endpoints.WITHDRAW, api.withdraw, tracer),
            *reading_endpoints(reader, tracer),
            *asset_endpoints(assets, tracer),
            wiring.endpoint(endpoints.CREATE_TOKEN, tokens.create, tracer),
            wiring.endpoint(endpoints.LIST_TOKENS, tokens.list, tracer),
            wiring.endpoint(endpoints.GET_TOKEN, tokens.get, tracer),
            wiring.endpoint(endpoints.REVOKE_TOKEN, tokens.revoke, tracer),
            wiring.endpoint(endpoints.LETTERS_LIST, desk.list, tracer),
            wiring.endpoint(endpoints.LETTERS_SHOW, desk.show, tracer),
            wiring.endpoint(endpoints.LETTERS_REDRIVE, desk.redrive, tracer),
            wiring.endpoint(endpoints.LETTERS_DROP, desk.drop, tracer),
            wiring.endpoint(endpoints.HOST_ORDER, hosts.order, tracer),
            *(_webhooks(webhooks, tracer) if webhooks else ()),
        ],
        metadata=level.metadata(),
        answered=requests(meter),
    )


def reading_endpoints(reader: JobReader, tracer: Tracer) -> list[Endpoint]:
    """What clients may read of a job, and how they reach its enclave."""
    return [
        _for_clients(endpoints.MANIFEST, reader.manifest, tracer),
        _for_clients(endpoints.EVIDENCE, reader.evidence, tracer),
        _for_clients(endpoints.RELEASE, reader.release, tracer),
        _for_clients(endpoints.OUTCOME, reader.outcome, tracer),
        _for_clients(endpoints.RESULT, reader.result, tracer),
        _for_clients(endpoints.RESULT_CHUNK, reader.chunk, tracer),
    ]


def asset_endpoints(assets: AssetDesk, tracer: Tracer) -> list[Endpoint]:
    """What clients do with their sealed assets."""
    return [
        _for_clients(endpoints.ASSET, assets.get, tracer),
        _for_clients(endpoints.ASSET_STORED, assets.stored, tracer),
        _for_clients(endpoints.ASSET_PUT, assets.put, tracer),
        _for_clients(endpoints.ASSET_ERASE, assets.erase, tracer),
    ]


def _webhooks(api: WebhookApi, tracer: Tracer) -> list[Endpoint]:
    return [
        _for_clients(endpoints.WEBHOOK_ADD, api.add, tracer),
        _for_clients(endpoints.WEBHOOK_LIST, api.list, tracer),
        _for_clients(endpoints.WEBHOOK_GET, api.get, tracer),
        _for_clients(endpoints.WEBHOOK_REMOVE, api.remove, tracer),
        _for_clients(endpoints.WEBHOOK_TEST, api.test, tracer),
    ]


def _for_clients(
    row: endpoints.Endpoint[RequestT, ReplyT],
    operation: Callable[[RequestT, Caller], Awaitable[ReplyT]],
    tracer: Tracer,
) -> Endpoint:
    """A row that is answered by what the tenant of the one who asks may."""

    def of(request: RequestT, tenant: str) -> Awaitable[ReplyT]:
        return operation(request, client_of(tenant))

    return wiring.tenants_endpoint(row, of, tracer)
