"""What the enclaves of a stack are, and the policy that accepts these and nothing else."""

from dataclasses import dataclass, replace
from pathlib import Path

from atoll.evidence.policy import SnpPolicy, policy_to_json
from atoll.evidence.products import Product
from atoll.evidence.vtpm.policy import VtpmPolicy, vtpm_policy_to_json
from atoll.measure.agent import agent_image, agent_measurement
from atoll.measure.container import archive_of, archived_image, measure_container
from atoll.measure.installed import installed_agent_files
from atoll.measure.machine import measure_machine
from atoll.measure.reference import vtpm_fields
from atoll.policy.templates import strict_snp, strict_vtpm
from atoll.simulated.chain import DEFAULT_TCB
from atoll.wire.tee import Tee
from atoll_manager.libvirt import image as guest_images


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclaves:
    """How they are started, and what they make their evidence with."""

    driver: str = "process"
    """As the manager's setting."""
    image: str = ""
    """What has the agent: the folder of an image; for containers also an archive of one, or its
    digest. Empty for processes, which run the agent as it is installed here."""
    tee: Tee = Tee.SIMULATED

    def policy(self) -> bytes:
        """What accepts them, as canonical JSON.

        Raises:
            ConfigError: `image.missing`, `image.unusable`, `image.altered`.
        """
        if self.tee is Tee.VTPM:
            return vtpm_policy_to_json(_vtpm_policy(Path(self.image)))
        return policy_to_json(_simulated_policy(self._measurement()))

    def _measurement(self) -> bytes:
        match self.driver:
            case "libvirt":
                return measure_machine(guest_images.check(Path(self.image)).described.digest)
            case "docker":
                archive = archive_of(self.image)
                found = self.image if archive is None else archived_image(archive)
                return measure_container(found)
            case _:
                return agent_measurement(agent_image(installed_agent_files()))


def _simulated_policy(measurement: bytes) -> SnpPolicy:
    """Accept one agent on the simulated TEE, not in debug mode."""
    return replace(
        strict_snp(frozenset({measurement})),
        minimum_tcb=DEFAULT_TCB,
        products=frozenset({Product.SIMULATED}),
        # A chain that was made a moment ago for one machine has no revocation list.
        require_crl=False,
    )


def _vtpm_policy(image: Path) -> VtpmPolicy:
    """Accept what boots from an image's folder, on a machine with a TPM of its host's.

    Register 9 and the kernel are predicted from the files. The firmware is not: PCR 0 may be any.
    """
    fields = vtpm_fields(guest_images.read(guest_images.check(image).boot))
    return replace(
        strict_vtpm(fields["pcr9s"]), kernel_digests=fields["kernel_digests"], allow_host_tpm=True
    )
