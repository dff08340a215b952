"""What a guest may use. A `Limits` that exists is within the hard maxima below."""

from typing import Annotated, Final

from atoll.errors import InputError
from atoll.wire.schema import Range, message

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

MAX_WALL_S: Final = 7 * 24 * 3600
MAX_MEMORY: Final = 4 * GIB
"""All that a 32-bit linear memory can address."""
MAX_FUEL: Final = 1 << 52
MAX_OUTPUT: Final = 16 * GIB
MAX_ENTRIES: Final = 4096
MAX_LOG: Final = 64 * MIB
MAX_CPU_S: Final = 1 << 30
MAX_PROCESSES: Final = 4096
MIN_OPEN_FILES: Final = 16
"""Standard streams, the loader's libraries and a few of the guest's own."""
MAX_OPEN_FILES: Final = 65_536
MAX_SCRATCH: Final = 16 * GIB
MAX_MODULE: Final = 64 * MIB
"""Bytes of the largest module that is compiled."""
MAX_KEPT_MODULE: Final = 8 * MIB
"""Bytes of the largest module whose compiled form is kept for later steps: serializing takes
memory of its own, which must not end a run that would have had enough."""
MAX_ARTIFACT: Final = 64 * MIB
"""Bytes of the largest compiled form that is kept."""
MAX_KEPT_ARTIFACTS: Final = 256 * MIB
"""Bytes of all that one job keeps."""
MAX_ARGUMENTS: Final = 256
MAX_ARGUMENT: Final = 64 * KIB
"""Characters of one argument or of one environment value."""
MAX_ARGUMENTS_TOTAL: Final = 192 * KIB
"""Characters of all of them; four bytes each still fit one message."""
MAX_DEPTH: Final = 16
"""Names in the longest path under /results."""
MAX_PATH: Final = 1024
"""Bytes of the longest path under /results; what a consumer can surely unpack."""
MAX_NAME: Final = 255
"""Bytes of one name under /results; Linux has the same limit."""
TABLE_ELEMENTS: Final = 1 << 18
TABLES: Final = 8
MEMORIES: Final = 1
INSTANCES: Final = 1
COMPONENT_INSTANCES: Final = 64
"""Core instances of a component: its modules, and the glue that tools put between them."""
COMPONENT_TABLES: Final = 32
"""Glue has tables of its own. Memories stay one, so that `memory_bytes` is all there is."""
WASM_STACK: Final = MIB
"""Bytes; well below the 8 MiB that a Linux main thread usually has."""
RUNTIME_RESIDENT: Final = 512 * MIB
"""Resident bytes of a worker beside the guest's memory: interpreter, compiler, code."""


@message
class Limits:
    """Budget of one run.

    Raises:
        InputError: `limits.invalid`, when a value is outside its range.
    """

    wall_s: Annotated[int, Range(1, MAX_WALL_S)] = 60
    """Seconds from the worker's start to its end, compilation included."""
    memory_bytes: Annotated[int, Range(64 * KIB, MAX_MEMORY)] = 256 * MIB
    """Linear memory. Growing beyond fails inside the guest, as the specification has it."""
    fuel: Annotated[int, Range(0, MAX_FUEL)] = 0
    """Instructions, roughly; 0 does not count them (only the wall clock ends the run)."""
    output_bytes: Annotated[int, Range(0, MAX_OUTPUT)] = 64 * MIB
    """Bytes of all files under /results together, holes included."""
    output_files: Annotated[int, Range(0, MAX_ENTRIES)] = 256
    """Names under /results: files and directories."""
    log_bytes: Annotated[int, Range(0, MAX_LOG)] = MIB
    """Bytes of standard output, and again of standard error."""
    cpu_s: Annotated[int, Range(0, MAX_CPU_S)] = 0
    """Seconds on a processor, of the whole process tree; 0 is what `wall_s` allows: all cores
    for all of it."""
    processes: Annotated[int, Range(1, MAX_PROCESSES)] = 64
    """Processes and threads that exist at once. A wasm guest can start neither."""
    open_files: Annotated[int, Range(MIN_OPEN_FILES, MAX_OPEN_FILES)] = 256
    """Descriptors of one process."""
    scratch_bytes: Annotated[int, Range(0, MAX_SCRATCH)] = 256 * MIB
    """Bytes under /tmp, where a sandbox gives the guest one."""

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InputError(
                    f"limit {name} is {value!r}, want an integer from {low} to {high}",
                    code="limits.invalid",
                )

    @property
    def resident_bytes(self) -> int:
        """Resident memory above which the worker is killed, whatever uses it."""
        return self.memory_bytes + RUNTIME_RESIDENT

    def cpu_budget_s(self, cores: int) -> int:
        """Seconds of CPU time that the run has on a machine with so many cores."""
        return self.cpu_s or self.wall_s * max(cores, 1)


_RANGES: Final = tuple(
    (name, hint.__metadata__[0].low, hint.__metadata__[0].high)
    for name, hint in Limits.__annotations__.items()
)
