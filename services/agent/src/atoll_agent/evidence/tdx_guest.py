"""The device /dev/tdx_guest, and quotes by vsock, for kernels without configfs-tsm.

include/uapi/linux/tdx-guest.h: TDX_CMD_GET_REPORT0 is _IOWR('T', 1, struct tdx_report_req):

| 00 reportdata 64 | 40 tdreport 1024 | size 440 |

A TDREPORT is sealed for this processor only (Intel TDX module specification, TDREPORT_STRUCT: type
at 00, REPORTDATA at 80). The quoting enclave makes a quote of it; it is reached through the host's
quote generation service, by vsock at the port 4050 unless its configuration says otherwise. Where
there is configfs-tsm the kernel does all of this itself, and `choose` takes that.
"""

import asyncio
import errno
import struct
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from atoll.errors import EvidenceError, MalformedEvidenceError, UnreachableError
from atoll.evidence.document import Tee as EvidenceTee
from atoll_agent.evidence import qgs
from atoll_agent.evidence.kernel import Kernel, Stream, iowr
from atoll_agent.evidence.patience import Patience, name_of, passes
from atoll_agent.evidence.provider import (
    REPORT_DATA_SIZE,
    Quoted,
    require_report_data,
    tdx_quoted,
)

DEVICE: Final = "/dev/tdx_guest"
REPORT_REQ: Final = struct.Struct(f"<{REPORT_DATA_SIZE}s{qgs.TD_REPORT_SIZE}s")
GET_REPORT0: Final = iowr("T", 1, REPORT_REQ.size)
QGS_PORT: Final = 4050
QGS_TIMEOUT_S: Final = 30.0
"""For the whole exchange; a quote usually takes less than a second."""

TYPE_TDX: Final = 0x81
REPORT_DATA_AT: Final = 0x80
_STRUCTURE: Final = "TDREPORT"


class TdxGuestProvider:
    """Quotes by /dev/tdx_guest and the quote generation service."""

    tee: Final = EvidenceTee.TDX

    def __init__(
        self,
        kernel: Kernel,
        *,
        port: int = QGS_PORT,
        timeout_s: float = QGS_TIMEOUT_S,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kernel = kernel
        self._port = port
        self._timeout_s = timeout_s
        self._patience = patience or Patience()
        self._clock = clock

    async def quote(self, report_data: bytes) -> Quoted:
        """As `Provider.quote`.

        Raises:
            EvidenceError: `tdx_guest.*`, `qgs.refused`, or an answer is malformed or over
                other data.
            UnreachableError: `tdx_guest.busy`, `qgs.unreachable`.
        """
        require_report_data(report_data)
        return await asyncio.to_thread(self.ask, report_data)

    def ask(self, report_data: bytes) -> Quoted:
        """The same; blocks for as long as the host takes, up to the time that it has."""
        return tdx_quoted(self._quote(self._td_report(report_data)), report_data)

    def _td_report(self, report_data: bytes) -> bytes:
        argument = self._kernel.memory(REPORT_REQ.pack(report_data, b""))
        for _ in self._patience:
            try:
                self._kernel.ioctl(DEVICE, GET_REPORT0, argument)
            except OSError as error:
                if not passes(error):
                    raise _failure(error) from error
                continue
            found: bytes = REPORT_REQ.unpack(argument.to_bytes())[1]
            end = REPORT_DATA_AT + REPORT_DATA_SIZE
            if found[0] != TYPE_TDX or found[REPORT_DATA_AT:end] != report_data:
                raise MalformedEvidenceError(_STRUCTURE, 0, "is not of this TD, or not over this")
            return found
        raise UnreachableError(f"{DEVICE} is still busy", code="tdx_guest.busy")

    def _quote(self, td_report: bytes) -> bytes:
        ends = self._clock() + self._timeout_s
        try:
            with closing(self._kernel.dial(self._port, self._timeout_s)) as stream:
                stream.settimeout(self._left(ends))
                stream.sendall(qgs.encode_request(td_report))
                size = qgs.decode_frame(self._exactly(stream, qgs.FRAME.size, ends))
                return qgs.decode_response(self._exactly(stream, size, ends))
        except OSError as error:
            what = name_of(error) if error.errno else "no answer in time"
            raise UnreachableError(
                f"the quote generation service at vsock port {self._port}: {what}",
                code="qgs.unreachable",
                hint="the host must run it, with vsock, or offer GetQuote to a kernel from 6.7 on",
            ) from error

    def _exactly(self, stream: Stream, size: int, ends: float) -> bytes:
        found = bytearray()
        while len(found) < size:
            stream.settimeout(self._left(ends))
            part = stream.recv(size - len(found))
            if not part:
                raise MalformedEvidenceError("QGS response", len(found), "ends too soon")
            found += part
        return bytes(found)

    def _left(self, ends: float) -> float:
        left = ends - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


def _failure(error: OSError) -> EvidenceError:
    text = f"{DEVICE}: {name_of(error)}"
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return EvidenceError(
                text,
                code="tdx_guest.missing",
                hint="this is no trust domain, or tdx_guest is not loaded",
            )
        case errno.EACCES | errno.EPERM:
            return EvidenceError(text, code="tdx_guest.denied")
        case _:
            return EvidenceError(text, code="tdx_guest.failed")
