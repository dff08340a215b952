"""The registrations (bucket `webhooks`, keys `hook.<id>`), and how far events were handed out."""

from dataclasses import dataclass, replace
from typing import Final

from atoll.bus import Bus, KeyValue, last_message
from atoll.errors import ConflictError, NotFoundError
from atoll.wire import schema, topology
from atoll.wire.webhooks import Webhook
from atoll_gateway.adapters import stored, to_rewrite

_HOOK: Final = "hook."
_PLACE: Final = "place"


@dataclass(frozen=True, slots=True)
class Place:
    """After which event dispatching goes on; `revision` 0: nobody said so yet."""

    seq: int
    revision: int


class Registry:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._kv = KeyValue(bus, topology.WEBHOOKS)

    async def all(self) -> tuple[Webhook, ...]:
        """Every registration, the oldest first."""
        entries = await self._kv.entries(f"{_HOOK}*")
        found = [stored(Webhook, entry.value) for entry in entries if entry.value is not None]
        return tuple(sorted(found, key=lambda hook: (hook.created_ms, hook.webhook_id)))

    async def revision(self) -> int:
        """Grows whenever a registration is added, changed or removed."""
        bucket = topology.WEBHOOKS.name
        newest = await last_message(self._bus, f"KV_{bucket}", f"$KV.{bucket}.{_HOOK}*")
        return newest.seq if newest else 0

    async def get(self, webhook_id: str) -> Webhook:
        """Raises: NotFoundError `webhook.not_found`."""
        hook, _ = await self._find(webhook_id)
        return hook

    async def add(self, hook: Webhook) -> None:
        await self._kv.create(_HOOK + hook.webhook_id, schema.encode(hook))

    async def remove(self, webhook_id: str) -> Webhook:
        """Raises: NotFoundError `webhook.not_found`."""
        hook, _ = await self._find(webhook_id)
        await self._kv.delete(_HOOK + webhook_id)
        return hook

    async def disable(self, webhook_id: str, reason: str) -> None:
        """Call it no more. Harmless when it is gone or disabled."""
        while True:
            try:
                hook, revision = await self._find(webhook_id)
                if hook.disabled:
                    return
                raw = schema.encode(replace(hook, disabled=reason))
                await self._kv.update(_HOOK + webhook_id, raw, revision=revision)
            except ConflictError:
                continue
            except NotFoundError:
                return
            return

    async def place(self) -> Place:
        entry = await self._kv.get(_PLACE)
        if entry is None or entry.value is None:
            return Place(0, 0)
        text = entry.value.decode("ascii", "replace")
        return Place(int(text) if text.isdigit() else 0, entry.revision)

    async def advance(self, place: Place, seq: int) -> Place:
        """Raises: ConflictError: another gateway said so first."""
        raw = str(seq).encode()
        if place.revision == 0:
            return Place(seq, await self._kv.create(_PLACE, raw))
        return Place(seq, await self._kv.update(_PLACE, raw, revision=place.revision))

    async def _find(self, webhook_id: str) -> tuple[Webhook, int]:
        entry = await self._kv.get(_HOOK + webhook_id)
        if entry is None or entry.value is None:
            raise no_webhook(webhook_id)
        return to_rewrite(Webhook, entry.value), entry.revision


def no_webhook(webhook_id: str) -> NotFoundError:
    """It does not exist, or not for the one who asks."""
    return NotFoundError(
        f"there is no webhook {webhook_id!r}",
        code="webhook.not_found",
        hint="`atoll webhook list` shows those that are there",
    )
