"""The guest's side of the simulated device (`atoll.simulated.device`).

`pump` reads everything that comes from the host and returns when the host is gone; the
agent then ends, for an enclave does not outlive its host.
"""

import asyncio
import socket
from typing import Self

from atoll.errors import (
    ConfigError,
    EvidenceError,
    MalformedEvidenceError,
    UnreachableError,
)
from atoll.evidence.cert_table import CertificateTable
from atoll.evidence.document import Tee
from atoll.simulated import device
from atoll.simulated.device import DeviceReply


class SimulatedDevice:
    """One request at a time; `pump` must run meanwhile."""

    tee = Tee.SNP

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: asyncio.Future[DeviceReply] | None = None
        self._gone = False

    @classmethod
    async def open(cls, descriptor: int) -> Self:
        """Take over the inherited descriptor.

        Raises:
            ConfigError: `agent.device`: it is no open stream socket.
        """
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ConfigError(
                f"descriptor {descriptor} is no device: {error.strerror}", code="agent.device"
            ) from error
        try:
            return cls(*await asyncio.open_connection(sock=sock))
        except (OSError, ValueError) as error:
            sock.close()
            raise ConfigError(
                f"descriptor {descriptor} is no device", code="agent.device"
            ) from error

    async def extended_report(self, report_data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        """A report over `report_data` at VMPL 0, and the certificates that go with it.

        Raises:
            EvidenceError: `device.refused`, or its answer is malformed.
            UnreachableError: `device.gone`: the host has closed its end.

        Does not check that the report is over `report_data`: whoever appraises it does.
        """
        if self._gone:
            raise _gone()
        self._waiting = asyncio.get_running_loop().create_future()
        self._writer.write(device.encode_request(report_data, vmpl=0))
        try:
            reply = await self._waiting
        finally:
            self._waiting = None
        if reply.status != device.STATUS_OK:
            raise EvidenceError(
                f"the device answered status 0x{reply.status:x}", code="device.refused"
            )
        if len(reply.report) != device.MAX_REPORT:
            raise MalformedEvidenceError("device reply", 4, f"report is {len(reply.report)} bytes")
        return reply.report, CertificateTable.from_bytes(reply.table).certificates()

    async def pump(self) -> None:
        """Read replies until the host's end is closed.

        Raises:
            MalformedEvidenceError: a reply beyond the limits, or one that nobody asked for.
        """
        try:
            while True:
                header = await self._reader.readexactly(device.REPLY_HEADER_SIZE)
                status, report_size, table_size = device.decode_reply_header(header)
                report = await self._reader.readexactly(report_size)
                table = await self._reader.readexactly(table_size)
                self._take(DeviceReply(status, report, table))
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            self._gone = True
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_exception(_gone())

    def _take(self, reply: DeviceReply) -> None:
        # Kept, an unasked reply would later pass for the answer to another question.
        if self._waiting is None or self._waiting.done():
            raise MalformedEvidenceError("device reply", 0, "nobody asked for it")
        self._waiting.set_result(reply)

    def close(self) -> None:
        self._writer.close()


def _gone() -> UnreachableError:
    return UnreachableError("the guest device is gone", code="device.gone")
