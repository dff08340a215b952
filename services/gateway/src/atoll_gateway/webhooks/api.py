"""What owners of webhooks may ask for. The secret is answered once, when it is made."""

import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from atoll.errors import AtollError, InputError, RefusedError
from atoll.wire import cloudevents
from atoll.wire.messages import EventType
from atoll.wire.submission import SubmissionOutcome
from atoll.wire.webhooks import (
    Webhook,
    WebhookAdded,
    WebhookAddRequest,
    WebhookList,
    WebhookListRequest,
    WebhookRequest,
    WebhookTested,
    WebhookView,
)
from atoll_gateway.caller import BUS, Caller
from atoll_gateway.ports import Clock
from atoll_gateway.webhooks.address import AddressRules
from atoll_gateway.webhooks.registry import Registry, no_webhook
from atoll_gateway.webhooks.signing import Vault, new_secret, secret_bytes
from atoll_gateway.webhooks.worker import Poster

MAX_HOOKS: Final = 100
"""Of one tenant."""
MAX_LISTED: Final = 1000
TYPES: Final = frozenset(
    (
        *(f"{cloudevents.JOB}.{kind.value}" for kind in EventType),
        *(f"{cloudevents.SUBMISSION}.{kind.value}" for kind in SubmissionOutcome),
    )
)


class WebhookApi:
    """Add, list, show, remove and test.

    Args:
        newest: where the newest event stands; a webhook gets what comes after it.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        rules: AddressRules,
        vault: Vault,
        poster: Poster,
        newest: Callable[[], Awaitable[int]],
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._registry = registry
        self._rules = rules
        self._vault = vault
        self._poster = poster
        self._newest = newest
        self._clock = clock
        self._random = random

    async def add(self, request: WebhookAddRequest, caller: Caller = BUS) -> WebhookAdded:
        """Register an address for events of the caller's tenant from now on.

        Raises:
            InputError: `webhook.url`, `webhook.type`, `webhook.secret`.
            RefusedError: `webhook.too_many`.
        """
        self._rules.parse(request.url)
        unknown = set(request.types) - TYPES
        if unknown:
            raise InputError(
                f"there are no events {min(unknown)!r}",
                code="webhook.type",
                hint=f"there are {', '.join(sorted(TYPES))}",
            )
        secret = request.secret or new_secret(self._random)
        secret_bytes(secret)
        known = await self._registry.all()
        if sum(hook.tenant == caller.tenant for hook in known) >= MAX_HOOKS:
            raise RefusedError(f"there are {MAX_HOOKS} webhooks already", code="webhook.too_many")
        name = "w" + self._random(12).hex()
        hook = Webhook(
            webhook_id=name,
            url=request.url,
            types=request.types,
            job_id=request.job_id,
            created_ms=self._clock(),
            since=await self._newest(),
            sealed_secret=self._vault.seal(name, secret),
            tenant=caller.tenant,
        )
        await self._registry.add(hook)
        return WebhookAdded(webhook=view_of(hook), secret=secret)

    async def list(self, request: WebhookListRequest, caller: Caller = BUS) -> WebhookList:
        """Those of the caller's tenant, the oldest first."""
        del request
        found = [hook for hook in await self._registry.all() if caller.sees(hook.tenant)]
        return WebhookList(webhooks=tuple(map(view_of, found[:MAX_LISTED])))

    async def get(self, request: WebhookRequest, caller: Caller = BUS) -> WebhookView:
        """Raises: NotFoundError `webhook.not_found`."""
        return view_of(await self._own(request, caller))

    async def remove(self, request: WebhookRequest, caller: Caller = BUS) -> WebhookView:
        """What was not delivered yet is not delivered any more.

        Raises:
            NotFoundError: `webhook.not_found`.
        """
        await self._own(request, caller)
        return view_of(await self._registry.remove(request.webhook_id))

    async def test(self, request: WebhookRequest, caller: Caller = BUS) -> WebhookTested:
        """Call it now, once, with an event `atoll.webhook.test.v1`.

        Raises:
            NotFoundError: `webhook.not_found`.
        """
        hook = await self._own(request, caller)
        event_id = f"{hook.webhook_id}.{self._random(8).hex()}"
        body = json.dumps(
            {
                "specversion": "1.0",
                "id": event_id,
                "source": f"urn:atoll:webhook:{hook.webhook_id}",
                "type": "atoll.webhook.test.v1",
                "time": cloudevents.time_text(self._clock()),
                "datacontenttype": "application/json",
                "data": {},
            }
        ).encode()
        try:
            status = await self._poster.call(hook, event_id, body)
        except AtollError as error:
            return WebhookTested(status=0, error=error.code)
        return WebhookTested(status=status)

    async def _own(self, request: WebhookRequest, caller: Caller) -> Webhook:
        hook = await self._registry.get(request.webhook_id)
        if not caller.sees(hook.tenant):
            raise no_webhook(request.webhook_id)
        return hook


def view_of(hook: Webhook) -> WebhookView:
    """What of a registration may be shown."""
    return WebhookView(
        webhook_id=hook.webhook_id,
        url=hook.url,
        types=hook.types,
        job_id=hook.job_id,
        created_ms=hook.created_ms,
        disabled=hook.disabled,
        tenant=hook.tenant,
    )
