"""The adapter to the container engine. Nothing else imports the `docker` package.

Every call blocks and is made from a thread that is not the loop's. What the package, the
socket or the engine raise becomes `ConfigError`: `sandbox.unavailable` before a workload
is touched, `sandbox.engine` afterwards. Either is this host's fault, and another may do.

The engine must be at the agent's side: it sees the agent's files, and everything it is
given lies in the clear on its disk. So only a Unix socket will do.
"""

import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from atoll.errors import ConfigError, InputError
from atoll_agent.sandbox.docker.image import Image
from atoll_agent.sandbox.docker.plan import HOSTNAME, LABEL, Plan

UNAVAILABLE: Final = "sandbox.unavailable"
FAILED: Final = "sandbox.engine"
DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
REPOSITORY: Final = "atoll-enclave"
"""Where the engine lists the images of agents; the tag says which agent's."""
OLDEST_API: Final = (1, 41)
"""Docker Engine 20.10."""
CALL_S: Final = 60
LOAD_S: Final = 600
"""Seconds without a byte from the engine; it unpacks meanwhile."""
STDOUT: Final = 1
STDERR: Final = 2

_HINT: Final = "install docker.io (Debian), start dockerd, and set ATOLL_AGENT_DOCKER_HOST"
_GONE: Final = frozenset({304, 404, 409})
"""Not running, not there, or being removed just now: what was asked for is so."""
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A container as the engine sees it. `pid` is 0 when it does not run."""

    exit_code: int
    out_of_memory: bool
    pid: int
    problem: str = field(repr=False)


class Engine:
    """One engine behind one socket. `open` gives one that can hold a guest."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    def open(cls, host: str) -> Self:
        """Connect, and check that the engine can enforce what `plan` asks of it.

        Raises:
            ConfigError: `sandbox.unavailable`: what is missing, and what to do.
        """
        try:
            import docker  # noqa: PLC0415 - optional, and not loaded for other workloads
        except ImportError as error:
            raise ConfigError(
                "the Python package docker is not installed",
                code=UNAVAILABLE,
                hint="install atoll-agent[docker]",
            ) from error
        _require_socket(host)
        with _translated(f"the engine at {host} does not answer", code=UNAVAILABLE):
            client = docker.APIClient(base_url=host, version="auto", timeout=CALL_S)
            engine = cls(client)
            missing = _missing(client.info(), client._version)  # noqa: SLF001 - no public name
        if missing:
            engine.close()
            raise ConfigError(f"the engine at {host} {missing}", code=UNAVAILABLE, hint=_HINT)
        return engine

    def close(self) -> None:
        """Close idle connections. Does not raise."""
        with suppress(Exception):
            self._client.close()

    def load(self, archive: Iterator[bytes], tag: str, image: Image) -> str | None:
        """Load an archive that `repack` made; returns why the engine's image is not `image`.

        The image is looked up by the digest that we computed, and its layers are compared
        with ours: neither the tag nor what the engine says it loaded is believed.
        """
        with _translated("the engine does not load the image"):
            self._client.timeout = LOAD_S
            try:
                for line in self._client.load_image(archive):
                    if isinstance(line, dict) and line.get("error"):
                        raise OSError(str(line["error"])[:500])
            finally:
                self._client.timeout = CALL_S
            found = self._inspect_image(image.image_id)
            tagged = self._inspect_image(f"{REPOSITORY}:{tag}")
        if found is None or tagged is None:
            return f"the engine has no image {image.image_id} after loading it"
        if found.get("Id") != image.image_id or tagged.get("Id") != image.image_id:
            return f"the engine calls the image {str(tagged.get('Id'))[:100]}"
        if tuple(found.get("RootFS", {}).get("Layers") or ()) != image.diff_ids:
            return "the engine's image has other layers"
        return None

    def create(self, plan: Plan) -> str:
        """Make the container, and return its id. It does not run yet.

        Raises:
            ConfigError: `sandbox.engine`.
            InputError: `image.volumes`: the image brings a place to write of its own.
        """
        client = self._client
        with _translated("the engine does not make the container"):
            made = client.create_container(
                image=plan.image_id,
                command=list(plan.args) or None,
                environment=plan.env,
                user=plan.user,
                hostname=HOSTNAME,
                network_disabled=True,
                stdin_open=False,
                tty=False,
                labels={LABEL: plan.owner},
                healthcheck={"test": ["NONE"]},
                use_config_proxy=False,
                host_config=self._host_config(plan),
            )
            container_id = str(made["Id"])
            mounts = client.inspect_container(container_id)["Mounts"]
        # Names of volumes are compared without case by our reader, with case by the engine.
        wanted = {(bind.target, bind.read_only) for bind in plan.binds}
        found = {(str(item["Destination"]), not item["RW"]) for item in mounts}
        if found != wanted:
            self.remove(container_id)
            raise InputError("the image brings a volume of its own", code="image.volumes")
        return container_id

    def attach(self, container_id: str) -> Iterator[tuple[int, bytes]]:
        """Standard output (1) and error (2) as they come; ends with the container.

        Must be called before the start, or what came meanwhile is lost. Iterating raises
        `ConfigError` like every other call.
        """
        with _translated("the engine does not hand over the output"):
            from docker.utils.socket import frames_iter  # noqa: PLC0415 - as in open

            options = {"stdout": 1, "stderr": 1, "stream": 1}
            stream = self._client.attach_socket(container_id, params=options)
        return _frames(stream, frames_iter)

    def start(self, container_id: str) -> str | None:
        """Start it; returns why the image has nothing that can be started.

        Raises:
            ConfigError: `sandbox.engine`: it did not start, and that is not the image's fault.
        """
        from docker.errors import APIError  # noqa: PLC0415 - as in open

        with _translated("the engine does not start the container"):
            try:
                self._client.start(container_id)
            except APIError as error:
                status = error.status_code or _SERVER_ERROR
                if _BAD_REQUEST <= status < _SERVER_ERROR:
                    return str(error.explanation)[:500]
                raise
        return None

    def wait(self, container_id: str) -> None:
        """Return when the container has ended, however long that takes."""
        with _translated("the engine died while the container ran"):
            self._client.wait(container_id, timeout=None)

    def state(self, container_id: str) -> State:
        """What the engine knows of it now."""
        with _translated("the engine does not tell how the container is"):
            found = self._client.inspect_container(container_id)["State"]
            return State(
                exit_code=int(found["ExitCode"]),
                out_of_memory=bool(found["OOMKilled"]),
                pid=int(found["Pid"]),
                problem=str(found["Error"])[:500],
            )

    def kill(self, container_id: str) -> None:
        """SIGKILL; nothing if it does not run."""
        with _translated("the engine does not kill the container"), _unless_gone():
            self._client.kill(container_id)

    def remove(self, container_id: str) -> None:
        """Kill and remove it with its volumes; nothing if it is not there."""
        with _translated("the engine does not remove the container"), _unless_gone():
            self._client.remove_container(container_id, force=True, v=True)

    def untag(self, tag: str) -> None:
        """Take our tag off an image; the last tag takes the image along."""
        with _translated("the engine does not remove the image"), _unless_gone():
            self._client.remove_image(f"{REPOSITORY}:{tag}", force=False, noprune=False)

    def owned(self) -> dict[str, str]:
        """Container id to owner, for the containers of all agents."""
        with _translated("the engine does not list its containers"):
            listed = self._client.containers(all=True, filters={"label": LABEL})
            return {str(item["Id"]): str(item["Labels"].get(LABEL, "")) for item in listed}

    def tags(self) -> list[str]:
        """The tags that agents gave to images."""
        with _translated("the engine does not list its images"):
            listed = self._client.images(name=REPOSITORY)
            names = [name for item in listed for name in item["RepoTags"] or ()]
        return [name.partition(":")[2] for name in names]

    def _inspect_image(self, name: str) -> dict[str, Any] | None:
        from docker.errors import ImageNotFound  # noqa: PLC0415 - as in open

        try:
            found: dict[str, Any] = self._client.inspect_image(name)
        except ImageNotFound:
            return None
        return found

    def _host_config(self, plan: Plan) -> Any:
        from docker.types import LogConfig, Mount, Ulimit  # noqa: PLC0415 - as in open

        return self._client.create_host_config(
            network_mode="none",
            ipc_mode="private",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true", f"seccomp={plan.seccomp}"],
            mounts=[
                Mount(bind.target, bind.source, type="bind", read_only=bind.read_only)
                for bind in plan.binds
            ],
            tmpfs=plan.tmpfs,
            shm_size=plan.shared_memory,
            mem_limit=plan.memory,
            memswap_limit=plan.memory,
            pids_limit=plan.processes,
            nano_cpus=plan.nano_cpus,
            ulimits=[Ulimit(name=u.name, soft=u.value, hard=u.value) for u in plan.ulimits],
            oom_score_adj=500,
            log_config=LogConfig(type="none"),
            restart_policy={"Name": "no"},
            init=False,
        )


@contextmanager
def _translated(doing: str, *, code: str = FAILED) -> Iterator[None]:
    """Turn what the package, the socket or the engine raise into `ConfigError`."""
    from docker.errors import DockerException  # noqa: PLC0415 - as in open

    try:
        yield
    # The package's HTTP library derives its errors from OSError.
    except (DockerException, OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{doing}: {str(error)[:500]}", code=code, hint=_HINT) from error


@contextmanager
def _unless_gone() -> Iterator[None]:
    from docker.errors import APIError  # noqa: PLC0415 - as in open

    try:
        yield
    except APIError as error:
        if error.status_code not in _GONE:
            raise


def _frames(stream: Any, frames_iter: Any) -> Iterator[tuple[int, bytes]]:
    try:
        with _translated("the engine died while the container wrote"):
            yield from frames_iter(stream, tty=False)
    finally:
        # The stream is a view of a socket that its library would leave to the collector.
        socket = getattr(stream, "_sock", None)
        with suppress(OSError):
            stream.close()
            if socket is not None:
                socket.close()


def _require_socket(host: str) -> None:
    path = Path(host.removeprefix("unix://"))
    if not host.startswith("unix://") or not path.is_absolute():
        why = f"the engine's address is {host[:200]!a}, want unix:///path/of/a/socket"
        raise ConfigError(why, code=UNAVAILABLE, hint=_HINT)
    try:
        found = stat.S_ISSOCK(path.stat().st_mode)
    except OSError as error:
        why = f"no container engine: {path}: {error.strerror}"
        raise ConfigError(why, code=UNAVAILABLE, hint=_HINT) from error
    if not found:
        raise ConfigError(f"{path} is not a socket", code=UNAVAILABLE, hint=_HINT)


def _missing(info: dict[str, Any], version: str) -> str | None:
    """What the engine lacks, as the rest of a sentence that begins with "the engine"."""
    if tuple(map(int, version.split("."))) < OLDEST_API:
        return f"speaks version {version} of its API, want {'.'.join(map(str, OLDEST_API))}"
    if info.get("OSType") != "linux":
        return "does not run Linux containers"
    if not any(str(item).startswith("name=seccomp") for item in info.get("SecurityOptions") or ()):
        return "cannot filter system calls (seccomp)"
    for name, what in (
        ("MemoryLimit", "memory"),
        ("PidsLimit", "processes"),
        ("CpuCfsQuota", "processor time"),
    ):
        if info.get(name) is not True:
            return f"cannot limit {what}: its kernel lacks the cgroup controller"
    drivers = str(info.get("DriverStatus"))
    if "io.containerd.snapshotter" in drivers:
        return "keeps images in containerd, where the configuration's digest does not name them"
    return None
