"""A second attempt gets its work when the first enclave, which may have keys, is gone."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from atoll.bus import Bus, read_stream
from atoll.wire import subjects, topology
from atoll.wire.messages import ReportKind
from atoll_manager import lease
from integration.manager.host import FakeEnclave, Host, host
from integration.manager.test_attempt import working
from support.nats import wait_for


async def attesting(enclave: FakeEnclave) -> None:
    await enclave.attest(datetime.now(UTC))


async def assigned(bus: Bus) -> list[str]:
    """The enclaves that were offered work, in order."""
    told = read_stream(bus, topology.ENCLAVE.name, subjects.ASSIGN.wildcard)
    return [subjects.ASSIGN.read(message.subject)[0] async for message in told]


async def overtaken(here: Host) -> tuple[FakeEnclave, FakeEnclave]:
    """A job's first enclave, which may have keys, and the one of the second attempt."""
    await here.submit()
    await wait_for(lambda: ReportKind.ADMITTED in here.kinds(), "the first has its work")
    first = here.driver.started[0]
    assert first.spec.claim is not None
    await here.bus.send(first.spec.claim.reply, b"-NAK")
    await wait_for(lambda: len(here.driver.started) == 2, "the second is started")
    return first, here.driver.started[1]


def slow_to_end(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Enclaves of a first attempt are stopped only when this is set."""
    may_end = asyncio.Event()
    real = FakeEnclave.stop

    async def stop(enclave: FakeEnclave, grace_s: float) -> None:
        if enclave.spec.attempt == 1:
            await may_end.wait()
        await real(enclave, grace_s)

    monkeypatch.setattr(FakeEnclave, "stop", stop)
    return may_end


async def test_a_second_attempt_waits_until_the_first_is_gone(
    site: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gone = slow_to_end(monkeypatch)
    caplog.set_level(logging.INFO)
    async with host(site, attesting) as here, working(here):
        first, second = await overtaken(here)
        await wait_for(lambda: "may have keys" in caplog.text, "the second waits")
        assert await assigned(here.bus) == [first.enclave_id]
        gone.set()
        await wait_for(lambda: here.kinds().count(ReportKind.ADMITTED) == 2, "it goes on")
        assert await assigned(here.bus) == [first.enclave_id, second.enclave_id]
        assert first.stops
        assert (await here.record(second.spec.job_id)).holders == ()


async def test_a_second_attempt_waits_no_longer_than_an_enclave_can_outlive_its_manager(
    site: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = slow_to_end(monkeypatch)
    monkeypatch.setattr(lease, "HANDOVER_S", 0.3)
    async with host(site, attesting) as here, working(here):
        first, second = await overtaken(here)
        await wait_for(lambda: here.kinds().count(ReportKind.ADMITTED) == 2, "it goes on")
        assert await assigned(here.bus) == [first.enclave_id, second.enclave_id]
        assert not first.stops
        forgotten.set()
