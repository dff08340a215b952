"""What is launched where no simulated processor is: on this host's own, or measured by a TPM.
Nobody here answers for it, as `atoll_manager.simulation` does for the simulated one."""

from dataclasses import dataclass

from atoll.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchedImage:
    """The image of such guests."""

    image: bytes
    """Its digest."""
    measurement: bytes
    """What a guest for a plain job will report, for people: MEASUREMENT of SEV-SNP, where another
    number of vCPUs is another one; MRTD, which is the firmware's alone; PCR 9 of a TPM."""
    launch: None = None
    """No simulated processor is at a guest's side."""

    def state(self) -> bytes:
        """What would be launched now."""
        return self.image


def no_tee(tee: str, reason: str) -> ConfigError:
    """Why this host cannot start what its settings say."""
    return ConfigError(
        f"this host cannot start {tee} guests: {reason}",
        code="manager.no_tee",
        hint="docs/hosts.md says how a host is prepared; `atoll hosts probe` says what is there",
    )
