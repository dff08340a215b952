"""A host says that it lives, and takes itself off the list; the attestor's keys on the bus."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from atoll.bus import Bus, Endpoint, KeyValue, Service
from atoll.errors import UnreachableError
from atoll.wire import endpoints, schema, topology
from atoll.wire.messages import HostRecord, KeysReply, Tee, VerificationKey
from atoll_manager import keys, registry
from atoll_manager.keys import AttestorKeys
from atoll_manager.registry import HostRegistry
from support.nats import wait_for

RECORD = HostRecord(
    host_id="host-1", tees=(Tee.SIMULATED,), slots=2, busy=0, started_ms=1, version="0.0.0"
)


async def listed(bus: Bus) -> list[str]:
    return await KeyValue(bus, topology.HOSTS).keys()


async def test_a_host_is_listed_from_its_announcement_to_its_withdrawal(site: Bus) -> None:
    hosts = HostRegistry(site, lambda: RECORD)
    await hosts.announce()
    entry = await KeyValue(site, topology.HOSTS).get("host-1")
    assert entry is not None
    assert entry.value is not None
    assert schema.decode(HostRecord, entry.value) == RECORD
    await hosts.withdraw()
    assert await listed(site) == []


async def test_a_lost_heartbeat_is_followed_by_the_next(
    site: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry, "PERIOD_S", 0.01)
    calls = 0

    def describe() -> HostRecord:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise UnreachableError("gone", code="bus.unreachable")
        return RECORD

    async def present() -> bool:
        return await listed(site) == ["host-1"]

    async with asyncio.TaskGroup() as group:
        beating = group.create_task(HostRegistry(site, describe).run())
        await wait_for(present, "the second heartbeat arrives")
        beating.cancel()
    assert "heartbeat lost: bus.unreachable" in caplog.text


async def test_a_withdrawal_that_the_bus_does_not_take_is_no_failure(
    site: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    def describe() -> HostRecord:
        raise UnreachableError("gone", code="bus.unreachable")

    await HostRegistry(site, describe).withdraw()
    assert "stays listed" in caplog.text


async def test_keys_are_asked_of_the_attestor(site: Bus) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    reply = KeysReply(keys=(VerificationKey(kid="k1", public_key=public.public_bytes_raw()),))

    async def handler(_payload: bytes, _headers: object) -> bytes:
        return schema.encode(reply)

    row = endpoints.KEYS
    endpoint = Endpoint(name=row.name, subject=row.subject.template, handler=handler)
    async with Service(
        site, name="attestor", version="0.0.0", description="a test", endpoints=[endpoint]
    ):
        assert await AttestorKeys(site)() == {"k1": public}


async def test_without_an_attestor_the_keys_are_unreachable(
    site: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "TIMEOUT_S", 0.1)
    with pytest.raises(UnreachableError):
        await AttestorKeys(site)()
