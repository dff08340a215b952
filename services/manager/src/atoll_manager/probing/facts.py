"""What was found on a machine, before anything is concluded from it."""

from dataclasses import dataclass, field

from atoll_manager.libvirt.acceleration import Found
from atoll_manager.libvirt.versions import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """From /proc/cpuinfo, the first one."""

    machine: str
    """As uname(2) has it: `x86_64`, `riscv64`."""
    vendor: str = ""
    family: int = 0
    model: int = 0
    name: str = ""
    flags: frozenset[str] = frozenset()
    """What the processor has and the kernel uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One accelerator, by its PCI identity."""

    address: str
    vendor: int
    device: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the kernel says of itself and its hardware."""

    processor: Processor
    kernel: tuple[int, int]
    """Major and minor version."""
    devices: frozenset[str]
    """Those of `reading.DEVICES` that are there, below /dev."""
    parameters: dict[str, str]
    """Of modules, `module.parameter`, as the kernel has them."""
    gpus: tuple[Gpu, ...] = ()
    programs: dict[str, str] = field(default_factory=dict)
    """Those of `reading.PROGRAMS` that are there, with their paths."""
    firmware: frozenset[str] = frozenset()
    """Those of `reading.FIRMWARE` that are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibvirtFacts:
    """What libvirt says of itself and of QEMU."""

    uri: str
    library: Release
    qemu: Release
    launch: frozenset[str]
    """Kinds of launch security: `sev`, `sev-snp`, `tdx`."""
    vcpu_types: frozenset[str] = frozenset()
    """Models of processors that guests can be given by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All of it."""

    machine: Machine
    libvirt: LibvirtFacts | str
    """Or why there is none."""
    acceleration: Found | None
    """What guests that were started showed; None: none were."""
    docker: str | None
    """Why there is no container engine; None: one answers."""
