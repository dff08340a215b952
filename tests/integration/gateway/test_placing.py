"""Queues for jobs with further needs: made once, bounded, repaired, retired, cleared."""

from dataclasses import replace

import pytest

from atoll.bus import Bus, KeyValue, publish
from atoll.bus import dead_letter as dead
from atoll.bus.jetstream import api, message_after
from atoll.computation.manifest import Manifest
from atoll.computation.network import Destination, Network, NetworkMode
from atoll.computation.placement import Placement, needs_of
from atoll.errors import ManifestError, NotFoundError, RefusedError
from atoll.wire import level, schema, subjects, topology
from atoll.wire.hosts import HostRecord
from atoll.wire.messages import SpawnRequest, Tee
from atoll.wire.placement import MAX_CLASSES, Needs, SpawnClass, class_of
from atoll_gateway import placing as placings
from atoll_gateway import tending
from atoll_gateway.adapters import KvManifests
from atoll_gateway.core import CancelRequested
from atoll_gateway.placing import HOUR_MS, Placing
from integration.manager.conftest import site
from integration.manager.fleet import NOW_MS, Fleet, fleet
from integration.manager.test_registry import RECORD
from support.gateway import keys as keys_of
from support.gateway import make_manifest
from support.nats import wait_for

__all__ = ["site"]

GPU = Placement(labels={"gpu": "a100"})
DIGEST = "ab" * 32


def gpu(it: Fleet) -> SpawnClass:
    return class_of(Tee.SIMULATED, it.needs(GPU))


async def consumers(bus: Bus) -> set[str]:
    return set((await api(bus, "CONSUMER.NAMES.SPAWN"))["consumers"])


async def told(bus: Bus) -> list[str]:
    return await KeyValue(bus, topology.SPAWN_CLASSES).keys()


async def waiting(bus: Bus, subject: str) -> int:
    found, sequence = 0, 0
    while (message := await message_after(bus, "SPAWN", sequence + 1, subject)) is not None:
        found, sequence = found + 1, message.seq
    return found


async def test_plain_jobs_need_no_queue_of_their_own(site: Bus) -> None:
    async with fleet(site) as it:
        before = await consumers(site)
        await it.submit()
        assert (await consumers(site), await told(site)) == (before, [])
        assert await waiting(site, subjects.SPAWN.of("simulated")) == 1


async def test_jobs_of_like_needs_share_a_queue_that_managers_are_told_of(site: Bus) -> None:
    async with fleet(site) as it:
        await it.submit(GPU)
        await it.submit(Placement(labels={"gpu": "a100"}, memory_bytes=1 << 20))
        assert await told(site) == [gpu(it).consumer.name]
        assert gpu(it).consumer.name in await consumers(site)
        assert await waiting(site, gpu(it).subject) == 2
        entry = await KeyValue(site, topology.SPAWN_CLASSES).get(gpu(it).consumer.name)
        assert entry is not None
        assert entry.value is not None
        assert schema.decode(SpawnClass, entry.value) == replace(gpu(it), used_ms=NOW_MS)


async def test_destinations_need_a_level_at_which_managers_know_of_them(site: Bus) -> None:
    allowed = Network(
        mode=NetworkMode.ALLOW, destinations=(Destination(host="a.example", port=443),)
    )
    level.write(placings.CLASSES_LEVEL - 1)
    async with fleet(site) as it:
        with pytest.raises(RefusedError) as caught:
            await it.placing.require(
                make_manifest(keys_of("alice"), network=allowed), DIGEST, "main"
            )
        assert caught.value.code == "placement.level"


async def test_while_an_older_release_may_run_every_job_is_where_its_managers_ask(
    site: Bus,
) -> None:
    manifest = make_manifest(keys_of("alice"))
    step = replace(manifest.steps[0], algorithm=replace(manifest.steps[0].algorithm, size=5 << 30))
    large = replace(manifest, steps=(step,))
    level.write(placings.CLASSES_LEVEL - 1)
    async with fleet(site) as it:
        await it.placing.require(large, DIGEST, "main")
        with pytest.raises(RefusedError) as caught:
            await it.submit(GPU)
        assert caught.value.code == "placement.level"
        assert await told(site) == []
        level.write(placings.CLASSES_LEVEL)
        await it.placing.require(large, DIGEST, "main")
        await it.submit(GPU)
        assert len(await told(site)) == 2


async def test_several_gateways_make_it_once(site: Bus) -> None:
    async with fleet(site) as it:
        manifest = make_manifest(keys_of("alice"), placement=GPU)
        others = [Placing(site, KvManifests(site), lambda: NOW_MS) for _ in range(3)]
        for other in others:  # none of them follows the bucket, so none knows of the others
            await other.require(manifest, DIGEST, "main")
            assert list(other.known) == [gpu(it).consumer.name]
        assert await told(site) == [gpu(it).consumer.name]


async def test_special_needs_are_bounded_and_sizes_are_not(
    site: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_CLASSES > 2
    monkeypatch.setattr(placings, "MAX_CLASSES", 2)
    async with fleet(site) as it:
        await it.submit(Placement(labels={"a": "1"}))
        await it.submit(Placement(cpus=3))
        with pytest.raises(RefusedError) as caught:
            await it.submit(GPU)
        assert caught.value.code == "placement.too_many"
        await it.submit(Placement(labels={"a": "1"}))
        for power in range(33, 40):
            await it.submit(Placement(memory_bytes=1 << power))


async def test_refuses_what_no_host_can_have(site: Bus) -> None:
    async with fleet(site) as it:
        manifest = make_manifest(keys_of("alice"), placement=Placement(memory_bytes=1 << 50))
        await it.placing.require(manifest, DIGEST, "main")
        steps = (
            replace(
                manifest.steps[0], algorithm=replace(manifest.steps[0].algorithm, size=1 << 51)
            ),
        )
        with pytest.raises(ManifestError) as caught:
            await it.placing.require(replace(manifest, steps=steps), DIGEST, "main")
        assert caught.value.code == "placement.too_large"


async def test_an_operator_may_have_jobs_refused_that_no_host_can_start(site: Bus) -> None:
    living: list[HostRecord] = []

    async def hosts() -> list[HostRecord]:
        return living

    strict = Placing(site, KvManifests(site), lambda: NOW_MS, hosts, refuses=True)
    manifest = make_manifest(keys_of("alice"), placement=GPU)
    for seen in ([], [replace(RECORD, memory_bytes=1 << 40)]):
        living[:] = seen
        with pytest.raises(RefusedError) as caught:
            await strict.require(manifest, DIGEST, "main")
        assert caught.value.code == "job.no_such_host"
    assert await told(site) == []
    living.append(replace(RECORD, memory_bytes=1 << 40, labels={"gpu": "a100"}))
    await strict.require(manifest, DIGEST, "main")


def places_memory(manifest: Manifest) -> int:
    return needs_of(manifest, "main").memory_bytes


async def test_a_job_that_no_host_would_let_out_is_refused_with_the_destination(site: Bus) -> None:
    living: list[HostRecord] = []

    async def hosts() -> list[HostRecord]:
        return living

    places = Placing(site, KvManifests(site), lambda: NOW_MS, hosts)
    network = Network(
        mode=NetworkMode.ALLOW,
        destinations=(
            Destination(host="a.example", port=443),
            Destination(host="b.example", port=443),
        ),
    )
    manifest = make_manifest(keys_of("alice"), network=network)
    large = replace(RECORD, memory_bytes=1 << 40)
    one = replace(large, egress=("a.example:443",))
    other = replace(large, egress=("b.example:443",))
    for seen, named in (
        ([large], "a.example:443"),
        ([one], "b.example:443"),
        ([one, other], "a.example:443 and b.example:443"),
    ):
        living[:] = seen
        with pytest.raises(RefusedError, match=f"connect to {named}$") as caught:
            await places.require(manifest, DIGEST, "main")
        assert caught.value.code == "network.refused"
    assert await told(site) == []
    # One that is away may let it out: it waits, as for whatever a host may have.
    living[:] = []
    await places.require(manifest, DIGEST, "main")
    living[:] = [one, replace(large, egress=("*.example:443",))]
    await places.require(manifest, DIGEST, "main")
    needs = Needs(
        memory_bytes=places_memory(manifest), destinations=("a.example:443", "b.example:443")
    )
    assert await told(site) == [class_of(Tee.SIMULATED, needs).consumer.name]


async def test_where_a_job_waits_is_found_by_another_gateway_from_its_manifest(site: Bus) -> None:
    async with fleet(site) as it:
        record = await it.here.record(await it.submit(GPU))
        other = Placing(site, KvManifests(site), lambda: NOW_MS)
        assert (await other.place(record)).subject == gpu(it).subject
        gone = replace(record, view=replace(record.view, manifest_digest="00" * 32))
        with pytest.raises(NotFoundError):
            await other.place(gone)


async def test_a_consumer_that_is_gone_is_made_again(site: Bus) -> None:
    async with fleet(site) as it:
        await it.submit(GPU)
        await wait_for(lambda: gpu(it).consumer.name in it.placing.known, "it is known")
        await api(site, f"CONSUMER.DELETE.SPAWN.{gpu(it).consumer.name}")
        await it.tending.look()
        assert gpu(it).consumer.name in await consumers(site)


async def test_a_queue_that_nobody_uses_is_retired_and_one_in_use_is_not(
    site: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "RETIRED_S", 0.2)
    async with fleet(site) as it:
        await it.submit(GPU)
        await it.submit(Placement(cpus=3))
        wide = class_of(Tee.SIMULATED, it.needs(Placement(cpus=3)))
        message = await message_after(site, "SPAWN", 1, wide.subject)
        assert message is not None
        await api(site, "STREAM.MSG.DELETE.SPAWN", {"seq": message.seq})
        it.clock[0] += tending.UNUSED_MS
        await it.tending.look()
        assert sorted(await told(site)) == sorted([gpu(it).consumer.name, wide.consumer.name])
        it.clock[0] += HOUR_MS
        await it.tending.look()
        assert await told(site) == [gpu(it).consumer.name]

        async def gone() -> bool:
            return wide.consumer.name not in await consumers(site)

        await wait_for(gone, "the server forgets its consumer")
        await it.submit(Placement(cpus=3))
        assert wide.consumer.name in await consumers(site)
        assert wide.consumer.name in await told(site)


async def test_a_queue_in_use_is_renewed(site: Bus) -> None:
    async with fleet(site) as it:
        await it.submit(GPU)
        it.clock[0] += 2 * HOUR_MS
        await it.submit(GPU)
        place, _ = it.placing.known[gpu(it).consumer.name]
        assert place.used_ms == it.clock[0]
        entry = await KeyValue(site, topology.SPAWN_CLASSES).get(gpu(it).consumer.name)
        assert entry is not None
        assert entry.value is not None
        assert schema.decode(SpawnClass, entry.value).used_ms == it.clock[0]


async def test_a_job_in_a_queue_that_was_retired_at_that_moment_is_found(site: Bus) -> None:
    async with fleet(site) as it:
        await it.submit(GPU)
        name = gpu(it).consumer.name
        await KeyValue(site, topology.SPAWN_CLASSES).delete(name)
        await api(site, f"CONSUMER.DELETE.SPAWN.{name}")
        await wait_for(lambda: name not in it.placing.known, "it is forgotten")
        await it.tending.look()
        assert await told(site) == [name]
        assert name in await consumers(site)


async def test_a_request_in_a_wrong_queue_goes_where_it_belongs(site: Bus) -> None:
    async with fleet(site) as it:
        record = await it.here.record(await it.submit(GPU))
        request = SpawnRequest(
            job_id=record.view.job_id,
            tee=Tee.SIMULATED,
            manifest_digest=record.view.manifest_digest,
            expires_ms=record.view.expires_ms,
        )
        wrong = subjects.SPAWN_CLASS.of("simulated", "m3c0", "any")
        await publish(site, wrong, schema.encode(request))
        await it.tending.look()
        assert await waiting(site, wrong) == 0
        assert await waiting(site, gpu(it).subject) == 2


@pytest.mark.parametrize("payload", [b"\xc1", None])
async def test_a_request_for_nobody_in_a_queue_of_nobody_is_a_dead_letter(
    site: Bus, payload: bytes | None
) -> None:
    async with fleet(site) as it:
        request = SpawnRequest(
            job_id="nobody", tee=Tee.SIMULATED, manifest_digest=DIGEST, expires_ms=1
        )
        unknown = subjects.SPAWN_CLASS.of("simulated", "m2c0", "0" * 24)
        await publish(site, unknown, schema.encode(request) if payload is None else payload)
        await it.tending.look()
        assert await waiting(site, unknown) == 0
        (letter,) = [each async for each in dead.letters(site, stream="SPAWN")]
        assert not isinstance(letter, int)
        assert (letter.code, letter.subject) == (tending.LOST, unknown)


async def test_what_is_over_and_can_never_start_does_not_stay(site: Bus) -> None:
    """Nobody but a host with room for it would ever take it from its queue."""
    async with fleet(site) as it:
        over = await it.submit(GPU, deadline_ms=1000)
        await it.submit(GPU, deadline_ms=1000)
        await it.submit(GPU)
        await it.here.change(over, CancelRequested())
        await it.tending.look()
        assert await waiting(site, gpu(it).subject) == 3, "not before its deadline"
        it.clock[0] += 1000 + tending.OVERDUE_MS + 1
        await it.tending.look()
        await it.tending.look()
        assert await waiting(site, gpu(it).subject) == 2, "a job that did not end stays"


async def test_an_entry_that_is_not_of_its_name_is_not_believed(site: Bus) -> None:
    async with fleet(site) as it:
        classes = KeyValue(site, topology.SPAWN_CLASSES)
        foreign = class_of(Tee.SIMULATED, Needs(cpus=4))
        await classes.put("managers-simulated-m2c0-other", schema.encode(foreign))
        await classes.put("managers-simulated-m2c0-worse", b"\xc1")
        machine = await it.add("host")
        await it.submit(Placement(cpus=3))
        await wait_for(lambda: len(machine.driver.started) == 1, "another class is heard of")
        assert len(it.placing.known) == 1
