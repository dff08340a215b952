"""Quotes of a virtual TPM: what the machine was started with, by its host's word.

The attestation key is made anew for each quote from its fixed template, which gives the key that
the host certified. The boot log is the kernel's; securityfs must be mounted for it:
`mount -t securityfs securityfs /sys/kernel/security`.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from atoll.errors import EvidenceError, UnreachableError
from atoll.evidence.document import Tee
from atoll.evidence.eventlog.pcr_log import MAX_LOG
from atoll.evidence.tpm.quote import Attest
from atoll.evidence.vtpm.report import QUOTED, VtpmReport, qualifying_data
from atoll.evidence.x509 import ders
from atoll.tpm.device import RESOURCE_MANAGER, DeviceNode, Tpm
from atoll_agent.evidence.provider import Quoted

BOOT_LOG: Final = Path("/sys/kernel/security/tpm0/binary_bios_measurements")
MAX_TRIES: Final = 3
"""How often a quote is made anew because a register changed meanwhile."""


class VtpmProvider:
    """Quotes registers 0 to 9. `certificates` is the chain that the host handed in: it proves
    itself, so where it comes from does not matter.

    Raises:
        EvidenceError: the chain is neither DER nor PEM.
    """

    tee = Tee.VTPM

    def __init__(
        self,
        certificates: Sequence[bytes],
        *,
        open_tpm: Callable[[], Tpm],
        read_log: Callable[[], bytes],
    ) -> None:
        self._certificates = tuple(der for one in certificates for der in ders(one))
        self._open_tpm = open_tpm
        self._read_log = read_log

    @classmethod
    def of_this_machine(cls, certificates: Sequence[bytes]) -> Self:
        """The one that the kernel offers. Raises: EvidenceError, as above."""
        return cls(
            certificates,
            open_tpm=lambda: Tpm(DeviceNode(RESOURCE_MANAGER)),
            read_log=lambda: read_boot_log(BOOT_LOG),
        )

    async def quote(self, report_data: bytes) -> Quoted:
        """A report (`evidence.vtpm.report`) over `report_data`, and the certificates.

        Raises:
            UnreachableError: `tpm.unreachable`; `vtpm.no_log`: there is no boot log.
            EvidenceError: `tpm.refused`, `tpm.registers`: the TPM does not do it; or its answer
                is malformed.

        Does not check that the certificates are of the TPM's key: whoever appraises it does.
        """
        report = await asyncio.to_thread(self._quote, qualifying_data(report_data))
        return Quoted(report=report.to_bytes(), certs=self._certificates)

    def _quote(self, qualifying: bytes) -> VtpmReport:
        log = self._read_log()
        with self._open_tpm() as tpm:
            key = tpm.attestation_key()
            try:
                for _ in range(MAX_TRIES):
                    made, values = tpm.quote(key.handle, qualifying, QUOTED), tpm.read(QUOTED)
                    digest = hashlib.sha256(b"".join(values.values())).digest()
                    if Attest.from_bytes(made.attest).pcr_digest == digest:
                        return VtpmReport(
                            attest=made.attest,
                            signature=made.signature,
                            pcrs=values,
                            event_log=log,
                        )
            finally:
                tpm.flush(key.handle)
        raise EvidenceError("registers change while they are quoted", code="tpm.registers")


def read_boot_log(path: Path) -> bytes:
    """The kernel's boot log.

    Raises:
        UnreachableError: `vtpm.no_log`: it is not there, or longer than evidence holds.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_LOG + 1)
    except OSError as error:
        raise UnreachableError(
            f"{path}: {error.strerror}",
            code="vtpm.no_log",
            hint="mount securityfs; the firmware must be UEFI with a TPM 2.0",
        ) from error
    if len(raw) > MAX_LOG:
        raise UnreachableError(f"{path} is over {MAX_LOG} bytes", code="vtpm.no_log")
    return raw
