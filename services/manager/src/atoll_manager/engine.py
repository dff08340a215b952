"""A container engine, as far as enclaves need it: the package `docker`, whose calls block.

Whatever of its errors comes is said as `enclave.start`, without the engine's long texts.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import docker
from docker import errors as docker_errors
from requests.exceptions import RequestException

from atoll.errors import RefusedError

TIMEOUT_S: Final = 30
MAX_REASON: Final = 300
OWNER_LABEL: Final = "atoll.host"
ENCLAVE_LABEL: Final = "atoll.enclave"
NANO: Final = 1_000_000_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a container may use."""

    memory_bytes: int
    """All of it, files in memory included; 0: no limit."""
    cpus: int
    """0: what there is."""
    pids: int


def connect(address: str) -> Any:
    """The engine. Raises: RefusedError `enclave.start`."""
    with _translated(f"no container engine at {address}"):
        return docker.APIClient(base_url=address, version="auto", timeout=TIMEOUT_S)


def start(
    client: Any,
    *,
    image: str,
    name: str,
    labels: Mapping[str, str],
    settings: Mapping[str, str],
    folder: tuple[str, str],
    limits: Limits,
) -> int:
    """Create and start a container; its first process on this host, 0 when it has ended already.

    Raises:
        RefusedError: `enclave.start`; no container stays.
    """
    size = f"size={limits.memory_bytes}" if limits.memory_bytes else "size=50%"
    host_config = client.create_host_config(
        binds={folder[0]: {"bind": folder[1], "mode": "rw"}},
        network_mode="none",
        read_only=True,
        tmpfs={
            "/tmp": f"rw,nosuid,nodev,{size}",  # noqa: S108 - the container's own
            "/run": "rw,nosuid,nodev,size=16m",
            # Workloads are programs, and lie there (`atoll.enclave_storage`).
            "/dev/shm": f"rw,nosuid,nodev,exec,{size}",  # noqa: S108 - likewise
        },
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        mem_limit=limits.memory_bytes or None,
        memswap_limit=limits.memory_bytes or None,
        nano_cpus=limits.cpus * NANO or None,
        pids_limit=limits.pids,
        ipc_mode="private",
        log_config={"Type": "json-file", "Config": {"max-size": "1m", "max-file": "1"}},
    )
    made = None
    try:
        with _translated("the container engine"):
            made = client.create_container(
                image,
                name=name,
                labels=dict(labels),
                environment=dict(settings),
                host_config=host_config,
                stdin_open=False,
                tty=False,
            )
            client.start(made)
            return int(client.inspect_container(made)["State"]["Pid"])
    except RefusedError:
        if made is not None:
            remove(client, name)
        raise


def status(client: Any, name: str) -> int:
    """How a container ended, once it did; 137 (SIGKILL) when it is not there any more."""
    try:
        with _translated("the container engine"):
            return int(client.wait(name, timeout=TIMEOUT_S)["StatusCode"])
    except RefusedError as error:
        log.warning("%s", error.message)
        return 137


def said(client: Any, name: str) -> bytes:
    """The last of what a container wrote to its standard error."""
    try:
        with _translated("the container engine"):
            return bytes(client.logs(name, stdout=False, stderr=True, tail=2000))
    except RefusedError:
        return b""


def remove(client: Any, name: str) -> None:
    """End and remove a container, if it is there."""
    try:
        client.remove_container(name, force=True, v=True)
    except docker_errors.NotFound:
        return
    except (docker_errors.APIError, RequestException) as error:
        log.warning("container %s stays: %s", name, _reason(error))


def owned(client: Any, owner: str) -> list[tuple[str, str]]:
    """Name and enclave of each container that was started for this owner, ended ones too.

    Raises:
        RefusedError: `enclave.start`.
    """
    with _translated("the container engine"):
        found = client.containers(all=True, filters={"label": f"{OWNER_LABEL}={owner}"})
    return [(each["Names"][0].lstrip("/"), each["Labels"].get(ENCLAVE_LABEL, "")) for each in found]


def image_id(client: Any, name: str) -> str:
    """The digest of an image's configuration, `sha256:...`. Raises: RefusedError."""
    with _translated(f"image {name}"):
        return str(client.inspect_image(name)["Id"])


def load(client: Any, archive: Any) -> None:
    """Put an archive's images into the engine. Raises: RefusedError."""
    with _translated("the image's archive"):
        for _ in client.load_image(archive):
            pass


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (docker_errors.DockerException, RequestException, OSError) as error:
        raise RefusedError(f"{what}: {_reason(error)}", code="enclave.start") from error


def _reason(error: Exception) -> str:
    explanation = getattr(error, "explanation", None)
    return str(explanation or error)[:MAX_REASON]
