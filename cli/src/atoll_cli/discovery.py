"""Which services are there: everybody who answers `$SRV.INFO` (NATS ADR-32)."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import field
from typing import Annotated, Final

from atoll.bus import Bus
from atoll.bus.message import Message
from atoll.errors import InputError
from atoll.wire import schema
from atoll.wire.schema import Name, Size, Token, message

WAIT_S: Final = 1.0
"""How long an answer may take when not all that are expected have come."""
MAX_ANSWER: Final = 64 << 10
MAX_SERVICES: Final = 1000
EXPECTED: Final = frozenset({"gateway", "attestor"})
EVERYBODY: Final = frozenset({"*"})
"""No service has that name: whoever answers in time is waited for."""


@message
class ServiceInfo:
    """One instance of a service."""

    name: Token
    id: Token
    version: Annotated[str, Size(1, 64)]
    description: Annotated[str, Size(0, 1024)]
    metadata: Annotated[dict[Name, Annotated[str, Size(0, 1024)]], Size(0, 64)] = field(
        default_factory=dict
    )


def parse_info(raw: bytes) -> ServiceInfo | None:
    """What an answer says, or None if it is not one."""
    if len(raw) > MAX_ANSWER:
        return None
    try:
        value = json.loads(raw)
        wanted = {key: value[key] for key in ("name", "id", "version", "description")}
        metadata = value.get("metadata") or {}
        return schema.from_plain(ServiceInfo, {**wanted, "metadata": metadata}, json=True)
    except (ValueError, RecursionError, KeyError, TypeError, InputError):
        return None


async def services(bus: Bus, expected: Iterable[str] = EXPECTED) -> tuple[ServiceInfo, ...]:
    """Who answers: as soon as all `expected` have, else after a second."""
    found: dict[str, ServiceInfo] = {}
    missing = set(expected)
    complete = asyncio.Event()

    async def receive(answer: Message) -> None:
        info = parse_info(answer.payload)
        if info is None or len(found) >= MAX_SERVICES:
            return
        found[info.id] = info
        missing.difference_update(name for name in tuple(missing) if is_service(info, name))
        if not missing:
            complete.set()

    inbox = bus.new_inbox()
    subscription = await bus.listen(inbox, receive)
    try:
        await bus.send("$SRV.INFO", b"", reply=inbox)
        async with asyncio.timeout(WAIT_S):
            await complete.wait()
    except TimeoutError:
        pass
    finally:
        await subscription.close()
    return tuple(sorted(found.values(), key=lambda info: (info.name, info.id)))


def is_service(info: ServiceInfo, name: str) -> bool:
    """Whether this is an instance of `name`, with or without the product's prefix."""
    return info.name.removeprefix("atoll-").removeprefix("atoll_") == name
