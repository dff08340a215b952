"""RISC-V Keystone: an enclave's report by the runtime that it runs on.

keystone-enclave/keystone: an enclave asks its runtime, Eyrie, by the system call
RUNTIME_SYSCALL_ATTEST_ENCLAVE (1003; sdk/include/app/syscall.h, `attest_enclave(report, data,
size)`; runtime/call/syscall.c), with a buffer of 2048 bytes. There is no device and no file for it.
A Python interpreter does not run on Eyrie, and Linux, which it runs on, does not know the call: so
there is nothing here that could make it, and the agent says so by name (`keystone.no_runtime`).

The provider takes the call from whoever can make it: an interpreter that is built for Eyrie. What
it gives is read as the SDK does, and verified like everything by who appraises it. No such
interpreter is known to us, and none of this has run on Keystone.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from atoll.errors import EvidenceError
from atoll.evidence.document import Tee as EvidenceTee
from atoll.evidence.keystone.report import REPORT_SIZE, KeystoneReport
from atoll_agent.evidence.provider import Quoted, require_report_data

Attest = Callable[[bytes], bytes]
"""`attest_enclave`: data in, the runtime's buffer out. May raise `OSError`."""


class KeystoneProvider:
    """Reports by the runtime's call."""

    tee: Final = EvidenceTee.KEYSTONE

    def __init__(self, attest: Attest | None = None) -> None:
        self._attest = attest

    async def quote(self, report_data: bytes) -> Quoted:
        """As `Provider.quote`.

        Raises:
            EvidenceError: `keystone.no_runtime`: nothing here can make the call;
                `keystone.failed`; the answer is malformed or over other data.
        """
        require_report_data(report_data)
        if self._attest is None:
            raise no_runtime()
        try:
            raw = await asyncio.to_thread(self._attest, report_data)
        except OSError as error:
            raise EvidenceError(f"Keystone: {error.strerror}", code="keystone.failed") from error
        if KeystoneReport.from_bytes(raw).data != report_data:
            raise EvidenceError(
                "Keystone report is over other data than was asked for", code="evidence.other_data"
            )
        return Quoted(report=raw[:REPORT_SIZE])


def no_runtime() -> EvidenceError:
    return EvidenceError(
        "there is no Keystone runtime that this agent could ask for a report",
        code="keystone.no_runtime",
        hint="reports are made by a system call of Eyrie, which no Python runs on; Atoll verifies "
        "Keystone reports that others make",
    )
