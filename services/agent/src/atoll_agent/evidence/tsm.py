"""configfs-tsm: the kernel's one interface to attestation reports.

Linux, Documentation/ABI/testing/configfs-tsm-report (6.7 and later) and
drivers/virt/coco/tsm.c (drivers/virt/coco/guest/report.c since 6.16). A directory that one makes
is a request:

| attribute       |    |                                                                       |
| provider        | ro | `sev_guest` or `tdx_guest`: what outblob is                           |
| privlevel_floor | ro | SEV-SNP: the least VMPL that may be asked for                         |
| privlevel       | wo | SEV-SNP: the VMPL to ask for                                          |
| inblob          | wo | the 64 bytes; they count when the file is closed, whose error is lost |
| generation      | ro | counts the writes                                                     |
| outblob         | ro | the report; made when it is read                                      |
| auxblob         | ro | SEV-SNP: the certificate table, or nothing                            |

The directory has a name that nobody else uses. Even so the generation is compared with the number
of our writes before and after reading, because a lost write and somebody else's show there only.

What an errno means:

| ENXIO               | at mkdir: no driver has registered; at outblob: the firmware refused  |
| ENOTTY              | the driver went away, or has thrown away its key after an error       |
| EINTR EAGAIN EBUSY  | interrupted; not made yet; a request is in flight: they pass          |
| ETIMEDOUT           | TDX: the quote did not come in the driver's time                      |
| EINVAL              | the driver does not take the privilege level or the data              |
| EFBIG ENOMEM        | the answer is larger than the kernel keeps                            |
| EIO and others      | firmware or host failed                                               |
"""

import asyncio
import errno
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from atoll.errors import EvidenceError, MalformedEvidenceError, UnreachableError
from atoll.evidence.cert_table import MAX_TABLE
from atoll.evidence.document import MAX_REPORT
from atoll.evidence.document import Tee as EvidenceTee
from atoll_agent.evidence.kernel import Kernel
from atoll_agent.evidence.patience import Patience, name_of, passes
from atoll_agent.evidence.provider import Quoted, require_report_data, snp_quoted, tdx_quoted

ROOT: Final = "/sys/kernel/config/tsm/report"
TEES: Final[Mapping[str, EvidenceTee]] = {
    "sev_guest": EvidenceTee.SNP,
    "tdx_guest": EvidenceTee.TDX,
}
"""The kinds of evidence by the names that the drivers register."""

MAX_PRIVLEVEL: Final = 3
_MAX_TEXT: Final = 64
_TAKEN: Final = 4
_STRUCTURE: Final = "configfs-tsm"

_log = logging.getLogger(__name__)


class Entry:
    """A request of ours; to be removed."""

    def __init__(self, kernel: Kernel, path: str) -> None:
        self._kernel = kernel
        self._path = path

    @classmethod
    def make(cls, kernel: Kernel, token: Callable[[], str]) -> "Entry":
        """A directory under a fresh name.

        Raises:
            EvidenceError: `tsm.no_provider`: no driver of a TEE is loaded; `tsm.failed`.
        """
        for _ in range(_TAKEN):
            path = f"{ROOT}/atoll-{token()}"
            try:
                kernel.mkdir(path)
            except FileExistsError:
                continue
            except OSError as error:
                raise _not_made(error) from error
            return cls(kernel, path)
        raise EvidenceError(f"{_STRUCTURE}: every name is taken", code="tsm.failed")

    def remove(self) -> None:
        """What is left behind does no harm but takes room; so this never fails."""
        try:
            self._kernel.rmdir(self._path)
        except OSError as error:
            _log.warning("%s stays: %s", self._path, name_of(error))

    def has(self, name: str) -> bool:
        return self._kernel.exists(f"{self._path}/{name}")

    def read(self, name: str, limit: int) -> bytes:
        return self._kernel.read(f"{self._path}/{name}", limit)

    def write(self, name: str, data: bytes) -> None:
        self._kernel.write(f"{self._path}/{name}", data)

    def text(self, name: str) -> str:
        """A line. Raises: MalformedEvidenceError."""
        try:
            return self.read(name, _MAX_TEXT).decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise MalformedEvidenceError(_STRUCTURE, 0, f"{name} is no text") from error

    def number(self, name: str, most: int) -> int:
        """A decimal number. Raises: MalformedEvidenceError."""
        found = self.text(name)
        if not found.isdecimal() or int(found) > most:
            raise MalformedEvidenceError(_STRUCTURE, 0, f"{name} is {found[:32]!r}")
        return int(found)


def provider_name(kernel: Kernel) -> str:
    """Who has registered, in the driver's own word.

    Raises:
        EvidenceError: `tsm.no_provider`, `tsm.failed`, or it is no text.
    """
    entry = Entry.make(kernel, secrets.token_hex)
    try:
        return entry.text("provider")
    except OSError as error:
        raise _failure("the provider cannot be read", error) from error
    finally:
        entry.remove()


class TsmProvider:
    """Quotes by configfs-tsm, of the kind that the registered driver makes."""

    def __init__(
        self,
        kernel: Kernel,
        tee: EvidenceTee,
        *,
        patience: Patience | None = None,
        token: Callable[[], str] = secrets.token_hex,
    ) -> None:
        self.tee = tee
        self._kernel = kernel
        self._patience = patience or Patience()
        self._token = token

    async def quote(self, report_data: bytes) -> Quoted:
        """As `Provider.quote`.

        Raises:
            EvidenceError: `tsm.*`, or the answer is malformed or over other data.
            UnreachableError: `tsm.busy`, `tsm.conflict`, `tsm.timeout`.
        """
        require_report_data(report_data)
        return await asyncio.to_thread(self.ask, report_data)

    def ask(self, report_data: bytes) -> Quoted:
        """The same; blocks for as long as firmware and host take."""
        entry = Entry.make(self._kernel, self._token)
        try:
            found = self._read(entry, report_data)
        finally:
            entry.remove()
        report, table = found
        if self.tee is EvidenceTee.SNP:
            return snp_quoted(report, table, report_data)
        return tdx_quoted(report, report_data)

    def _read(self, entry: Entry, report_data: bytes) -> tuple[bytes, bytes]:
        busy: OSError | None = None
        for _ in self._patience:
            try:
                found = self._attempt(entry, report_data)
            except OSError as error:
                if not passes(error):
                    raise _failure("no report", error) from error
                busy = error
                continue
            if found is not None:
                return found
            busy = None
        if busy is not None:
            raise UnreachableError(
                f"{_STRUCTURE}: still {name_of(busy)} after {self._patience.attempts} attempts",
                code="tsm.busy",
            ) from busy
        raise UnreachableError(
            f"{_STRUCTURE}: somebody else writes to our request", code="tsm.conflict"
        )

    def _attempt(self, entry: Entry, report_data: bytes) -> tuple[bytes, bytes] | None:
        """Report and table; None if they may be about somebody else's data."""
        name = entry.text("provider")
        if TEES.get(name) is not self.tee:
            raise EvidenceError(
                f"{_STRUCTURE}: the provider is {name!r}, want that of {self.tee.value}",
                code="tsm.provider",
            )
        expected = self._generation(entry) + 1
        if entry.has("privlevel_floor"):
            floor = entry.number("privlevel_floor", MAX_PRIVLEVEL)
            entry.write("privlevel", str(floor).encode())
            expected += 1
        entry.write("inblob", report_data)
        if self._generation(entry) != expected:
            return None
        report = entry.read("outblob", MAX_REPORT)
        table = entry.read("auxblob", MAX_TABLE) if entry.has("auxblob") else b""
        return (report, table) if self._generation(entry) == expected else None

    @staticmethod
    def _generation(entry: Entry) -> int:
        return entry.number("generation", (1 << 64) - 1)


def _not_made(error: OSError) -> EvidenceError | UnreachableError:
    """What an errno of mkdir means."""
    if error.errno != errno.ENXIO:
        return _failure("a request cannot be made", error)
    return EvidenceError(
        f"{_STRUCTURE}: no driver of a TEE has registered ({name_of(error)})",
        code="tsm.no_provider",
        hint="load sev_guest or tdx_guest; without such hardware they do not load",
    )


def _failure(what: str, error: OSError) -> EvidenceError | UnreachableError:
    """What an errno that does not pass means."""
    text = f"{_STRUCTURE}: {what} ({name_of(error)})"
    match error.errno:
        case errno.ENOTTY | errno.ENOENT:
            return EvidenceError(text, code="tsm.no_provider")
        case errno.ENXIO | errno.EINVAL:
            return EvidenceError(text, code="tsm.refused")
        case errno.EFBIG | errno.ENOMEM:
            return EvidenceError(text, code="tsm.too_large")
        case errno.ETIMEDOUT:
            return UnreachableError(text, code="tsm.timeout")
        case _:
            return EvidenceError(text, code="tsm.failed")
