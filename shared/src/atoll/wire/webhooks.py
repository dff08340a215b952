"""Messages about webhooks, and what is stored of them."""

from typing import Annotated, Final

from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.schema import Code, Pattern, Range, Size, Timestamp, Token, message

MAX_EVENT: Final = 32 << 10
"""Bytes of the largest event in its structured form."""

Url = Annotated[str, Pattern(r"https?://[!-~]{1,1000}")]
Secret = Annotated[str, Pattern(r"whsec_[A-Za-z0-9+/=]{32,88}")]
Types = Annotated[tuple[Code, ...], Size(0, 32)]
"""As `job.completed` or `submission.refused`; empty: all."""
Place = Annotated[int, Range(0, (1 << 53) - 1)]
EventId = Annotated[str, Pattern(r"[A-Za-z0-9_.-]{1,160}")]


@message
class Webhook:
    """A registration (bucket `webhooks`), written by gateways only."""

    version: Annotated[int, Range(1, 1)] = 1
    webhook_id: Token
    url: Url
    types: Types
    job_id: Token | None
    created_ms: Timestamp
    since: Place
    """It gets the events behind this place."""
    sealed_secret: Annotated[bytes, Size(28, 256)]
    disabled: Annotated[str, Size(0, 64)] = ""
    """Why it is called no more, or empty."""
    tenant: Token = DEFAULT_TENANT
    """Whose it is, and whose events it gets."""


@message
class DeliveryOrder:
    """One event is to be posted to one webhook (stream `DELIVERIES`)."""

    webhook_id: Token
    event_id: EventId
    ordered_ms: Timestamp
    body: Annotated[bytes, Size(2, MAX_EVENT)]
    """A structured CloudEvent."""


@message
class WebhookAddRequest:
    url: Url
    types: Types = ()
    job_id: Token | None = None
    secret: Secret | None = None
    """None: the gateway makes one."""


@message
class WebhookView:
    """A webhook as its tenant may see it."""

    webhook_id: Token
    url: Url
    types: Types
    job_id: Token | None
    created_ms: Timestamp
    disabled: Annotated[str, Size(0, 64)]
    tenant: Token = DEFAULT_TENANT


@message
class WebhookAdded:
    """A new webhook with its secret, which is never shown again."""

    webhook: WebhookView
    secret: Secret


@message
class WebhookListRequest:
    pass


@message
class WebhookList:
    webhooks: Annotated[tuple[WebhookView, ...], Size(0, 1000)]


@message
class WebhookRequest:
    webhook_id: Token


@message
class WebhookTested:
    """What a call just now gave: a status, or why there was none."""

    status: Annotated[int, Range(0, 599)]
    error: Annotated[str, Size(0, 64)] = ""
