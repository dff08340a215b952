"""The driver that the settings name, and what the simulated processor measures with it."""

from typing import Any, Final

from atoll.measure.container import measure_container
from atoll_manager import simulation
from atoll_manager.config import ManagerConfig
from atoll_manager.drivers.driver import HostDriver
from atoll_manager.drivers.process import ProcessDriver
from atoll_manager.records import Records

CHANNELS: Final = "channels"


class Driving:
    """One of the kinds; made by `prepared`.

    Args:
        image: of which containers are started, when they are.
    """

    def __init__(self, config: ManagerConfig, image: str = "") -> None:
        self._config = config
        self._image = image

    def simulated(self) -> simulation.Simulation:
        """The simulated processor. Raises: ConfigError, as `simulation.load`."""
        if self._config.simulated_dir is None:
            raise AssertionError("asked for without one")
        measurement = measure_container(self._image) if self._image else None
        return simulation.load(self._config.simulated_dir, measurement)

    def driver(self, store: Records, **common: Any) -> HostDriver:
        """The driver; `common` as of `KeptDriver`."""
        config = self._config
        if not self._image:
            return ProcessDriver(python=config.python, store=store, **common)
        from atoll_manager.drivers.docker import DockerDriver  # noqa: PLC0415

        return DockerDriver(
            engine=config.docker_host,
            image=self._image,
            owner=store.instance,
            channels=config.data_dir / CHANNELS,
            store=store,
            **common,
        )


def prepared(config: ManagerConfig) -> Driving:
    """Find what the driver needs. Blocks.

    Raises:
        ConfigError: `image.unusable`.
    """
    if config.driver == "process":
        return Driving(config)
    # Loaded where it is used: it brings the engine's package along.
    from atoll_manager.drivers.docker import find_image  # noqa: PLC0415

    return Driving(config, find_image(config.docker_host, config.image))
