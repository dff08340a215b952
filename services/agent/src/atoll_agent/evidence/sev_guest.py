"""The device /dev/sev-guest: SEV-SNP reports by ioctl, for kernels without configfs-tsm.

include/uapi/linux/sev-guest.h and drivers/virt/coco/sev-guest/sev-guest.c, on x86_64:

| snp_guest_request_ioctl | 00 msg_version u8, 08 req_data u64, 10 resp_data u64,          |
|                         | 18 fw_error u32, 1c vmm_error u32; size 20                    |
| snp_report_req          | 00 user_data 64, 40 vmpl u32, 44 zeros 28; size 60            |
| snp_ext_report_req      | 00 snp_report_req, 60 certs_address u64, 68 certs_len u32;    |
|                         | size 70                                                       |
| snp_report_resp         | 00 data 4000: MSG_REPORT_RSP (AMD 56860, section 7.3)         |
| MSG_REPORT_RSP          | 00 status u32, 04 report_size u32, 08 zeros 24, 20 the report |

How large the host's certificates are is asked first, with no room for them: if there are any, the
request fails with EIO and `vmm_error` 1, and `certs_len` says how much room they need. Certificates
prove nothing by themselves, so where the host keeps asking for more the report goes without them.

A host that throttles says `vmm_error` 2. Kernels since 6.2 try again themselves, for a minute, and
after most other errors throw away the key by which they speak with the firmware: then the device
answers ENOTTY until the next boot, and asking again is no use.
"""

import asyncio
import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from atoll.errors import EvidenceError, MalformedEvidenceError, UnreachableError
from atoll.evidence.document import Tee as EvidenceTee
from atoll_agent.evidence.kernel import Kernel, Memory, iowr
from atoll_agent.evidence.patience import Patience, name_of, passes
from atoll_agent.evidence.provider import Quoted, require_report_data, snp_quoted

DEVICE: Final = "/dev/sev-guest"

IOCTL: Final = struct.Struct("<B7xQQII")
REPORT_REQ: Final = struct.Struct("<64sI28x")
EXT_REPORT_REQ: Final = struct.Struct("<64sI28xQI4x")
REPORT_RSP: Final = struct.Struct("<II24x")
RESP_SIZE: Final = 4000

GET_REPORT: Final = iowr("S", 0, IOCTL.size)
GET_EXT_REPORT: Final = iowr("S", 2, IOCTL.size)

MSG_VERSION: Final = 1
VMPL: Final = 0
VMM_INVALID_LEN: Final = 1
VMM_BUSY: Final = 2
MAX_CERTS: Final = 0x4000
"""SEV_FW_BLOB_MAX_SIZE: more than this the driver does not take."""
PAGE: Final = 0x1000

_GROWTHS: Final = 3
"""How often the host may say that its certificates need more room."""
_STRUCTURE: Final = "sev-guest reply"

_MISSING: Final = ("sev_guest.missing", "this is no SEV-SNP guest, or sev_guest is not loaded")
_DENIED: Final = ("sev_guest.denied", "the device is root's unless somebody changed that")
_FAILED: Final = ("sev_guest.failed", "the kernel's log has the firmware's error")
_MEANINGS: Final[Mapping[int, tuple[str, str]]] = {
    errno.ENOENT: _MISSING,
    errno.ENODEV: _MISSING,
    errno.ENXIO: _MISSING,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.ENOTTY: (
        "sev_guest.disabled",
        "the kernel threw away its key to the firmware after an error; start the guest anew",
    ),
    errno.EINVAL: ("sev_guest.refused", "the guest may run at another VMPL than 0"),
}
"""Code and hint for an error that does not pass."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one request came to."""

    error: OSError | None
    fw_error: int
    vmm_error: int

    @property
    def passes(self) -> bool:
        return self.error is not None and (passes(self.error) or self.vmm_error == VMM_BUSY)


class SevGuestProvider:
    """Quotes by /dev/sev-guest, at VMPL 0."""

    tee: Final = EvidenceTee.SNP

    def __init__(self, kernel: Kernel, *, patience: Patience | None = None) -> None:
        self._kernel = kernel
        self._patience = patience or Patience()

    async def quote(self, report_data: bytes) -> Quoted:
        """As `Provider.quote`.

        Raises:
            EvidenceError: `sev_guest.*`, or the answer is malformed or over other data.
            UnreachableError: `sev_guest.busy`.
        """
        require_report_data(report_data)
        return await asyncio.to_thread(self.ask, report_data)

    def ask(self, report_data: bytes) -> Quoted:
        """The same; blocks for as long as firmware and host take."""
        response, table = self._extended(report_data)
        return snp_quoted(_report(response), table, report_data)

    def _extended(self, report_data: bytes) -> tuple[bytes, bytes]:
        """The response and the certificate table."""
        size = 0
        for _ in range(_GROWTHS + 1):
            response = self._kernel.memory(bytes(RESP_SIZE))
            table = self._kernel.memory(bytes(size or PAGE))
            address = table.address if size else 0
            request = self._kernel.memory(EXT_REPORT_REQ.pack(report_data, VMPL, address, size))
            answer = self._patiently(GET_EXT_REPORT, request, response)
            if answer.error is None:
                return response.to_bytes(), table.to_bytes()[:size]
            if answer.error.errno != errno.EIO or answer.vmm_error != VMM_INVALID_LEN:
                raise _failure(answer, answer.error)
            wanted = EXT_REPORT_REQ.unpack(request.to_bytes())[3]
            if not size < wanted <= MAX_CERTS or wanted % PAGE:
                break
            size = wanted
        return self._plain(report_data), b""

    def _plain(self, report_data: bytes) -> bytes:
        """The response to a request without certificates."""
        response = self._kernel.memory(bytes(RESP_SIZE))
        request = self._kernel.memory(REPORT_REQ.pack(report_data, VMPL))
        answer = self._patiently(GET_REPORT, request, response)
        if answer.error is not None:
            raise _failure(answer, answer.error)
        return response.to_bytes()

    def _patiently(self, number: int, request: Memory, response: Memory) -> _Answer:
        answer = None
        for _ in self._patience:
            answer = self._once(number, request, response)
            if not answer.passes:
                return answer
        raise UnreachableError(
            f"{DEVICE} is still busy after {self._patience.attempts} attempts"
            f"{_details(answer) if answer else ''}",
            code="sev_guest.busy",
        )

    def _once(self, number: int, request: Memory, response: Memory) -> _Answer:
        argument = self._kernel.memory(
            IOCTL.pack(MSG_VERSION, request.address, response.address, 0, 0)
        )
        error = None
        try:
            self._kernel.ioctl(DEVICE, number, argument)
        except OSError as raised:
            error = raised
        fw_error, vmm_error = IOCTL.unpack(argument.to_bytes())[3:]
        return _Answer(error, fw_error, vmm_error)


def _report(response: bytes) -> bytes:
    """The report in a response, which the firmware sealed for the kernel."""
    status, size = REPORT_RSP.unpack_from(response)
    if status:
        raise EvidenceError(f"the firmware answered status 0x{status:x}", code="sev_guest.refused")
    if size > RESP_SIZE - REPORT_RSP.size:
        raise MalformedEvidenceError(_STRUCTURE, 4, f"report is {size} bytes")
    return response[REPORT_RSP.size : REPORT_RSP.size + size]


def _failure(answer: _Answer, error: OSError) -> EvidenceError:
    """What an error that does not pass means."""
    code, hint = _MEANINGS.get(error.errno or 0, _FAILED)
    return EvidenceError(f"{DEVICE}: {name_of(error)}{_details(answer)}", code=code, hint=hint)


def _details(answer: _Answer) -> str:
    return f" (firmware error 0x{answer.fw_error:x}, host error 0x{answer.vmm_error:x})"
