"""Where jobs wait for a host: queues for jobs with like needs, made when a job first needs one.

A job's needs follow from its manifest and its tenant (`atoll.computation.placement`), the queue
from its needs (`atoll.wire.placement`), so that every gateway finds the same without asking. The
bucket `spawn_classes` tells managers which there are. A queue is made in this order, each step
repeatable: its consumer, its entry, the first request in it.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from atoll.bus import Bus, KeyValue, ensure_consumer
from atoll.bus.kv import Entry
from atoll.computation.manifest import Manifest
from atoll.computation.placement import needs_of
from atoll.errors import (
    AtollError,
    ConflictError,
    InputError,
    ManifestError,
    NotFoundError,
    RefusedError,
)
from atoll.wire import level, schema, topology
from atoll.wire.egress import Allowance
from atoll.wire.hosts import HostRecord
from atoll.wire.messages import JobRecord
from atoll.wire.placement import MAX_CLASSES, SpawnClass, class_of, misfit, plain
from atoll.wire.topology_types import Consumer
from atoll_gateway.ports import Clock, ManifestStore

_log = logging.getLogger(__name__)

HOUR_MS: Final = 3_600_000
CLASSES_LEVEL: Final = 2
"""The protocol level from which on every manager asks the queues of classes."""
MAX_REMEMBERED: Final = 10_000
"""Places of jobs that were submitted here, kept so that their manifest is not read again."""

Hosts = Callable[[], Awaitable[Iterable[HostRecord]]]


class Placing:
    """The queues of this deployment, and which job belongs in which.

    Args:
        bus: the connection.
        manifests: where agreed manifests are.
        clock: milliseconds since the epoch.
        hosts: those that live; None: nobody knows.
        refuses: whether a job that none of them can start is refused; else it is accepted, and
            waits for one that can. One that they could start if they let it connect to where its
            manifest says is refused in any case: a policy does not come back as a host does.
    """

    def __init__(
        self,
        bus: Bus,
        manifests: ManifestStore,
        clock: Clock,
        hosts: Hosts | None = None,
        *,
        refuses: bool = False,
    ) -> None:
        self._bus = bus
        self._kv = KeyValue(bus, topology.SPAWN_CLASSES)
        self._manifests = manifests
        self._clock = clock
        self._hosts = hosts
        self._refuses = refuses
        self._places: OrderedDict[tuple[str, str], SpawnClass] = OrderedDict()
        self.known: dict[str, tuple[SpawnClass, int]] = {}
        """By consumer: the class and its entry's revision."""

    def consumers(self) -> tuple[Consumer, ...]:
        """Those beside the ones that every deployment has."""
        return tuple(each.consumer for each, _ in self.known.values())

    async def follow(self) -> None:
        """Learn of the classes that others make, until cancelled."""
        async with aclosing(self._kv.watch()) as entries:
            async for entry in entries:
                self._take(entry)

    async def require(self, manifest: Manifest, digest: str, tenant: str) -> None:
        """Make sure that a job has where to wait, before it is accepted.

        Raises:
            ManifestError: `placement.too_large`.
            RefusedError: `placement.level`: peers of an older release cannot read what it asks;
                `placement.too_many`: this deployment has as many queues as it may;
                `network.refused`: hosts could start it, and none lets it connect to where it
                says; `job.no_such_host`, if that is refused here.
        """
        asks = manifest.placement is not None or bool(manifest.network.destinations)
        if asks and level.written() < CLASSES_LEVEL:
            raise RefusedError(
                f"placement needs protocol level {CLASSES_LEVEL}; in force is {level.written()}",
                code="placement.level",
                hint="the operator is upgrading: `atoll upgrade finish` ends that",
            )
        place = _place(manifest, tenant)
        if self._hosts is not None and (self._refuses or place.needs.destinations):
            self._require_host(place, list(await self._hosts()))
        await self._ensure(place, bounded=True)
        self._remember(digest, tenant, place)

    async def place(self, record: JobRecord) -> SpawnClass:
        """Where an accepted job waits; there is such a queue when this returns.

        Raises:
            NotFoundError: `manifest.not_found`.
        """
        view = record.view
        place = self._places.get((view.manifest_digest, view.tenant))
        if place is None:
            agreed = await self._manifests.get(view.manifest_digest)
            if agreed is None:
                raise NotFoundError(
                    f"manifest {view.manifest_digest} is not stored", code="manifest.not_found"
                )
            place = _place(Manifest.from_bytes(agreed.manifest), view.tenant)
            self._remember(view.manifest_digest, view.tenant, place)
        await self._ensure(place, bounded=False)
        return place

    async def make(self, place: SpawnClass) -> None:
        """Make its consumer, if the bus does not have it."""
        await ensure_consumer(self._bus, place.consumer)

    async def retire(self, name: str, *, idle_s: float) -> None:
        """Take a class that nobody uses off the list; the server forgets its consumer when no
        manager asks it any more.

        A job that comes at this very moment is found by whoever tends the queues
        (`atoll_gateway.tending`).
        """
        place, revision = self.known[name]
        try:
            await self._kv.delete(name, revision=revision)
        except ConflictError:
            return  # it was used just now
        self.known.pop(name, None)
        await ensure_consumer(self._bus, replace(place.consumer, idle_s=idle_s))

    async def _ensure(self, place: SpawnClass, *, bounded: bool) -> None:
        if place.is_plain:
            return
        now = self._clock()
        name = place.consumer.name
        found = self.known.get(name)
        if found is not None:
            known, revision = found
            if now - known.used_ms > HOUR_MS:
                await self._renew(name, replace(known, used_ms=now), revision)
            return
        special = sum(not each.is_sized for each, _ in self.known.values())
        if bounded and not place.is_sized and special >= MAX_CLASSES:
            raise RefusedError(
                f"jobs here have {special} different sets of needs at present, and this is another",
                code="placement.too_many",
                hint="use labels and numbers of processors that others use, or try again later",
            )
        await self.make(place)
        made = replace(place, used_ms=now)
        try:
            self.known[name] = made, await self._kv.create(name, schema.encode(made))
        except ConflictError:
            entry = await self._kv.get(name)
            if entry is not None:
                self._take(entry)

    async def _renew(self, name: str, place: SpawnClass, revision: int) -> None:
        try:
            revision = await self._kv.update(name, schema.encode(place), revision=revision)
        except ConflictError:
            return  # somebody else did
        self.known[name] = place, revision

    def _take(self, entry: Entry) -> None:
        found = self.known.get(entry.key)
        if found is not None and found[1] > entry.revision:
            return  # our own, newer word
        self.known.pop(entry.key, None)
        if entry.value is None:
            return
        try:
            place = schema.decode(SpawnClass, entry.value)
            fits = place.consumer.name == entry.key
        except AtollError as error:
            _log.error("the class %s of jobs cannot be read: %s", entry.key, error.message)
            return
        if fits:
            self.known[entry.key] = place, entry.revision

    def _remember(self, digest: str, tenant: str, place: SpawnClass) -> None:
        self._places[digest, tenant] = place
        while len(self._places) > MAX_REMEMBERED:
            self._places.popitem(last=False)

    def _require_host(self, place: SpawnClass, hosts: list[HostRecord]) -> None:
        if any(misfit(place.tee, place.needs, host) is None for host in hosts):
            return
        inside = replace(place.needs, destinations=())
        able = [host for host in hosts if misfit(place.tee, inside, host) is None]
        if able:
            wanted = place.needs.destinations
            nowhere = (it for it in wanted if all(_refuses(host, it) for host in able))
            raise RefusedError(
                f"no host here lets jobs connect to {next(nowhere, ' and '.join(wanted))}",
                code="network.refused",
                hint="`atoll hosts show` says where a host lets them; its operator decides",
            )
        if self._refuses:
            raise RefusedError(
                "no host that is registered here has what this job needs",
                code="job.no_such_host",
                hint="`atoll hosts list` says what they have",
            )


def _refuses(host: HostRecord, destination: str) -> bool:
    return Allowance(host.egress).first_refused((destination,)) is not None


def _place(manifest: Manifest, tenant: str) -> SpawnClass:
    if manifest.placement is None and level.written() < CLASSES_LEVEL:
        return plain(manifest.tee.kind)  # managers of an older release ask no other queue
    try:
        return class_of(manifest.tee.kind, needs_of(manifest, tenant))
    except InputError as error:
        raise ManifestError(error.message, code=error.code, hint=error.hint) from error


class AnyPlace:
    """Every job is plain: for a deployment of one kind of host, and for what needs no bus."""

    async def require(self, manifest: Manifest, digest: str, tenant: str) -> None:
        """Nothing."""

    async def place(self, record: JobRecord) -> SpawnClass:
        """The plain class."""
        return plain(record.view.tee)
