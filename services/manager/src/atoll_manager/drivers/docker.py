"""Driver `docker`: an enclave is a container under the simulated TEE, and has a keeper.

For development, and for hosts whose container runtime is what protects. A container keeps an
enclave away from the host's files and network; the host can read its memory all the same.

What is measured is the digest of the image's configuration, which names every layer.
"""

import asyncio
import contextlib
import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from atoll.errors import ConfigError, RefusedError
from atoll.framing import transcript
from atoll.measure.snp import measure_image
from atoll.wire.messages import Tee
from atoll.wire.placement import plain, size_of
from atoll_manager import engine
from atoll_manager.drivers.bodies import NoPart
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.drivers.kept import KeptDriver
from atoll_manager.records import EnclaveRecord

LABEL: Final = "atoll container image v1"
ARCHIVE: Final = "docker.tar"
NAME: Final = "atoll-"
"""How the names of containers begin; then the enclave as it was called first."""
PIDS: Final = 1024
BUS_PORT: Final = 4222
MAX_MANIFEST: Final = 1 << 20
_PREFIX: Final = "sha256:"


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


class _Containers(NoPart):
    def __init__(
        self, address: str, image: str, owner: str, channels: Path, settings: Mapping[str, str]
    ) -> None:
        self._address = address
        self._image = image
        self._owner = owner
        self._channels = channels
        self._bus = servers(settings["ATOLL_AGENT_NATS_URL"])

    async def order(self, spec: EnclaveSpec) -> dict[str, Any]:
        self._channels.mkdir(mode=0o700, exist_ok=True)
        # Those that are started in advance are for plain jobs.
        needs = plain(Tee.SIMULATED).needs if spec.claim is None else size_of(spec.claim.subject)
        return {
            "kind": "container",
            "engine": self._address,
            "image": self._image,
            "name": f"{NAME}{spec.enclave_id}",
            "labels": {engine.OWNER_LABEL: self._owner, engine.ENCLAVE_LABEL: spec.enclave_id},
            "folder": str((self._channels / spec.enclave_id).absolute()),
            "bus": self._bus,
            "limits": {"memory_bytes": needs.memory_bytes, "cpus": needs.cpus, "pids": PIDS},
        }

    def settings(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Without files of the host: the container has none of them."""
        told = {name: text for name, text in settings.items() if name.startswith("ATOLL_AGENT_")}
        told.pop("ATOLL_AGENT_DOCKER_HOST", None)
        if (path := told.pop("ATOLL_AGENT_NATS_CA_FILE", None)) is not None:
            told["ATOLL_AGENT_NATS_CA"] = Path(path).read_text("ascii")
        return told

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


def servers(url: str) -> list[list[Any]]:
    """Host and port of each server of the bus."""
    parts = [urlsplit(each.strip()) for each in url.split(",")]
    return [[part.hostname or "", part.port or BUS_PORT] for part in parts]


def image_measurement(image: str) -> bytes:
    """What the simulated processor measures of a container, 48 bytes.

    Args:
        image: the digest of the image's configuration, `sha256:...`.
    """
    return measure_image(transcript(LABEL, image.encode("ascii")))


def find_image(address: str, image: str) -> str:
    """The digest of an image that the engine has, or gets out of a folder or an archive. Blocks.

    Args:
        address: of the engine.
        image: what `atoll image build` wrote, or what the engine calls it.

    Raises:
        ConfigError: `image.unusable`.
    """
    path = Path(image)
    archive = path / ARCHIVE if path.is_dir() else path
    try:
        client = engine.connect(address)
        try:
            if not archive.is_file():
                return engine.image_id(client, image)
            wanted = archived_image(archive)
            try:
                return engine.image_id(client, wanted)
            except RefusedError:
                with archive.open("rb") as file:
                    engine.load(client, file)
                return engine.image_id(client, wanted)
        finally:
            client.close()
    except (RefusedError, OSError) as error:
        raise ConfigError(
            f"{image} is no image to start enclaves of: {error}",
            code="image.unusable",
            hint="name a folder of `atoll image build`, or an image that the engine has",
        ) from error


def archived_image(archive: Path) -> str:
    """The digest of the configuration of the one image in an archive.

    Raises:
        ConfigError: `image.unusable`.
        OSError: it cannot be read.
    """
    try:
        with tarfile.open(archive) as tar:
            (entry,) = json.loads(_member(tar, "manifest.json"))
            config = _member(tar, str(entry["Config"]))
    except (tarfile.TarError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{archive} is no archive of one image", code="image.unusable") from error
    return _PREFIX + hashlib.sha256(config).hexdigest()


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(name)
    with file:
        return file.read(MAX_MANIFEST)
