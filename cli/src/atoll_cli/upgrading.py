"""Which services live, what they speak, and raising the protocol level in force (ADR 17)."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from atoll.audit import Action, ActorKind, AuditEntry, AuditWriter, audited
from atoll.bus import Bus, KeyValue, in_force
from atoll.errors import MessageError, RefusedError, UnreachableError
from atoll.wire import level, schema, topology
from atoll.wire.hosts import HostRecord
from atoll.wire.upgrade import IN_FORCE, Kind, LevelRecord, SpeakerRecord
from atoll_cli import discovery
from atoll_cli.deployment.identities import OPERATOR
from atoll_cli.discovery import ServiceInfo

FOLLOW_S: Final = 45.0
"""Services follow within seconds; one that is cut off is no longer listed after so long."""
POLL_S: Final = 0.5
MAX_NAMED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Living:
    """One service that lives, and the levels that it speaks."""

    kind: str
    name: str
    machine: str
    release: str
    oldest: int
    newest: int
    written: int
    announced: bool
    """False: it is of a release without levels, which speaks the first and no other."""


def merged(
    speakers: Iterable[SpeakerRecord],
    hosts: Iterable[HostRecord],
    services: Iterable[ServiceInfo],
) -> tuple[Living, ...]:
    """Everybody who lives, by kind and name. Pure.

    Args:
        speakers: what services say of themselves.
        hosts: managers that hold a lease. One that is not among the speakers, or whose word is of
            another run of it, is of a release without levels.
        services: who answers where services are discovered; likewise.
    """
    found = {
        (record.kind.value, record.name): (
            record.started_ms,
            Living(
                kind=record.kind.value,
                name=record.name,
                machine=record.machine,
                release=record.release,
                oldest=record.oldest,
                newest=record.newest,
                written=record.written,
                announced=True,
            ),
        )
        for record in speakers
    }
    for host in hosts:
        key = (Kind.MANAGER.value, host.host_id)
        if key not in found or found[key][0] != host.started_ms:
            found[key] = (host.started_ms, _silent(*key, host.version, host.machine))
    for info in services:
        kind = next((each.value for each in Kind if discovery.is_service(info, each.value)), None)
        if kind is not None and level.METADATA not in info.metadata:
            found[kind, info.id] = (0, _silent(kind, info.id, info.version, ""))
    return tuple(found[key][1] for key in sorted(found))


def _silent(kind: str, name: str, release: str, machine: str) -> Living:
    return Living(
        kind=kind,
        name=name,
        machine=machine,
        release=release,
        oldest=1,
        newest=1,
        written=1,
        announced=False,
    )


async def living(bus: Bus) -> tuple[Living, ...]:
    """Everybody who lives on this bus.

    Raises:
        UnreachableError: no answer.
        MessageError: an entry is none: then nobody can say what its writer speaks.
    """
    services = await discovery.services(bus, discovery.EVERYBODY)
    hosts = await _entries(bus, topology.HOSTS.name, HostRecord)
    return merged(await _entries(bus, topology.SPEAKERS.name, SpeakerRecord), hosts, services)


async def raise_level(bus: Bus, target: int) -> bool:
    """Put the level `target` in force, for good; False: it is already.

    First it is written that this is about to happen, so that no service starts from then on that
    does not speak it; then everybody who lives is looked at.

    Raises:
        RefusedError: `protocol.spoken`: somebody does not speak it; names who.
            `audit.unavailable`: it cannot be recorded.
        ConflictError: `bus.conflict`: somebody else is raising it.
        ConfigError: `protocol.limit`: this release does not speak it.
    """
    level.require_known(target)
    before = await in_force(bus)
    if before.level >= target and not before.raising:
        return False
    writer = AuditWriter(bus, f"upgrade-{time.time_ns():x}", lambda: time.time_ns() // 1_000_000)
    entry = AuditEntry(
        action=Action.LEVEL_RAISE,
        actor_kind=ActorKind.LOGIN,
        actor=OPERATOR,
        object=f"{before.level} to {max(target, before.level)}",
    )
    async with audited(writer, entry, strict=True):
        await _raise(bus, before.level, target)
    return before.level < target


async def _raise(bus: Bus, current: int, target: int) -> None:
    kv = KeyValue(bus, topology.PROTOCOL)
    entry = await kv.get(IN_FORCE)
    if entry is None or entry.value is None:
        revision = await kv.create(IN_FORCE, schema.encode(LevelRecord(level=current)))
    else:
        revision = entry.revision
    announced = LevelRecord(level=current, raising=max(target, current))
    revision = await kv.update(IN_FORCE, schema.encode(announced), revision=revision)
    allowed = False
    try:
        require_spoken(await living(bus), target)
        allowed = True
    finally:
        after = LevelRecord(level=max(target, current) if allowed else current)
        await kv.update(IN_FORCE, schema.encode(after), revision=revision)


def require_spoken(found: Iterable[Living], target: int) -> None:
    """Raises: RefusedError `protocol.spoken`: not all of them speak `target`. Pure."""
    old = [each for each in found if each.newest < target]
    if not old:
        return
    named = [f"{each.kind} {each.name} (speaks {_range(each)})" for each in old[:MAX_NAMED]]
    rest = f", and {len(old) - MAX_NAMED} more" if len(old) > MAX_NAMED else ""
    raise RefusedError(
        f"protocol level {target} is not spoken by {', '.join(named)}{rest}",
        code="protocol.spoken",
        hint="upgrade or stop them first; one that was killed is listed for 30 s",
    )


async def followed(bus: Bus, target: int) -> None:
    """Return when everybody who lives writes `target`.

    Raises:
        UnreachableError: `protocol.not_followed`: not within `FOLLOW_S`; the level is in force.
    """
    behind: list[SpeakerRecord] = []
    try:
        async with asyncio.timeout(FOLLOW_S):
            while True:
                found = await _entries(bus, topology.SPEAKERS.name, SpeakerRecord)
                behind = [each for each in found if each.written < target]
                if not behind:
                    return
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        named = ", ".join(f"{each.kind.value} {each.name}" for each in behind[:MAX_NAMED])
        raise UnreachableError(
            f"protocol level {target} is in force, and not yet taken up by {named}",
            code="protocol.not_followed",
            hint="`atoll upgrade status` shows whether they have",
        ) from error


def _range(each: Living) -> str:
    return str(each.newest) if each.oldest == each.newest else f"{each.oldest} to {each.newest}"


async def _entries(bus: Bus, bucket: str, kind: type[schema.T]) -> list[schema.T]:
    entries = await KeyValue(bus, bucket).entries()
    try:
        return [schema.decode(kind, entry.value) for entry in entries if entry.value is not None]
    except MessageError as error:
        raise MessageError(f"bucket {bucket}: {error.message}") from error
