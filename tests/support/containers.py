"""The hub's servers as containers of a real engine, on a network that can be cut.

The image is made here, from nothing but the packaged nats-server: no registry is asked. A
container sees its folder, laid out as in `support.cluster`, under the same path.
"""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.types import EndpointConfig, IPAMConfig, IPAMPool
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from atoll_cli.nats_server import find_binary
from support.cluster import Server, Site
from support.dockerd import Dockerd

IMAGE = "atoll-test-nats:latest"
DOCKERFILE = 'FROM scratch\nCOPY nats-server /nats-server\nENTRYPOINT ["/nats-server"]\n'
STOP_S = 60

# Its cleaner is an image that would have to be pulled; the engine is ours and ends with the tests.
testcontainers_config.ryuk_disabled = True


@dataclass
class ContainedServer(Server):
    """A server in a container."""

    container: DockerContainer | None = None
    network: Any = None
    """As the engine's package shows it."""

    @property
    def wrapped(self) -> Any:
        """The container as the engine's package shows it."""
        assert self.container is not None
        return self.container.get_wrapped_container()

    @property
    def running(self) -> bool:
        self.wrapped.reload()
        return bool(self.wrapped.status == "running")

    @property
    def log(self) -> str:
        return str(self.wrapped.logs(stderr=True).decode(errors="replace"))

    def start(self) -> None:
        """For the first time, or again on the same address and data."""
        assert self.container is not None
        if self.container._container is None:
            self.container.start()
        else:
            self.wrapped.start()

    def kill(self) -> None:
        self._signal("SIGKILL")

    def stop(self) -> None:
        self._signal("SIGTERM")

    def lame_duck(self) -> None:
        self._signal("SIGUSR2")

    def cut(self) -> None:
        """Take it off the network; it goes on running."""
        self.network.disconnect(self.wrapped)

    def rejoin(self) -> None:
        """Put it back to where it was."""
        self.network.connect(self.wrapped, ipv4_address=self.host)

    def _signal(self, name: str) -> None:
        # Not running is what is wanted, too.
        with contextlib.suppress(docker.errors.APIError):
            self.wrapped.kill(name)
        self.wrapped.wait(timeout=STOP_S)


class ContainedSite(Site):
    """A site whose servers are containers on a network of their own."""

    places = (2, 3, 4)
    """The first address is the engine's own."""

    def __init__(self, root: Path, engine: Dockerd) -> None:
        super().__init__(root)
        self.network = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
        self._engine = {"environment": {"DOCKER_HOST": engine.host}}
        pool = IPAMPool(subnet=f"{self.network}.0/28")
        self._bridge = Network(
            docker_client_kw=self._engine,
            docker_network_kw={"ipam": IPAMConfig(pool_configs=[pool])},
        ).create()

    def make(self, **fields: Any) -> Server:
        server = ContainedServer(**fields)
        bridge = self._bridge._unwrap_network
        endpoint = EndpointConfig("1.41", ipv4_address=server.host)
        server.container = DockerContainer(
            IMAGE,
            docker_client_kw=self._engine,
            name=server.name,
            command=f"-c {server.config}",
            env=dict(server.env),
            volumes=[(str(server.folder), str(server.folder), "rw")],
        ).with_kwargs(
            working_dir=str(server.folder),
            network=bridge.name,
            networking_config={bridge.name: endpoint},
        )
        server.network = bridge
        return server

    def close(self) -> None:
        """Take containers and network away."""
        for server in self.servers:
            assert isinstance(server, ContainedServer)
            if server.container is not None and server.container._container is not None:
                server.wrapped.remove(force=True)
        self._bridge.remove()


@contextmanager
def contained(root: Path, engine: Dockerd) -> Iterator[ContainedSite]:
    """A site in containers, of which nothing stays."""
    _build(root / "image", engine)
    site = ContainedSite(root / "site", engine)
    try:
        yield site
    finally:
        site.close()


def _build(folder: Path, engine: Dockerd) -> None:
    folder.mkdir()
    shutil.copy(find_binary(), folder / "nats-server")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    client = docker.DockerClient(base_url=engine.host)
    try:
        client.images.build(path=str(folder), tag=IMAGE, pull=False)
    finally:
        client.close()
