"""Driver `docker`: an enclave is a container under the simulated TEE, and has a keeper.

For development, and for hosts whose container runtime is what protects. A container keeps an
enclave away from the host's files and network; the host can read its memory all the same.

What is measured is the digest of the image's configuration, which names every layer.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

from atoll.errors import ConfigError, RefusedError
from atoll.measure.container import archive_of, archived_image
from atoll.wire.messages import Tee
from atoll_manager import engine
from atoll_manager.drivers.apart import Apart, egress_of, needs_of, servers
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.drivers.kept import KeptDriver
from atoll_manager.records import EnclaveRecord

NAME: Final = "atoll-"
"""How the names of containers begin; then the enclave as it was called first."""
PIDS: Final = 1024


class DockerDriver(KeptDriver):
    """Starts containers of one image.

    Args:
        engine: where the container engine is.
        image: the digest of its configuration, `sha256:...`.
        owner: who this host is, for good.
        channels: a folder for what containers see of this host.
        common: as of `KeptDriver`.
    """

    def __init__(
        self, *, engine: str, image: str, owner: str, channels: Path, **common: Any
    ) -> None:
        containers = _Containers(engine, image, owner, channels, common["settings"])
        super().__init__(containers, **common)


class _Containers(Apart):
    def __init__(
        self, address: str, image: str, owner: str, channels: Path, settings: Mapping[str, str]
    ) -> None:
        self._address = address
        self._image = image
        self._owner = owner
        self._channels = channels
        self._bus = servers(settings["ATOLL_AGENT_NATS_URL"])
        self._egress = egress_of(settings)

    async def order(self, spec: EnclaveSpec) -> dict[str, Any]:
        self._channels.mkdir(mode=0o700, exist_ok=True)
        needs = needs_of(spec, Tee.SIMULATED)
        return {
            "kind": "container",
            "engine": self._address,
            "image": self._image,
            "name": f"{NAME}{spec.enclave_id}",
            "labels": {engine.OWNER_LABEL: self._owner, engine.ENCLAVE_LABEL: spec.enclave_id},
            "folder": str((self._channels / spec.enclave_id).absolute()),
            "bus": self._bus,
            "egress": self._egress,
            "limits": {"memory_bytes": needs.memory_bytes, "cpus": needs.cpus, "pids": PIDS},
        }

    async def clear(self, record: EnclaveRecord) -> None:
        await asyncio.to_thread(self._clear, [record.name])

    async def reap(self, keep: AbstractSet[str]) -> None:
        await asyncio.to_thread(self._reap, keep)

    def _reap(self, keep: AbstractSet[str]) -> None:
        with self._client() as client:
            found = engine.owned(client, self._owner)
        left = {name for name, _ in found}
        if self._channels.is_dir():
            left |= {f"{NAME}{path.name}" for path in self._channels.iterdir()}
        self._clear(sorted(left - keep))

    def _clear(self, names: Sequence[str]) -> None:
        try:
            with self._client() as client:
                for name in names:
                    engine.remove(client, name)
        except RefusedError as error:
            engine.log.warning("containers may stay: %s", error.message)
        for name in names:
            shutil.rmtree(self._channels / name.removeprefix(NAME), ignore_errors=True)

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        client = engine.connect(self._address)
        try:
            yield client
        finally:
            client.close()


def find_image(address: str, image: str) -> str:
    """The digest of an image that the engine has, or gets out of a folder or an archive. Blocks.

    Args:
        address: of the engine.
        image: what `atoll image build` wrote, or what the engine calls it.

    Raises:
        ConfigError: `image.unusable`.
    """
    archive = archive_of(image)
    wanted = image if archive is None else archived_image(archive)
    try:
        client = engine.connect(address)
        try:
            if archive is None:
                return engine.image_id(client, wanted)
            with contextlib.suppress(RefusedError):
                return engine.image_id(client, wanted)
            with archive.open("rb") as file:
                engine.load(client, file)
            return engine.image_id(client, wanted)
        finally:
            client.close()
    except (RefusedError, OSError) as error:
        raise ConfigError(
            f"no enclave can be started of image {image}: {error}",
            code="image.unusable",
            hint="name a folder of `atoll image build`, or an image that the engine has",
        ) from error
