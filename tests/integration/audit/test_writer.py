"""A chain on a real stream: it is whole, it cannot be shortened, and a full stream refuses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.audit import Action, ActorKind, AuditEntry, AuditWriter, ChainVerifier, Verdict
from atoll.bus import Bus, connect, ensure_stream, read_stream
from atoll.bus.jetstream import api, erase, purge
from atoll.errors import AtollError, RefusedError
from atoll.wire import subjects, topology
from support.nats import bus_config, restart, running

ENTRY = AuditEntry(action=Action.JOB_SUBMIT, actor_kind=ActorKind.TOKEN, actor="abc")


@pytest_asyncio.fixture
async def audit_bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """A bus with nothing but the stream."""
    async with running(tmp_path / "nats") as server, connect(bus_config(server)) as bus:
        await ensure_stream(bus, topology.AUDIT)
        yield bus


async def verdict(bus: Bus) -> Verdict:
    verifier = ChainVerifier()
    messages = read_stream(bus, topology.AUDIT.name, subjects.AUDIT.wildcard)
    async with aclosing(messages):
        async for message in messages:
            tenant, action = subjects.AUDIT.read(message.subject)
            verifier.add(message.seq, message.payload, tenant=tenant, action=action)
    return verifier.verdict()


def writer(bus: Bus, name: str) -> AuditWriter:
    return AuditWriter(bus, name, lambda: 1_800_000_000_000)


async def test_records_of_writers_at_the_same_time_are_whole(audit_bus: Bus) -> None:
    first = writer(audit_bus, "w0")
    await first.record(ENTRY)
    writers = [writer(audit_bus, f"w{number}") for number in range(1, 4)]
    async with asyncio.TaskGroup() as tasks:
        for number in range(30):
            entry = replace(ENTRY, tenant=f"t{number % 2}", object=f"j{number}")
            tasks.create_task(writers[number % 3].record(entry))
    found = await verdict(audit_bus)
    assert (found.findings, found.records, found.writers) == ((), 31, 4)
    assert found.unanchored == 1


async def test_nothing_of_it_can_be_taken_away(audit_bus: Bus) -> None:
    await writer(audit_bus, "w").record(ENTRY)
    with pytest.raises(AtollError):
        await erase(audit_bus, topology.AUDIT.name, 1)
    with pytest.raises(AtollError):
        await purge(audit_bus, topology.AUDIT.name, ">")
    config = (await api(audit_bus, "STREAM.INFO.AUDIT"))["config"]
    for change in ({"deny_delete": False}, {"deny_purge": False}):
        with pytest.raises(AtollError):
            await api(audit_bus, "STREAM.UPDATE.AUDIT", {**config, **change})
    assert (await verdict(audit_bus)).records == 1


async def test_a_full_stream_refuses_and_what_it_did_not_take_is_told_later(
    audit_bus: Bus,
) -> None:
    await ensure_stream(audit_bus, replace(topology.AUDIT, max_bytes=1500))
    recording = writer(audit_bus, "w")
    taken = 0

    async def fill() -> None:
        nonlocal taken
        for _ in range(100):
            await recording.record(ENTRY)
            taken += 1

    with pytest.raises(RefusedError) as caught:
        await fill()
    assert caught.value.code == "audit.unavailable"
    assert taken
    with pytest.raises(RefusedError):
        await recording.record(ENTRY)
    await ensure_stream(audit_bus, topology.AUDIT)
    await recording.record(ENTRY)
    found = await verdict(audit_bus)
    assert (found.findings, found.records, found.unrecorded) == ((), taken + 1, 2)


async def test_a_chain_goes_on_through_a_restart_of_the_server(tmp_path: Path) -> None:
    async with running(tmp_path / "nats") as server, connect(bus_config(server)) as bus:
        await ensure_stream(bus, topology.AUDIT)
        recording = writer(bus, "w")
        for number in range(20):
            if number == 10:
                await restart(server)
            await recording.record(ENTRY)
        found = await verdict(bus)
        assert (found.findings, found.records) == ((), 20)
