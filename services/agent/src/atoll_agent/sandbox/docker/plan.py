"""What a container is allowed, as values of our own. Pure.

Everything that can be denied is: network, capabilities, new privileges, a writable root,
swap, a terminal, restarts, logs kept by the engine, health checks of the image's own.
`memory` is the kernel's limit for the whole container; files in /tmp and /results are in
memory and count.
"""

from dataclasses import dataclass, field
from typing import Final

from atoll_agent.sandbox.docker.image import DATA, RESULTS, SCRATCH
from atoll_agent.sandbox.limits import MIB
from atoll_agent.sandbox.step import Step

LABEL: Final = "atoll.enclave"
HOSTNAME: Final = "enclave"
SHARED_MEMORY: Final = 64 * MIB
"""The most that /dev/shm holds."""
MIN_MEMORY: Final = 6 * MIB
"""Engines refuse to start a container with less."""
NANO: Final = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A directory of the agent's that the container sees."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """One resource limit of every process (getrlimit(2), in the engine's spelling)."""

    name: str
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A container before it is made."""

    image_id: str
    args: tuple[str, ...] = field(repr=False)
    """In the place of the image's CMD when there are any."""
    env: dict[str, str] = field(repr=False)
    user: str
    binds: tuple[Bind, ...]
    tmpfs: dict[str, str]
    memory: int
    shared_memory: int
    processes: int
    nano_cpus: int
    ulimits: tuple[Ulimit, ...]
    seccomp: str = field(repr=False)
    owner: str


def plan(step: Step, *, image_id: str, user: str, cpus: int, seccomp: str, owner: str) -> Plan:
    """The container for a step.

    Args:
        step: what to run.
        image_id: the image, by the digest of its configuration.
        user: "uid:gid" inside, the same outside.
        cpus: how many the agent has; the container gets no more.
        seccomp: a profile as JSON.
        owner: which agent's container this is; the value of its label.
    """
    limits = step.limits
    data, results = str(step.space.data), str(step.space.results)
    memory = max(limits.memory_bytes, MIN_MEMORY)
    # One byte more than allowed: a file that was cut short is then seen to be too large.
    largest_file = max(limits.output_bytes, limits.scratch_bytes, limits.log_bytes) + 1
    ulimits = {
        "nofile": limits.open_files,
        "core": 0,
        "fsize": largest_file,
        "memlock": 0,
        "msgqueue": 64 << 10,
    }
    if limits.cpu_s:
        # For each process; the watchdog counts the whole container and comes first.
        ulimits["cpu"] = limits.cpu_s + 1
    return Plan(
        image_id=image_id,
        args=step.args,
        env=dict(step.env),
        user=user,
        binds=(
            *(Bind(source=data, target=target, read_only=True) for target in DATA),
            *(Bind(source=results, target=target, read_only=False) for target in RESULTS),
        ),
        tmpfs={SCRATCH: f"rw,noexec,nosuid,nodev,mode=1777,size={limits.scratch_bytes}"},
        memory=memory,
        shared_memory=max(min(limits.scratch_bytes, SHARED_MEMORY), MIB),
        processes=limits.processes,
        nano_cpus=cpus * NANO,
        ulimits=tuple(Ulimit(name=name, value=value) for name, value in ulimits.items()),
        seccomp=seccomp,
        owner=owner,
    )
