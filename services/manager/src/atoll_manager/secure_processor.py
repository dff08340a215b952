"""The host side of the simulated TEE: answers an enclave's requests for reports.

On hardware this is the AMD secure processor. Here the manager holds the development
VCEK and measures the enclave before it starts it; the enclave can choose nothing but
the report data and its VMPL, as on hardware.
"""

import asyncio
import logging
import socket

from atoll.errors import EvidenceError
from atoll.simulated import device
from atoll.simulated.report import SimulatedGuest

_log = logging.getLogger(__name__)


class GuestDevice:
    """One enclave's device: a socket pair of which the enclave gets the other end.

    The enclave sees the end of this stream when the manager is gone, whatever the
    reason, and ends itself: an enclave does not outlive its host.
    """

    def __init__(self, guest: SimulatedGuest, table: bytes) -> None:
        self._guest = guest
        self._table = table
        self._host_end, self.guest_end = socket.socketpair()

    async def serve(self) -> None:
        """Answer until the enclave closes its end; raises nothing of the enclave's making."""
        reader, writer = await asyncio.open_connection(sock=self._host_end)
        try:
            while True:
                request = await reader.readexactly(device.REQUEST_SIZE)
                writer.write(device.encode_reply(self._answer(request)))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            writer.close()

    def close_guest_end(self) -> None:
        """After the enclave has inherited it."""
        self.guest_end.close()

    def close(self) -> None:
        """Give back both ends, whether or not they were ever served; `serve` is over."""
        self.guest_end.close()
        self._host_end.close()

    def _answer(self, request: bytes) -> device.DeviceReply:
        report_data, vmpl = device.decode_request(request)
        try:
            report = self._guest.attest(report_data, vmpl=vmpl)
        except (EvidenceError, ValueError) as error:
            _log.warning("refused a report: %s", error)
            return device.DeviceReply(device.STATUS_INVALID, b"", b"")
        return device.DeviceReply(device.STATUS_OK, report, self._table)
