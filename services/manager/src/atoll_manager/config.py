"""The manager's settings, read once and never changed."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError, InputError
from atoll.measure.vcpu_types import VCPU_TYPES, vcpu_signature
from atoll.wire import level
from atoll.wire.egress import Allowance
from atoll.wire.names import require_token
from atoll.wire.topology import HANDOVER_S
from atoll_manager.patience import PATIENCE_S

PREFIX: Final = "ATOLL_MANAGER_"
MAX_SLOTS: Final = 4096
DRIVERS: Final = ("process", "docker", "libvirt")
TEES: Final = ("simulated", "vtpm", "sev-snp", "tdx")
HARDWARE: Final = ("sev-snp", "tdx")
FIRMWARE: Final = {
    "vtpm": Path("/usr/share/ovmf/OVMF.fd"),
    "sev-snp": Path("/usr/share/ovmf/OVMF.amdsev.fd"),
    "tdx": Path("/usr/share/ovmf/OVMF.inteltdx.ms.fd"),
}
"""Where Debian's packages have it (ovmf, ovmf-amdsev, ovmf-inteltdx)."""
ACCELERATIONS: Final = ("auto", "kvm", "tcg")
MIN_GUEST_MIB: Final = 384
"""A guest's root is in its memory."""
OUTLIVES_S: Final = HANDOVER_S / 2
"""An enclave has ended at most so long after its manager was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerConfig:
    nats_url: str
    """Where the bus is."""

    nats_domain: str = ""
    """The JetStream domain of the ledger, when the bus is reached through a leaf node."""

    nats_creds_file: Path
    """The manager's login, read again at each connection."""

    nats_ca_file: Path | None = None
    """PEM roots by which the bus's certificate is checked; None: the system's."""

    sentinel_file: Path
    """The JWT with which enclaves ask to be let in. It is no secret."""

    host_id: str
    """Who this host is in the registry; unique among hosts."""

    data_dir: Path
    """Logs of enclaves, and what is needed to find them again; one manager's alone."""

    simulated_dir: Path | None = None
    """The development chain of the simulated TEE (`chain.pem`). Naming it here is what
    lets this host start simulated enclaves; one of hardware has none."""

    slots: int = 4
    """How many enclaves may run at once."""

    cpus: int = 0
    """Processors that jobs may claim for themselves; 0: those that are there."""

    memory_bytes: int = 0
    """Memory that jobs may claim; 0: all that is there."""

    reserve_bytes: int = 0
    """Memory that must be free beyond this to take a job; 0: it is not looked at."""

    labels: tuple[str, ...] = ()
    """What to say of this host, as `name=value`; jobs may ask for it."""

    tenants: tuple[str, ...] = ()
    """Whom this host is dedicated to: it then takes only jobs of theirs that ask for that."""

    egress: tuple[str, ...] = ()
    """Where jobs of this host may connect to, as far as their manifests say so: `host:port` and
    `*.suffix:port`. Empty: nowhere. An address that is not public only if it stands here itself."""

    patience_s: float = PATIENCE_S
    """How long at least a job waits for room while smaller ones take what becomes free; then
    this host keeps what becomes free for it."""

    warm_min: int = 0
    """How many enclaves wait started for jobs that may come, as far as there is room."""

    warm_max: int = 0
    """How many wait when more jobs came in the last minute; 0: no more than `warm_min`."""

    lame_duck_s: float = 0.0
    """After a stop signal, how long jobs may go on before they are handed back. A second
    signal ends that."""

    boot_timeout_s: float = 60.0
    """From start to evidence; an enclave that takes longer is given up."""

    stop_grace_s: float = 3.0
    """How long an enclave may take to erase and end after it was told to."""

    adoption_window_s: float = 6.0
    """How long enclaves go on after this process was killed, for the next one to find them.

    With the grace at most `OUTLIVES_S`: a second attempt waits for twice that before it is
    offered work, so that no key is released to it while the first one lives.
    """

    python: str = sys.executable
    """The interpreter that runs the agent."""

    driver: str = "process"
    """How enclaves are started: `process`, `docker` for containers, `libvirt` for virtual
    machines."""

    libvirt_uri: str = "qemu:///system"
    """The libvirt of driver `libvirt`: a daemon's, or `qemu:///embed?root=DIR` without one."""

    emulator: Path = Path("/usr/bin/qemu-system-x86_64")
    """The QEMU of virtual machines."""

    acceleration: str = "auto"
    """What virtual machines run on: `kvm`, `tcg` (slow), or `auto`: KVM where a guest was seen to
    come up under it."""

    tee: str = "simulated"
    """What enclaves make their evidence with: `simulated`; for virtual machines also `vtpm`, a TPM
    of this host's, which protects nothing from it either, and the processor's `sev-snp` and
    `tdx`."""

    vtpm_authority_file: Path | None = None
    """Certificate and key that certify such TPMs."""

    firmware: Path | None = None
    """The UEFI firmware that starts a guest whose boot is measured; None: `FIRMWARE`."""

    vcpu_type: str = ""
    """QEMU's model of SEV-SNP guests' processors, as `EPYC-Milan`: it is part of what is
    measured."""

    quote_socket: Path = Path("/var/run/tdx-qgs/qgs.socket")
    """The quote generation service of TDX guests."""

    guest_memory_mib: int = 0
    """Memory of each virtual machine; 0: as its job asks."""

    image: str = ""
    """What containers and virtual machines are started of: a folder that `atoll image build` wrote;
    for containers also an archive of an image, or an image that the engine has."""

    docker_host: str = "unix:///var/run/docker.sock"
    """The container engine: that of driver `docker`; with driver `process`, the one at the
    agents' side, for workloads of the kind docker."""

    metrics_address: str = ""
    """Where metrics are served for Prometheus (`docs/metrics.md`): HOST:PORT, or a port alone on
    loopback. Empty: nowhere."""

    protocol_newest: int = level.NEWEST
    """Speak no newer protocol level than this, as the release before did; no level above it comes
    into force while this service lives."""

    supervised: bool = False
    """End when standard input ends."""

    @property
    def is_simulated(self) -> bool:
        """Whether enclaves make their evidence with a processor that this host plays."""
        return self.tee == "simulated"

    @property
    def is_hardware(self) -> bool:
        """Whether enclaves make their evidence with this host's processor."""
        return self.tee in HARDWARE

    @property
    def firmware_file(self) -> Path | None:
        """What starts a guest whose boot is measured; None: no boot is."""
        default = FIRMWARE.get(self.tee)
        return default if default is None or self.firmware is None else self.firmware.absolute()

    def __post_init__(self) -> None:
        """Raises: ConfigError `config.invalid`."""
        try:
            require_token(self.host_id, "host id")
        except InputError as error:
            raise ConfigError(f"{PREFIX}HOST_ID: {error.message}", code="config.invalid") from error
        if not 1 <= self.slots <= MAX_SLOTS:
            raise ConfigError(
                f"{PREFIX}SLOTS={self.slots}: want 1 to {MAX_SLOTS}", code="config.invalid"
            )
        if min(self.cpus, self.memory_bytes, self.reserve_bytes, self.lame_duck_s) < 0:
            raise ConfigError(
                f"{PREFIX}CPUS, MEMORY_BYTES, RESERVE_BYTES and LAME_DUCK_S cannot be negative",
                code="config.invalid",
            )
        if not 0 <= self.warm_min <= (self.warm_max or self.warm_min) <= MAX_SLOTS:
            raise ConfigError(
                f"{PREFIX}WARM_MIN={self.warm_min} and {PREFIX}WARM_MAX={self.warm_max}: want 0 "
                f"to {MAX_SLOTS}, and no more of the first than of the second",
                code="config.invalid",
            )
        if self.driver not in DRIVERS:
            raise ConfigError(
                f"{PREFIX}DRIVER={self.driver}: want {' or '.join(DRIVERS)}", code="config.invalid"
            )
        if (self.driver != "process") != bool(self.image):
            raise ConfigError(
                f"{PREFIX}IMAGE is for drivers docker and libvirt, which need one",
                code="config.invalid",
            )
        self._check_guests()
        try:
            Allowance.parse(self.egress)
        except InputError as error:
            raise ConfigError(f"{PREFIX}EGRESS: {error.message}", code="config.invalid") from error
        if self.patience_s <= 0:
            raise ConfigError(f"{PREFIX}PATIENCE_S must be positive", code="config.invalid")
        for name in ("boot_timeout_s", "stop_grace_s", "adoption_window_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{PREFIX}{name.upper()} must be positive", code="config.invalid")
        if self.adoption_window_s + self.stop_grace_s > OUTLIVES_S:
            raise ConfigError(
                f"{PREFIX}ADOPTION_WINDOW_S={self.adoption_window_s:g} and "
                f"{PREFIX}STOP_GRACE_S={self.stop_grace_s:g}: want at most {OUTLIVES_S:g} s "
                "together, for a second attempt does not wait longer",
                code="config.invalid",
            )

    def _check_guests(self) -> None:
        """Raises: ConfigError `config.invalid`."""
        if self.tee not in TEES or (self.tee != "simulated" and self.driver != "libvirt"):
            raise ConfigError(
                f"{PREFIX}TEE={self.tee}: want {', '.join(TEES)}; all but the first are for "
                "driver libvirt",
                code="config.invalid",
            )
        self._check_hardware()
        if self.simulated_dir is not None and not self.is_simulated:
            raise ConfigError(
                f"{PREFIX}SIMULATED_DIR is for the simulated TEE: a host with {PREFIX}TEE="
                f"{self.tee} has no part in it",
                code="config.invalid",
            )
        if (self.tee == "vtpm") != (self.vtpm_authority_file is not None):
            raise ConfigError(
                f"{PREFIX}VTPM_AUTHORITY_FILE is for {PREFIX}TEE=vtpm, which needs one",
                code="config.invalid",
            )
        if self.acceleration not in ACCELERATIONS:
            raise ConfigError(
                f"{PREFIX}ACCELERATION={self.acceleration}: want {', '.join(ACCELERATIONS)}",
                code="config.invalid",
            )
        if self.guest_memory_mib and self.guest_memory_mib < MIN_GUEST_MIB:
            raise ConfigError(
                f"{PREFIX}GUEST_MEMORY_MIB={self.guest_memory_mib}: want at least {MIN_GUEST_MIB}",
                code="config.invalid",
            )
        if not self.emulator.is_absolute():
            raise ConfigError(
                f"{PREFIX}EMULATOR={self.emulator}: want an absolute path", code="config.invalid"
            )

    def _check_hardware(self) -> None:
        """Raises: ConfigError `config.invalid`."""
        if (self.tee == "sev-snp") != bool(self.vcpu_type):
            raise ConfigError(
                f"{PREFIX}VCPU_TYPE is for {PREFIX}TEE=sev-snp, which needs one, for it is "
                f"measured: want {', '.join(VCPU_TYPES)}, or a version of one (EPYC-v4)",
                code="config.invalid",
            )
        if self.vcpu_type:
            try:
                vcpu_signature(self.vcpu_type)
            except InputError as error:
                raise ConfigError(
                    f"{PREFIX}VCPU_TYPE: {error.message}", code="config.invalid"
                ) from error
            if self.vcpu_type.startswith("0x"):
                raise ConfigError(
                    f"{PREFIX}VCPU_TYPE={self.vcpu_type}: want the name of a model, which QEMU is "
                    "started with",
                    code="config.invalid",
                )
        if not self.is_hardware:
            return
        if self.acceleration == "tcg":
            raise ConfigError(
                f"{PREFIX}ACCELERATION=tcg: guests with {PREFIX}TEE={self.tee} run under KVM only, "
                "for the processor keeps their memory and not QEMU",
                code="config.invalid",
            )
        if not self.quote_socket.is_absolute():
            raise ConfigError(
                f"{PREFIX}QUOTE_SOCKET={self.quote_socket}: want an absolute path",
                code="config.invalid",
            )
