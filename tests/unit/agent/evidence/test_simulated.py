"""The guest's side of the device: one question, its answer, and the end of the host."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from atoll.errors import ConfigError, EvidenceError, MalformedEvidenceError, UnreachableError
from atoll.simulated import device as wire
from atoll.simulated.device import DeviceReply
from atoll_agent.evidence.provider import Quoted
from atoll_agent.evidence.simulated import SimulatedDevice
from support.evidence import Binding, chain, guest

DATA = Binding().report_data
GOOD = DeviceReply(0, guest().attest(DATA), chain().table().to_bytes())


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[SimulatedDevice, socket.socket]]:
    """The device and the host's end."""
    host, inside = socket.socketpair()
    host.settimeout(0)
    device = await SimulatedDevice.open(inside.detach())
    try:
        yield device, host
    finally:
        device.close()
        host.close()


async def asked(reply: bytes) -> Quoted:
    """What the guest gets when the host answers one request with `reply`."""
    loop = asyncio.get_running_loop()
    async with opened() as (device, host), asyncio.TaskGroup() as group:
        pump = group.create_task(device.pump())
        answer = group.create_task(device.quote(DATA))
        request = await loop.sock_recv(host, 1024)
        assert wire.decode_request(request) == (DATA, 0)
        await loop.sock_sendall(host, reply)
        host.shutdown(socket.SHUT_WR)
        result = await answer
        await pump
        return result


async def test_the_report_and_its_certificates_come_back() -> None:
    quoted = await asked(wire.encode_reply(GOOD))
    assert quoted.report == GOOD.report
    assert set(quoted.certs) == set(chain().certificates)


async def failing(reply: bytes) -> BaseException:
    with pytest.raises(BaseExceptionGroup) as caught:
        await asked(reply)
    return caught.value.exceptions[0]


async def test_a_refusal_is_an_error_with_the_status() -> None:
    error = await failing(wire.encode_reply(DeviceReply(0x16, b"", b"")))
    assert isinstance(error, EvidenceError)
    assert error.code == "device.refused"


@pytest.mark.parametrize("report", [b"", b"short", GOOD.report[:-1]])
async def test_a_report_of_another_size_is_malformed(report: bytes) -> None:
    error = await failing(wire.encode_reply(DeviceReply(0, report, GOOD.table)))
    assert isinstance(error, MalformedEvidenceError)


async def test_a_reply_beyond_the_limits_is_malformed() -> None:
    error = await failing(bytes(4) + b"\xff" * 8)
    assert isinstance(error, MalformedEvidenceError)


@pytest.mark.parametrize("cut", [0, 5, 12, 700, -1])
async def test_a_host_that_goes_in_the_middle_of_an_answer_is_gone(cut: int) -> None:
    error = await failing(wire.encode_reply(GOOD)[:cut])
    assert isinstance(error, UnreachableError)
    assert error.code == "device.gone"


async def test_nothing_is_asked_of_a_host_that_is_gone() -> None:
    async with opened() as (device, host):
        host.close()
        await device.pump()
        with pytest.raises(UnreachableError) as caught:
            await device.quote(DATA)
    assert caught.value.code == "device.gone"


async def test_an_answer_that_nobody_asked_for_is_not_kept_for_the_next_question() -> None:
    async with opened() as (device, host):
        host.sendall(wire.encode_reply(GOOD))
        with pytest.raises(MalformedEvidenceError, match="nobody asked"):
            await device.pump()


async def test_a_descriptor_that_is_no_device_is_refused() -> None:
    reading, writing = os.pipe()
    with pytest.raises(ConfigError) as caught:
        await SimulatedDevice.open(reading)
    os.close(writing)
    os.close(reading)
    assert caught.value.code == "agent.device"
    with pytest.raises(ConfigError):
        await SimulatedDevice.open(reading)
