"""How a run ended and what it used.

`Outcome.code` and `Outcome.message` are fixed texts and may leave the enclave in the
clear. Everything else in an outcome can carry what the guest chose to put there
(an exit code, the size of its output, a name in a backtrace), so it leaves sealed
or not at all.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final


class Kind(Enum):
    """One way to end; the value is the stable code."""

    EXITED = "workload.exited"
    TRAPPED = "workload.trap"
    TIMEOUT = "workload.timeout"
    FUEL = "workload.fuel"
    OUT_OF_MEMORY = "workload.memory"
    OUTPUT_LIMIT = "workload.output_limit"
    OUTPUT_NAMES = "workload.output_names"
    OUTPUT_KIND = "workload.output_kind"
    NOT_WASM = "workload.not_wasm"
    NO_START = "workload.no_start"
    UNSUPPORTED_IMPORT = "workload.import"
    CPU_LIMIT = "workload.cpu"
    PROCESS_LIMIT = "workload.process_limit"
    SCRATCH_LIMIT = "workload.scratch_limit"
    NOT_ELF = "workload.not_elf"
    WRONG_ARCHITECTURE = "workload.wrong_architecture"
    NOT_STARTABLE = "workload.not_startable"
    NOT_AN_IMAGE = "workload.not_an_image"
    IMAGE_DIGEST = "workload.image_digest"
    CRASHED = "workload.crash"
    INTERNAL = "workload.internal"


OUTPUT_KINDS: Final = frozenset({Kind.OUTPUT_LIMIT, Kind.OUTPUT_NAMES, Kind.OUTPUT_KIND})
"""Endings after which nothing under /results comes back."""
EXIT_NONZERO: Final = "workload.exit_nonzero"

_MESSAGES: Final = {
    Kind.EXITED: "the algorithm ended by itself",
    Kind.TRAPPED: "the algorithm trapped",
    Kind.TIMEOUT: "the algorithm did not end within its wall clock limit",
    Kind.FUEL: "the algorithm used up its fuel",
    Kind.OUT_OF_MEMORY: "the algorithm needs more memory than its limit",
    Kind.OUTPUT_LIMIT: "the algorithm wrote more than its output limits allow",
    Kind.OUTPUT_NAMES: "the algorithm left a file name that is not allowed under /results",
    Kind.OUTPUT_KIND: "the algorithm left something that is no file or directory under /results",
    Kind.NOT_WASM: "the algorithm is no WebAssembly module or component that this runtime accepts",
    Kind.NO_START: "the algorithm exports neither a function _start nor wasi:cli/run",
    Kind.UNSUPPORTED_IMPORT: "the algorithm imports something other than WASI without sockets",
    Kind.CPU_LIMIT: "the algorithm used more CPU time than its limit",
    Kind.PROCESS_LIMIT: "the algorithm started more processes than its limit",
    Kind.SCRATCH_LIMIT: "the algorithm wrote more under /tmp than its limit",
    Kind.NOT_ELF: "the algorithm is not an ELF program that this runtime accepts",
    Kind.WRONG_ARCHITECTURE: "the algorithm is a program for another processor",
    Kind.NOT_STARTABLE: "the algorithm could not be started: its loader or a library is not there",
    Kind.NOT_AN_IMAGE: "the algorithm is not an image archive that this runtime accepts",
    Kind.IMAGE_DIGEST: "the container engine loaded another image than the archive holds",
    Kind.CRASHED: "the process that ran the algorithm died",
    Kind.INTERNAL: "the process that ran the algorithm gave no proper answer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFile:
    """One regular file under /results; `name` is relative, with `/` between its parts."""

    name: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What a run took. `memory_bytes` is the guest's linear memory at its largest, or None
    when the worker was killed before it could say and for a component, which keeps it to itself."""

    wall_ms: int
    memory_bytes: int | None
    output_bytes: int
    output_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one run.

    `results` lists what may be packed, sorted by the bytes of the name; it is empty when
    /results broke a rule. `exit_code` is there exactly when `kind` is EXITED. `detail` is
    for the parties only: it can quote the guest.
    """

    kind: Kind
    exit_code: int | None
    used: Used
    results: tuple[ResultFile, ...] = field(repr=False)
    detail: str = field(repr=False, default="")

    @property
    def succeeded(self) -> bool:
        """Whether the guest ended by itself with exit code 0."""
        return self.kind is Kind.EXITED and self.exit_code == 0

    @property
    def code(self) -> str:
        """The stable code; fit to leave the enclave in the clear."""
        if self.kind is Kind.EXITED and self.exit_code != 0:
            return EXIT_NONZERO
        return self.kind.value

    @property
    def message(self) -> str:
        """One fixed sentence for people; fit to leave the enclave in the clear."""
        if self.code == EXIT_NONZERO:
            return "the algorithm ended with an exit code other than 0"
        return _MESSAGES[self.kind]
