"""The driver that the settings name, and what is measured with it, by which processor."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from atoll.errors import ConfigError
from atoll.measure.container import measure_container
from atoll.measure.machine import measure_machine
from atoll.wire.messages import Tee
from atoll.wire.placement import plain
from atoll_manager import simulation
from atoll_manager.config import ManagerConfig
from atoll_manager.drivers.driver import HostDriver
from atoll_manager.drivers.process import ProcessDriver
from atoll_manager.launched import LaunchedImage, no_tee
from atoll_manager.records import Records

if TYPE_CHECKING:
    from atoll_manager.libvirt.connection import Libvirt
    from atoll_manager.libvirt.domain import Acceleration, DirectBoot

CHANNELS: Final = "channels"
DOMAINS: Final = "domains"
KEPT_ACCELERATION: Final = "acceleration.json"


class Driving:
    """One of the kinds; made by `prepared`.

    Args:
        image: of which containers are started, or the digest of what guests boot.
        measurement: of a guest for a plain job, where no processor is simulated.
    """

    def __init__(self, config: ManagerConfig, image: str = "", measurement: bytes = b"") -> None:
        self._config = config
        self._image = image
        self._measurement = measurement
        self._libvirt: Libvirt | None = None
        self._acceleration: Acceleration | None = None

    @contextlib.asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        """Connected to what the driver needs for as long as the context lasts.

        Raises:
            ConfigError: `libvirt.absent`, `libvirt.too_old`; of hardware `manager.no_tee`, with the
                first thing that is missing here.
            UnreachableError: `libvirt.unreachable`.
        """
        config = self._config
        if config.driver != "libvirt":
            yield
            return
        from atoll_manager.libvirt.connection import Libvirt  # noqa: PLC0415
        from atoll_manager.probing import asking  # noqa: PLC0415

        unfit: ConfigError | None = None
        async with Libvirt(config.libvirt_uri).connected() as self._libvirt:
            try:
                if config.is_hardware:
                    emulator, vcpu_type = config.emulator, config.vcpu_type
                    await asking.require(self._libvirt, config.tee, emulator, vcpu_type)
                self._acceleration = await self._accelerated()
            except ConfigError as error:
                unfit = error
            else:
                yield
        if unfit is not None:  # by itself, without the connection's group of tasks around it
            raise unfit

    async def _accelerated(self) -> "Acceleration":
        from atoll.measure.guest import KERNEL_FILE  # noqa: PLC0415
        from atoll_manager.libvirt import acceleration  # noqa: PLC0415
        from atoll_manager.libvirt.domain import Acceleration  # noqa: PLC0415

        config = self._config
        if config.acceleration != "auto":
            return Acceleration(config.acceleration)
        kernel = Path(config.image) / KERNEL_FILE
        found = await acceleration.probe(
            config.emulator, kernel, config.data_dir / KEPT_ACCELERATION
        )
        if config.is_hardware and found.kind is not Acceleration.KVM:
            raise no_tee(config.tee, f"such guests run under KVM only: {found.reason}")
        return found.kind

    @property
    def tee(self) -> Tee:
        """What its enclaves are."""
        return Tee(self._config.tee)

    def launched(self) -> simulation.Simulation | LaunchedImage:
        """What is launched, and on what. Raises: ConfigError, as `simulation.load`."""
        if not self._config.is_simulated:
            return LaunchedImage(image=bytes.fromhex(self._image), measurement=self._measurement)
        if self._config.simulated_dir is None:
            raise AssertionError("asked for without one")
        measurement = None
        if self._config.driver == "libvirt":
            measurement = measure_machine(self._image)
        elif self._image:
            measurement = measure_container(self._image)
        return simulation.load(self._config.simulated_dir, measurement)

    def driver(self, store: Records, **common: Any) -> HostDriver:
        """The driver; `common` as of `KeptDriver`."""
        config = self._config
        if not self._image:
            return ProcessDriver(python=config.python, store=store, **common)
        if self._libvirt is not None and self._acceleration is not None:
            from atoll_manager.drivers.libvirt import Guests, LibvirtDriver  # noqa: PLC0415
            from atoll_manager.libvirt.connection import embedded_root  # noqa: PLC0415

            embedded = embedded_root(config.libvirt_uri) is not None
            return LibvirtDriver(
                libvirt=self._libvirt,
                guests=Guests(
                    image=Path(config.image),
                    emulator=config.emulator,
                    acceleration=self._acceleration,
                    memory_mib=config.guest_memory_mib,
                    tee=self.tee,
                    firmware=config.firmware_file,
                    vcpu_type=config.vcpu_type,
                    quote_socket=config.quote_socket,
                    vtpm_authority=config.vtpm_authority_file,
                    host_id=config.host_id,
                    # What listens in the enclave's folder is ours alone to connect to.
                    user=None if embedded else (os.geteuid(), os.getegid()),
                ),
                owner=store.instance,
                domains=config.data_dir / DOMAINS,
                store=store,
                **common,
            )
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
        ConfigError: `image.unusable`; of driver libvirt also `image.missing`, `image.altered`,
            `libvirt.architecture`, `libvirt.no_emulator`, and as
            `atoll_manager.libvirt.launching` has it of firmware.
    """
    if config.driver == "process":
        return Driving(config)
    if config.driver == "libvirt":
        from atoll_manager.drivers import libvirt  # noqa: PLC0415

        firmware = config.firmware_file if config.tee == "vtpm" else None
        checked = libvirt.prepared(Path(config.image), config.emulator, firmware)
        measurement = b"" if config.is_simulated else _measured(config, checked.boot)
        return Driving(config, checked.described.digest, measurement)
    # Loaded where it is used: it brings the engine's package along.
    from atoll_manager.drivers.docker import find_image  # noqa: PLC0415

    return Driving(config, find_image(config.docker_host, config.image))


def _measured(config: ManagerConfig, boot: "DirectBoot") -> bytes:
    """What a guest for a plain job will report as its measurement."""
    from atoll_manager.libvirt import launching  # noqa: PLC0415

    firmware = config.firmware_file
    if firmware is None:
        raise AssertionError("what is measured has a firmware")
    if config.tee == Tee.VTPM.value:
        return launching.vtpm_measurement(boot)
    if config.tee == Tee.TDX.value:
        return launching.tdx_measurement(firmware, config.quote_socket)
    vcpus = max(1, plain(Tee.SEV_SNP).needs.cpus)
    return launching.snp_measurement(firmware, boot, vcpus=vcpus, vcpu_type=config.vcpu_type)
