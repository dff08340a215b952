"""What a guest of ours is, before it is XML. Values that exist are legal.

None has a network interface. Paths and texts are data: nothing here goes through a shell
or a template, and what XML cannot carry is refused.
"""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from atoll.errors import InputError

NAME: Final = "atoll-{}"
"""The name of an enclave's domain."""
MIN_MEMORY_MIB: Final = 128
MAX_MEMORY_MIB: Final = 1 << 24
MAX_VCPUS: Final = 255
"""More need an interrupt remapping unit (QEMU, machine q35)."""
MAX_CMDLINE: Final = 2047
"""Linux, arch/x86: COMMAND_LINE_SIZE less the zero at its end."""
MAX_PATH: Final = 4095
MAX_SOCKET_PATH: Final = 107
"""unix(7): `sun_path` less the zero at its end."""
SNP_POLICY: Final = 0x30000
"""SMT allowed and the bit that must be one; no debugging, no migration agent (SNP ABI, table 9)."""
TDX_ATTRIBUTES: Final = 0x10000000
"""SEPT_VE_DISABLE, which Linux guests ask for; no debugging (TDX module ABI, ATTRIBUTES)."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_CPU: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*", re.ASCII)
_IN_XML: Final = re.compile("[^\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")
"""What XML 1.0 (section 2.2) can carry in an attribute and nobody normalises."""


class Acceleration(Enum):
    """What runs the guest's instructions."""

    KVM = "kvm"
    TCG = "tcg"
    """QEMU itself, ten to fifty times slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectBoot:
    """Kernel, initrd and command line as QEMU hands them over."""

    kernel: Path
    initrd: Path | None
    cmdline: str

    def __post_init__(self) -> None:
        """Raises: InputError `domain.invalid`."""
        _path("kernel", self.kernel)
        if self.initrd is not None:
            _path("initrd", self.initrd)
        if not _PRINTABLE.fullmatch(self.cmdline) or len(self.cmdline) > MAX_CMDLINE:
            raise _invalid(f"command line: want at most {MAX_CMDLINE} printable ASCII characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpLaunch:
    """SEV-SNP: what goes to the secure processor with the launch (SNP ABI, SNP_LAUNCH_START and
    SNP_LAUNCH_FINISH). Kernel, initrd and command line are always measured (kernel hashes)."""

    host_data: bytes
    """32 bytes; in every report as HOST_DATA."""
    policy: int = SNP_POLICY
    id_block: bytes | None = None
    """96 bytes; the launch fails when its digest is another."""
    id_auth: bytes | None = None
    """4096 bytes; who signed the ID block."""
    author_key: bool = False
    """Whether `id_auth` has an author key."""

    def __post_init__(self) -> None:
        """Raises: InputError `domain.invalid`."""
        _size("HOST_DATA", self.host_data, 32)
        if not 0 <= self.policy < 1 << 64:
            raise _invalid(f"SNP policy 0x{self.policy:x}: want 64 bits")
        if (self.id_block is None) != (self.id_auth is None):
            raise _invalid("an ID block and its authentication go together")
        if self.id_block is not None and self.id_auth is not None:
            _size("ID block", self.id_block, 96)
            _size("ID authentication", self.id_auth, 4096)
        if self.author_key and self.id_auth is None:
            raise _invalid("an author key without an ID block")


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxLaunch:
    """TDX: what goes to the module with TDH.MNG.INIT, and where quotes are made."""

    mr_config_id: bytes
    """48 bytes; in every report as MRCONFIGID."""
    attributes: int = TDX_ATTRIBUTES
    mr_owner: bytes | None = None
    """48 bytes."""
    mr_owner_config: bytes | None = None
    """48 bytes."""
    quote_socket: Path | None = Path("/var/run/tdx-qgs/qgs.socket")
    """The quote generation service; None: the guest gets reports, and no quotes."""

    def __post_init__(self) -> None:
        """Raises: InputError `domain.invalid`."""
        _size("MRCONFIGID", self.mr_config_id, 48)
        if not 0 <= self.attributes < 1 << 64:
            raise _invalid(f"TDX attributes 0x{self.attributes:x}: want 64 bits")
        for name, value in (("MROWNER", self.mr_owner), ("MROWNERCONFIG", self.mr_owner_config)):
            if value is not None:
                _size(name, value, 48)
        if self.quote_socket is not None:
            _path("quote generation service", self.quote_socket, MAX_SOCKET_PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose a domain is; kept in its metadata, so that orphans are known."""

    enclave_id: str
    instance: str
    """Of the host that started it (`atoll_manager.records`)."""

    def __post_init__(self) -> None:
        """Raises: InputError `domain.invalid`."""
        for name, value in (("enclave id", self.enclave_id), ("instance", self.instance)):
            if not _TOKEN.fullmatch(value):
                raise _invalid(f"{name} {value[:80]!r}: want letters, digits, - and _")


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One virtual machine."""

    owner: Owner
    emulator: Path
    acceleration: Acceleration
    boot: DirectBoot
    memory_mib: int
    vcpus: int
    channel: Path | None
    """The unix socket behind the guest's port `atoll.channel`, on which somebody listens."""
    console: Path | None
    """The unix socket that gets what the guest writes to its first serial port. Not a file: who
    reads it decides how much of it is kept."""
    settings: Path | None
    """The file that the guest sees as `opt/atoll/settings`. Never inline: no byte of it goes
    through XML or a command line."""
    firmware: Path | None = None
    """None: QEMU's own."""
    cpu: str = ""
    """A model of QEMU's, where the launch is measured with it; empty: what there is."""
    launch: SnpLaunch | TdxLaunch | None = None
    vtpm: Path | None = None
    """The control socket of a running swtpm."""
    vsock: bool = False
    """Whether the guest has a vsock of the host's kernel."""
    user: tuple[int, int] | None = None
    """User and group that QEMU runs as; None: libvirt's setting."""

    def __post_init__(self) -> None:
        """Raises: InputError `domain.invalid`."""
        _path("emulator", self.emulator)
        for name, path in (("settings", self.settings), ("firmware", self.firmware)):
            if path is not None:
                _path(name, path)
        for name, path in (
            ("channel", self.channel),
            ("console", self.console),
            ("vTPM", self.vtpm),
        ):
            if path is not None:
                _path(name, path, MAX_SOCKET_PATH)
        if not MIN_MEMORY_MIB <= self.memory_mib <= MAX_MEMORY_MIB:
            raise _invalid(f"{self.memory_mib} MiB: want {MIN_MEMORY_MIB} to {MAX_MEMORY_MIB}")
        if not 1 <= self.vcpus <= MAX_VCPUS:
            raise _invalid(f"{self.vcpus} vCPUs: want 1 to {MAX_VCPUS}")
        if self.cpu and not _CPU.fullmatch(self.cpu):
            raise _invalid(f"CPU model {self.cpu[:80]!r}: want letters, digits, ., - and _")
        if self.launch is not None and self.acceleration is not Acceleration.KVM:
            raise _invalid("SEV-SNP and TDX guests run under KVM only")
        if (self.launch is not None or self.vtpm is not None) and self.firmware is None:
            raise _invalid("a measured launch needs a firmware of its own")
        if self.user is not None and not all(0 <= it < 1 << 32 for it in self.user):
            raise _invalid(f"user and group {self.user}: want 32 bits each")

    @property
    def name(self) -> str:
        """One for each enclave: libvirt knows a name for seconds after its domain ended."""
        return NAME.format(self.owner.enclave_id)


def _path(name: str, path: Path, limit: int = MAX_PATH) -> None:
    text = str(path)
    if not path.is_absolute() or not _IN_XML.fullmatch(text) or len(text.encode()) > limit:
        raise _invalid(
            f"path of {name} {text[:80]!r}: want an absolute one of at most {limit} bytes, "
            "without control characters"
        )


def _size(name: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise _invalid(f"{name} of {len(value)} bytes: want {size}")


def _invalid(message: str) -> InputError:
    return InputError(message, code="domain.invalid")
