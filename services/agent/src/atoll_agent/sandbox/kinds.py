"""Which sandbox runs which kind of workload, and whether this host has it.

Each sandbox is imported when its kind is first asked for, so that a job of one kind does not
load the code of the others.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Final

from atoll.computation.steps import WorkloadKind
from atoll.errors import ConfigError
from atoll_agent.sandbox.compiled import CompiledModules
from atoll_agent.sandbox.guest import Egress, Guest
from atoll_agent.sandbox.step import Step

UNAVAILABLE: Final = "sandbox.unavailable"


DOCKER_HOST: Final = "unix:///var/run/docker.sock"
"""Where engines have their socket unless they are told otherwise. If there is none, images run
behind the wall; an engine that was named elsewhere has to be there."""


def available(kind: WorkloadKind, *, docker_host: str = DOCKER_HOST) -> str | None:
    """Why this host cannot run `kind`, with what to do about it; None if it can.

    Found out by trying; blocks. To be asked before any key is. The sentence is about the host
    alone, so it may leave the enclave.
    """
    match kind:
        case WorkloadKind.WASM:
            return None
        case WorkloadKind.BINARY | WorkloadKind.PYTHON:
            from atoll_agent.sandbox.wall.bubblewrap import missing  # noqa: PLC0415

            return missing()
        case WorkloadKind.DOCKER:
            return _no_images(docker_host)


def make_guest(
    kind: WorkloadKind,
    step: Step,
    *,
    docker_host: str = DOCKER_HOST,
    compiled: CompiledModules | None = None,
    egress: Egress | None = None,
) -> Guest:
    """A guest of `kind` that is not yet started.

    Args:
        kind: what to run.
        step: what to run it with.
        docker_host: the engine's socket, for the kind docker; empty: none.
        compiled: for the kind wasm, where compiled modules are kept; None: they are not.
        egress: for the kinds binary and python, who serves the guest's way out; None: it has
            none. The others have none in any case.

    Raises:
        ConfigError: `sandbox.unavailable`.
    """
    if reason := available(kind, docker_host=docker_host):
        raise ConfigError(f"kind {kind.value}: {reason}", code=UNAVAILABLE)
    match kind:
        case WorkloadKind.WASM:
            from atoll_agent.sandbox.wasm_guest import WasmGuest  # noqa: PLC0415

            return WasmGuest(step, python=sys.executable, compiled=compiled)
        case WorkloadKind.BINARY | WorkloadKind.PYTHON:
            return _walled(kind, step, egress)
        case WorkloadKind.DOCKER:
            if not _has_engine(docker_host):
                return _walled(kind, step, None)
            from atoll_agent.sandbox.docker.guest import DockerGuest  # noqa: PLC0415

            return DockerGuest(step, host=docker_host)


def _has_engine(docker_host: str) -> bool:
    """Whether an engine is to be asked; whether it answers is another question."""
    if docker_host != DOCKER_HOST:
        return bool(docker_host)
    there = Path(DOCKER_HOST.removeprefix("unix://")).exists()
    return there and importlib.util.find_spec("docker") is not None


def _no_images(docker_host: str) -> str | None:
    """Where an engine is, it runs images; elsewhere the wall does."""
    if _has_engine(docker_host):
        from atoll_agent.sandbox.docker import guest  # noqa: PLC0415

        return guest.available(docker_host)
    from atoll_agent.sandbox.wall.bubblewrap import missing  # noqa: PLC0415

    without = missing()
    return without and f"no container engine at {docker_host}, and without one: {without}"


def _walled(kind: WorkloadKind, step: Step, egress: Egress | None) -> Guest:
    from atoll_agent.sandbox.docker import walled  # noqa: PLC0415
    from atoll_agent.sandbox.wall import native  # noqa: PLC0415
    from atoll_agent.sandbox.wall.bubblewrap import require_wall  # noqa: PLC0415
    from atoll_agent.sandbox.wall.guest import WalledGuest  # noqa: PLC0415

    if kind is WorkloadKind.DOCKER:
        return WalledGuest(step, require_wall(), walled.image)
    prepare = native.binary if kind is WorkloadKind.BINARY else native.python
    return WalledGuest(step, require_wall(), prepare, egress)
