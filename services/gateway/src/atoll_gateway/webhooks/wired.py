"""Everything about webhooks, joined."""

import random
import secrets
from collections.abc import Coroutine
from functools import partial
from typing import Any

from atoll.bus import Bus
from atoll_gateway.http.ports import Events
from atoll_gateway.ports import Clock
from atoll_gateway.webhooks.address import AddressRules
from atoll_gateway.webhooks.api import WebhookApi
from atoll_gateway.webhooks.dispatcher import Dispatcher, newest_place
from atoll_gateway.webhooks.registry import Registry
from atoll_gateway.webhooks.sender import Sender
from atoll_gateway.webhooks.signing import Vault
from atoll_gateway.webhooks.worker import DeliveryWorker, Poster


class Webhooks:
    """The API, and the loops behind it.

    Raises:
        ConfigError: `webhook.key`.
    """

    def __init__(
        self, bus: Bus, *, events: Events, key: bytes, rules: AddressRules, clock: Clock
    ) -> None:
        registry = Registry(bus)
        vault = Vault(key, secrets.token_bytes)
        poster = Poster(Sender(rules), vault, clock)
        self.api = WebhookApi(
            registry=registry,
            rules=rules,
            vault=vault,
            poster=poster,
            newest=partial(newest_place, bus),
            clock=clock,
        )
        self._dispatcher = Dispatcher(bus, events, registry, clock)
        self._worker = DeliveryWorker(bus, registry, poster, clock, random.random)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """To be run until cancelled."""
        return [self._dispatcher.run(), self._worker.run()]
