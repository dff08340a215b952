"""The gateway's API on the bus: the NATS micro service `atoll-gateway`."""

from dataclasses import replace

from atoll import version
from atoll.bus import Bus, Endpoint, Service
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import endpoints, level
from atoll_gateway.audited import AuditedHosts, AuditedJobs, AuditedLetters, AuditedTokens
from atoll_gateway.webhooks.api import WebhookApi


def gateway_service(  # noqa: PLR0917 - what it serves
    bus: Bus,
    api: AuditedJobs,
    tokens: AuditedTokens,
    desk: AuditedLetters,
    hosts: AuditedHosts,
    tracer: Tracer,
    webhooks: WebhookApi | None = None,
) -> Service:
    """The service; it answers between `__aenter__` and `__aexit__`."""
    return Service(
        bus,
        name="atoll-gateway",
        version=version.VERSION,
        description="Accepts jobs and keeps the ledger of their states.",
        endpoints=[
            wiring.endpoint(endpoints.SUBMIT, api.submit, tracer),
            wiring.endpoint(endpoints.GET, api.get, tracer),
            wiring.endpoint(endpoints.LIST, api.list, tracer),
            wiring.endpoint(endpoints.CANCEL, api.cancel, tracer),
            wiring.endpoint(endpoints.WITHDRAW, api.withdraw, tracer),
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
    )


def _webhooks(api: WebhookApi, tracer: Tracer) -> list[Endpoint]:
    # ADR-32 wants names that are unique within a service.
    served = [
        wiring.endpoint(endpoints.WEBHOOK_ADD, api.add, tracer),
        wiring.endpoint(endpoints.WEBHOOK_LIST, api.list, tracer),
        wiring.endpoint(endpoints.WEBHOOK_GET, api.get, tracer),
        wiring.endpoint(endpoints.WEBHOOK_REMOVE, api.remove, tracer),
        wiring.endpoint(endpoints.WEBHOOK_TEST, api.test, tracer),
    ]
    return [replace(row, name=f"webhooks-{row.name}") for row in served]
