"""Wires the simulated TEE: development chain, measurement of the agent, launches."""

import secrets
from pathlib import Path

from atoll.errors import ConfigError, InputError
from atoll.measure.agent import agent_image, agent_measurement
from atoll.measure.installed import installed_agent_files, installed_agent_state
from atoll.simulated.chain import DevelopmentChain
from atoll.simulated.report import SimulatedGuest, SimulatedProcessor
from atoll_manager.drivers.driver import EnclaveSpec

CHAIN_FILE = "chain.pem"
MAX_FILE = 1 << 20


class Simulation:
    """One host's simulated processor and the image that it launches.

    Args:
        chain: the processor's keys.
        image: what is measured of an image that does not change; None: the agent as installed.
    """

    def __init__(self, chain: DevelopmentChain, image: bytes | None = None) -> None:
        self._processor = SimulatedProcessor(chain=chain)
        self._image = image
        self.measurement = self._measure()

    def _measure(self) -> bytes:
        if self._image is not None:
            return self._image
        return agent_measurement(agent_image(installed_agent_files()))

    def launch(self, spec: EnclaveSpec) -> SimulatedGuest:
        """Measure the agent as it is installed now, or take the image's, and launch it."""
        return self._processor.launch(
            self._measure(),
            report_id=secrets.token_bytes(32),
            # Chosen at the launch, when there may be no job yet: nothing relies on it.
            host_data=bytes.fromhex(spec.manifest_digest) or bytes(32),
        )

    def state(self) -> bytes:
        """What would be launched now: another value, perhaps another measurement."""
        return self._image or installed_agent_state()


def load(directory: Path, image: bytes | None = None) -> Simulation:
    """Read the development chain; `image` as of `Simulation`.

    Raises:
        ConfigError: `simulated.chain`: not there, or not a development chain;
            `measure.not_installed`: there is no agent here to launch.
    """
    path = directory / CHAIN_FILE
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", code="simulated.chain") from error
    try:
        return Simulation(DevelopmentChain.from_pem(raw), image)
    except InputError as error:
        raise ConfigError(f"{path}: {error.message}", code="simulated.chain") from error
