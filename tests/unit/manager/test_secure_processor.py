"""The host's side of the device: it answers, and nothing that a guest does ends the host."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypothesis import given as with_values
from hypothesis import settings
from hypothesis import strategies as st

from atoll.evidence.snp import AttestationReport
from atoll.simulated import device as wire
from atoll_manager.secure_processor import serve
from support.evidence import MEASUREMENT, chain, guest

TABLE = chain().table().to_bytes()
DATA = bytes(range(64))


@asynccontextmanager
async def served() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The guest's end of a device."""
    host_end, guest_end = socket.socketpair()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(host_end, guest(), TABLE))
        reader, writer = await asyncio.open_connection(sock=guest_end)
        try:
            yield reader, writer
        finally:
            writer.close()


async def asked(request: bytes) -> wire.DeviceReply:
    async with served() as (reader, writer):
        writer.write(request)
        status, report, table = wire.decode_reply_header(
            await reader.readexactly(wire.REPLY_HEADER_SIZE)
        )
        return wire.DeviceReply(
            status, await reader.readexactly(report), await reader.readexactly(table)
        )


async def test_a_report_is_over_the_data_and_the_measurement_of_the_launch() -> None:
    reply = await asked(wire.encode_request(DATA, 0))
    body = AttestationReport.from_bytes(reply.report).body
    assert (body.report_data, body.measurement, body.vmpl) == (DATA, MEASUREMENT, 0)
    assert reply.table == TABLE


async def test_a_vmpl_that_does_not_exist_is_refused() -> None:
    for vmpl in (4, (1 << 32) - 1):
        reply = await asked(DATA + vmpl.to_bytes(4, "little"))
        assert reply == wire.DeviceReply(wire.STATUS_INVALID, b"", b"")


async def test_a_guest_that_leaves_in_the_middle_of_a_question_ends_the_serving() -> None:
    async with served() as (_, writer):
        writer.write(DATA)


async def test_a_guest_that_leaves_without_reading_the_answer_ends_the_serving() -> None:
    async with served() as (_, writer):
        for _ in range(50):
            writer.write(wire.encode_request(DATA, 0))
        await writer.drain()


@settings(max_examples=20, deadline=None)
@with_values(st.binary(max_size=200))
def test_no_bytes_of_a_guest_end_the_host(raw: bytes) -> None:
    async def attempt() -> None:
        async with served() as (_, writer):
            writer.write(raw)

    asyncio.run(attempt())
