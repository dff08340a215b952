"""From events to deliveries: reads the history in order and orders one POST per webhook and event.

Every gateway does this. Orders carry an id by which the bus drops repetitions, and how far
they are is one compare-and-set entry, so several gateways do no more than one. Nothing of it is a
consumer on the bus that somebody could delete.
"""

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from atoll.bus import Bus, last_message, publish
from atoll.errors import AtollError, ConflictError
from atoll.wire import cloudevents, schema, subjects, topology
from atoll.wire.cloudevents import Event
from atoll.wire.messages import JobEvent
from atoll.wire.webhooks import DeliveryOrder, Webhook
from atoll_gateway.http.ports import Events, Told
from atoll_gateway.ports import Clock
from atoll_gateway.webhooks.registry import Place, Registry

_log = logging.getLogger(__name__)

SAVE_EVERY: Final = 64
"""Events without a webhook after which the place is kept all the same."""
PAUSE_S: Final = 1.0


class Dispatcher:
    def __init__(self, bus: Bus, events: Events, registry: Registry, clock: Clock) -> None:
        self._bus = bus
        self._events = events
        self._registry = registry
        self._clock = clock
        self._hooks: tuple[Webhook, ...] = ()
        self._revision = -1

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._follow(await self._registry.place())
            except ConflictError:
                continue  # another gateway is ahead; go on from where it is
            except AtollError as error:
                _log.warning("events not handed to webhooks, will be tried again: %s", error.code)
            await asyncio.sleep(PAUSE_S)

    async def _follow(self, place: Place) -> None:
        if place.revision == 0:
            # Nobody was registered before there was a place.
            newest = await newest_place(self._bus)
            place = await self._registry.advance(place, newest)
        async with aclosing(self._events.of_all(after=place.seq, follow=True)) as events:
            async for told in events:
                ordered = await self._hand_out(told)
                if ordered or told.place - place.seq >= SAVE_EVERY:
                    place = await self._registry.advance(place, told.place)

    async def _hand_out(self, told: Told) -> bool:
        # One small request each time: a webhook that was added a moment ago must not miss what
        # happens now.
        revision = await self._registry.revision()
        if revision != self._revision:
            self._hooks, self._revision = await self._registry.all(), revision
        wanted = [hook for hook in self._hooks if wants(hook, told)]
        for hook in wanted:
            await order(self._bus, hook.webhook_id, told, now_ms=self._clock())
        return bool(wanted)


def wants(hook: Webhook, told: Told) -> bool:
    """Whether this event is one that the webhook was registered for."""
    event = told.event
    return (
        not hook.disabled
        and told.tenant == hook.tenant
        and told.place > hook.since
        and (hook.job_id is None or (isinstance(event, JobEvent) and event.job_id == hook.job_id))
        and (not hook.types or type_of(event) in hook.types)
    )


def type_of(event: Event) -> str:
    """`job.completed`, `submission.refused`: a CloudEvents type without our name and version."""
    kind = cloudevents.attributes(event)["type"]
    return kind.removeprefix("atoll.").removesuffix(".v1")


async def order(bus: Bus, webhook_id: str, told: Told, *, now_ms: int) -> None:
    """Have one event delivered to one webhook; ordering it again changes nothing."""
    event_id = cloudevents.event_id(told.event)
    body = cloudevents.structured_bytes(told.event, told.traceparent, place=told.place)
    wanted = DeliveryOrder(webhook_id=webhook_id, event_id=event_id, ordered_ms=now_ms, body=body)
    await publish(
        bus,
        subjects.DELIVERY.of(webhook_id),
        schema.encode(wanted),
        msg_id=f"delivery.{webhook_id}.{event_id}",
    )


async def newest_place(bus: Bus) -> int:
    """Where the newest event stands; 0: there is none."""
    newest = await last_message(bus, topology.EVENTS.name, subjects.HISTORY.wildcard)
    return newest.seq if newest else 0
