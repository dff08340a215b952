"""From deliveries to POSTs: signed, tried again with growing pauses, in the end kept as dead."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from atoll.bus import Bus, Delivery, WorkQueue, bury
from atoll.errors import AtollError, InputError, MessageError, NotFoundError, RefusedError
from atoll.wire import cloudevents, media, schema, topology
from atoll.wire.webhooks import DeliveryOrder, Webhook
from atoll_gateway.http.limits import Slots
from atoll_gateway.ports import Clock
from atoll_gateway.webhooks import retrying
from atoll_gateway.webhooks.registry import Registry
from atoll_gateway.webhooks.sender import Sender
from atoll_gateway.webhooks.signing import Vault, signature

_log = logging.getLogger(__name__)

CONCURRENT: Final = 16
PER_HOOK: Final = 4
"""Deliveries to one webhook at a time, so that a slow one leaves room for the others."""
CROWDED_S: Final = 2.0


class Poster:
    """One signed POST of one event."""

    def __init__(self, sender: Sender, vault: Vault, clock: Clock) -> None:
        self._sender = sender
        self._vault = vault
        self._clock = clock

    async def call(self, hook: Webhook, event_id: str, body: bytes) -> int:
        """The status of the answer; errors as of `Sender.post`."""
        timestamp = self._clock() // 1000
        secret = self._vault.open(hook.webhook_id, hook.sealed_secret)
        signed = signature(secret, message_id=event_id, timestamp=timestamp, body=body)
        headers = {
            media.CONTENT_TYPE: cloudevents.STRUCTURED,
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signed,
        }
        return await self._sender.post(hook.url, headers, body)


class DeliveryWorker:
    def __init__(
        self,
        bus: Bus,
        registry: Registry,
        poster: Poster,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._registry = registry
        self._poster = poster
        self._clock = clock
        self._random = random
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._busy = Slots(PER_HOOK)

    async def run(self) -> None:
        """Until cancelled."""
        async with (
            WorkQueue(self._bus, topology.DELIVERY_CONSUMER) as queue,
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                await self._slots.acquire()
                tasks.create_task(self._one(await queue.next()))

    async def _one(self, delivery: Delivery) -> None:
        try:
            await self._handle(delivery)
        except AtollError as error:
            # Not even acknowledged: the bus delivers it again.
            _log.warning("delivery not worked off: %s", error.code)
        finally:
            self._slots.release()

    async def _handle(self, delivery: Delivery) -> None:
        try:
            order = schema.decode(DeliveryOrder, delivery.payload)
        except MessageError as error:
            await self._bury(delivery, error)
            return
        try:
            hook = await self._registry.get(order.webhook_id)
        except NotFoundError:
            await delivery.ack()
            return
        if hook.disabled:
            await delivery.ack()
            return
        name = hook.webhook_id
        if not self._busy.take(name):
            await delivery.nak(delay_s=CROWDED_S)
            return
        try:
            await self._deliver(delivery, hook, order)
        finally:
            self._busy.give_back(name)

    async def _deliver(self, delivery: Delivery, hook: Webhook, order: DeliveryOrder) -> None:
        try:
            status = await self._poster.call(hook, order.event_id, order.body)
        except (InputError, RefusedError) as error:
            # The rules or the name changed; what is forbidden is not tried a second time.
            await self._bury(delivery, error)
            return
        except AtollError as error:
            await self._failed(delivery, order, error)
            return
        if retrying.succeeded(status):
            await delivery.ack()
        elif status == retrying.GONE:
            await self._registry.disable(hook.webhook_id, "webhook.gone")
            await delivery.ack()
        else:
            code = f"webhook.status_{status}"
            await self._failed(delivery, order, AtollError(f"it answered {status}", code=code))

    async def _failed(self, delivery: Delivery, order: DeliveryOrder, error: AtollError) -> None:
        _log.info("webhook %s, event %s: %s", order.webhook_id, order.event_id, error.code)
        pause = retrying.pause_s((self._clock() - order.ordered_ms) / 1000, self._random)
        if pause is None:
            await self._bury(delivery, error)
        else:
            await delivery.nak(pause)

    async def _bury(self, delivery: Delivery, error: AtollError) -> None:
        await bury(self._bus, delivery, stream=topology.DELIVERIES.name, error=error)
