"""Why a job is handed back, as its ledger is told."""

from typing import Final

from atoll.wire.messages import Reason
from atoll.wire.topology import MAX_ATTEMPTS

UNFIT_STATUS: Final = 2
"""Exit status of an agent that cannot work on this host (`atoll.process.EXIT_CONFIG`)."""

NO_END: Final = Reason(code="job.attempts", message=f"{MAX_ATTEMPTS} attempts came to no end")
STOPPING: Final = Reason(code="enclave.host_stopped", message="the host is stopping")
OVERTAKEN: Final = Reason(code="enclave.overtaken", message="another attempt took its place")


def exited(enclave_id: str, status: int) -> Reason:
    """An enclave ended with a `status` that is not 0."""
    if status == UNFIT_STATUS:
        return Reason(
            code="enclave.unfit_host",
            message="this host has no room in memory for the job, or is set up wrongly",
        )
    return _lost(f"enclave {enclave_id} ended with status {status}")


def without_evidence(enclave_id: str, wait_s: float) -> Reason:
    """An enclave took longer than `wait_s` seconds to boot."""
    message = f"enclave {enclave_id} gave no evidence in {wait_s:g} s"
    return Reason(code="enclave.boot_timeout", message=message)


def unknown_end(enclave_id: str) -> Reason:
    """An enclave ended well, and its last report did not reach the ledger."""
    return _lost(f"enclave {enclave_id} ended and the ledger does not know why")


def _lost(message: str) -> Reason:
    return Reason(code="enclave.lost", message=message)
