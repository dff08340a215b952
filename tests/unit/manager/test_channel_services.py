"""What a keeper believes of a guest that it has a channel with: little, and each thing once."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.channel.dialer import Dialer, multiplexing
from atoll.channel.session import pair
from atoll.errors import MessageError
from atoll.simulated import device
from atoll_manager.bodies.body import Order
from atoll_manager.bodies.channel import Services, _status
from support.evidence import guest
from unit.manager.enclaves import spec


def services(*, warm: bool = False, body: Mapping[str, object] | None = None) -> Services:
    of = spec()
    of = replace(of, job_id="") if warm else of
    return Services(Order(spec=of, settings={}, body={"bus": [], **(body or {})}, guest=guest))


@asynccontextmanager
async def linked(it: Services) -> AsyncIterator[tuple[Dialer, "asyncio.Task[str]"]]:
    """A guest's dialer, and for what it was cut off; empty when it went by itself."""
    mine, theirs = await pair()

    async def relay() -> str:
        try:
            await it.relay().carry(theirs)
        except MessageError as error:
            return error.code
        return ""

    async with asyncio.TaskGroup() as group:
        cut = group.create_task(relay())
        async with multiplexing(mine) as dialer:
            yield dialer, cut


async def test_the_last_word_is_heard() -> None:
    it = services()
    async with linked(it) as (dialer, cut):
        reader, writer = await dialer.open("status")
        writer.write(b'{"status": 3}\n')
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert it.here.is_set()
        assert it.said == 3
        assert not cut.done()


async def test_a_guest_of_real_hardware_has_no_simulated_device() -> None:
    it = Services(Order(spec=spec(), settings={}, body={"bus": []}, guest=None))
    async with linked(it) as (dialer, cut):
        reader, writer = await dialer.open("device")
        writer.write(device.encode_request(bytes(64), 0))
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        assert not cut.done()


async def test_a_warm_one_is_told_its_job_once() -> None:
    it, of = services(warm=True), spec()
    assert not it.lease(of), "it is not there"
    async with linked(it) as (dialer, _):
        reader, writer = await dialer.open("status")
        await it.here.wait()
        assert it.lease(of)
        assert not it.lease(of)
        told = json.loads(await reader.readline())
        writer.close()
    assert told["lease"]["JOB_ID"] == of.job_id


async def test_one_that_has_its_job_is_told_none() -> None:
    it = services()
    async with linked(it) as (dialer, _):
        _, writer = await dialer.open("status")
        await it.here.wait()
        assert not it.lease(spec())
        writer.close()


async def test_its_device_answers() -> None:
    async with linked(services()) as (dialer, _):
        reader, writer = await dialer.open("device")
        writer.write(device.encode_request(bytes(64), vmpl=0))
        header = await reader.readexactly(device.REPLY_HEADER_SIZE)
        assert device.decode_reply_header(header)[:2] == (device.STATUS_OK, device.MAX_REPORT)
        writer.close()


@pytest.mark.parametrize(
    "word",
    [
        *(b"3\n", b'{"status": -1}\n', b'{"status": 256}\n', b'{"status": "0"}\n', b"\xff\n"),
        *(b'{"status": 0, "x": 1}\n', b'{"status": 0}\nmore', b'{"status": true}\n'),
        b"x" * 200_000,
    ],
)
async def test_a_last_word_that_is_none_cuts_the_guest_off(word: bytes) -> None:
    async with linked(services()) as (dialer, cut):
        _, writer = await dialer.open("status")
        writer.write(word)
        assert await cut == "channel.status"
        writer.transport.abort()


async def test_a_second_status_stream_cuts_the_guest_off() -> None:
    it = services()
    async with linked(it) as (dialer, cut):
        _, first = await dialer.open("status")
        _, second = await dialer.open("status")
        assert await cut == "channel.status"
        for writer in (first, second):
            writer.transport.abort()


@given(line=st.binary(max_size=60))
def test_any_line_is_a_status_or_the_one_error(line: bytes) -> None:
    try:
        assert 0 <= _status(line) <= 255
    except MessageError as error:
        assert error.code == "channel.status"  # noqa: PT017


async def asked(it: Services, line: bytes) -> tuple[bytes, str]:
    """What it answers on a stream to the outside, and for what it cut the guest off."""
    async with linked(it) as (dialer, cut):
        reader, writer = await dialer.open("egress")
        writer.write(line)
        answer = await reader.readline()
        writer.close()
        if answer:
            return answer, ""
        async with asyncio.timeout(10):
            return answer, await cut


async def test_the_operators_list_decides_where_a_guest_is_let_out() -> None:
    body = {"egress": ["example.org:443"]}
    assert await asked(services(body=body), b"may example.org:443\n") == (b"ok\n", "")
    for line in (b"may example.org:80\n", b"dial example.com:443\n"):
        assert await asked(services(body=body), line) == (b"no network.refused\n", "")


@pytest.mark.parametrize("body", [{}, {"egress": []}])
async def test_without_a_list_nothing_is_let_out(body: dict[str, object]) -> None:
    assert await asked(services(body=body), b"may example.org:443\n") == (
        b"no network.refused\n",
        "",
    )


@pytest.mark.parametrize("line", [b"hello\n", b"may x\n", b"dial [::1]:80\n", b"x" * 70_000])
async def test_a_guest_that_asks_for_no_destination_is_cut_off(line: bytes) -> None:
    assert await asked(services(body={"egress": ["a:1"]}), line) == (b"", "egress.word")
