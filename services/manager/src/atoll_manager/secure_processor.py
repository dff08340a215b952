"""The host side of the simulated TEE: answers an enclave's requests for reports.

On hardware this is the AMD secure processor. Here the manager measures the enclave before
it starts it, and the enclave's keeper holds the development VCEK; the enclave can choose
nothing but the report data and its VMPL, as on hardware.
"""

import asyncio
import logging
import socket

from atoll.errors import EvidenceError
from atoll.simulated import device
from atoll.simulated.report import SimulatedGuest

_log = logging.getLogger(__name__)


async def serve(host_end: socket.socket, guest: SimulatedGuest, table: bytes) -> None:
    """Answer until the enclave closes its end; raises nothing of the enclave's making.

    The enclave sees the end of this stream when its keeper is gone, whatever the
    reason, and ends itself: an enclave does not outlive its host.

    Args:
        host_end: of a socket pair; closed at the end.
        guest: who asks.
        table: the certificates that go with its reports.
    """
    await answer(*await asyncio.open_connection(sock=host_end), guest, table)


async def answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    guest: SimulatedGuest,
    table: bytes,
) -> None:
    """As `serve`, on a stream that is open; closes it."""
    try:
        while True:
            request = await reader.readexactly(device.REQUEST_SIZE)
            writer.write(device.encode_reply(_answer(guest, table, request)))
            await writer.drain()
    except (asyncio.IncompleteReadError, OSError):
        return
    finally:
        writer.close()


def _answer(guest: SimulatedGuest, table: bytes, request: bytes) -> device.DeviceReply:
    report_data, vmpl = device.decode_request(request)
    try:
        report = guest.attest(report_data, vmpl=vmpl)
    except (EvidenceError, ValueError) as error:
        _log.warning("refused a report: %s", error)
        return device.DeviceReply(device.STATUS_INVALID, b"", b"")
    return device.DeviceReply(device.STATUS_OK, report, table)
