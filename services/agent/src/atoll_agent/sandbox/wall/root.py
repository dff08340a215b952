"""What a guest sees: the arguments of bwrap that build its root, in the order bwrap performs them.

    /algorithm, /data       read-only
    /results                writable; the agent's own directory
    /tmp, /dev/shm          one tmpfs of `scratch_bytes`; gone with the guest
    /job                    the working directory: `datasets` -> /data, `results` -> /results
    /bundle, /lib, ...      read-only, what a kind of workload needs (`native`)
    /proc                   of the guest's own processes
    /dev                    null, zero, full, random, urandom
    /etc                    passwd, group, nsswitch.conf, made up; the loader's cache

Everything else does not exist. The root itself is read-only once it is built.

A program may bring its root: an image that was unpacked. It is bound whole and read-only; /dev and
/tmp are put over what it has there, and inputs and outputs where images look for them. /etc is
then the image's.

/proc/1 is covered: process 1 is bwrap's, has the guest's user and not its filter, and who may
write its memory is rid of the filter (proc(5), /proc/pid/mem).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll_agent.sandbox.docker.image import DATA, RESULTS
from atoll_agent.sandbox.step import StepSpace

USER: Final = 1000
HOSTNAME: Final = "atoll"
ALGORITHM: Final = "/algorithm"
BUNDLE: Final = "/bundle"
WORK: Final = "/job"
_DEVICES_BYTES: Final = 64 << 10
_DEVICES: Final = ("null", "zero", "full", "random", "urandom")
_COVERED_FILES: Final = (
    "cmdline", "config.gz", "iomem", "ioports", "kallsyms", "kcore", "key-users", "keys", "kmsg",
    "kpagecount", "kpageflags", "kpagecgroup", "modules", "sched_debug", "slabinfo",
    "sysrq-trigger", "timer_list", "vmallocinfo",
)  # fmt: skip
_COVERED_FOLDERS: Final = ("acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "tty", "sys")
_FILES: Final = {
    "/etc/passwd": f"guest:x:{USER}:{USER}::/tmp:/nowhere\nnobody:x:65534:65534::/:/nowhere\n",
    "/etc/group": f"guest:x:{USER}:\nnogroup:x:65534:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_PAGE: Final = 4096
MOUNT_POINTS: Final = ("/proc", "/dev", "/tmp", *DATA, *RESULTS)  # noqa: S108 - the guest's
"""What is mounted over in a root that a program brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or directory of ours that the guest may read at `target`."""

    source: Path
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to start, and what it needs beside the contract."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Symbolic links in the root: (where to, name)."""
    covered: tuple[str, ...] = ()
    """Directories below a mount that are replaced by empty ones."""
    image: Path | None = None
    """The root it brings, with a folder for each of `MOUNT_POINTS`."""
    folder: str = WORK
    """Where it starts."""


def arguments(
    program: Program,
    space: StepSpace,
    scratch_bytes: int,
    *,
    opened: Callable[[Path], int],
    content: Callable[[bytes], int],
    proc: Path = Path("/proc"),
) -> list[str]:
    """The arguments before `--`.

    Args:
        program: what will be started.
        space: where the step's files are.
        scratch_bytes: size of /tmp.
        opened: opens a path and returns a descriptor that bwrap will inherit.
        content: the same for a file with this content.
        proc: to see which of its files exist; the guest's will be the same.
    """
    image = program.image
    start = [
        *_isolation(),
        *_environment(program.env),
        *([] if image is None else ["--ro-bind-fd", str(opened(image)), "/"]),
        "--proc", "/proc", *_covers(proc),
        *_scratch(scratch_bytes),
        *_devices(),
    ]  # fmt: skip
    rest = _with_image(space, opened) if image else _made(program, space, opened, content)
    return [*start, *rest, "--chdir", program.folder, "--remount-ro", "/"]


def _made(
    program: Program,
    space: StepSpace,
    opened: Callable[[Path], int],
    content: Callable[[bytes], int],
) -> list[str]:
    """A root of what the contract and a kind need, and nothing else."""
    result = _contents(content)
    own = (
        Mount(source=space.algorithm, target=ALGORITHM),
        Mount(source=space.data, target="/data"),
    )
    for mount in (*own, *program.mounts):
        result += ["--ro-bind-fd", str(opened(mount.source)), mount.target]
    for folder in program.covered:
        result += ["--tmpfs", folder, "--remount-ro", folder]
    for to, name in program.links:
        result += ["--symlink", to, name]
    result += ["--bind-fd", str(opened(space.results)), "/results"]
    result += ["--symlink", "/data", f"{WORK}/datasets"]
    return [*result, "--symlink", "/results", f"{WORK}/results"]


def _with_image(space: StepSpace, opened: Callable[[Path], int]) -> list[str]:
    result: list[str] = []
    for target in DATA:
        result += ["--ro-bind-fd", str(opened(space.data)), target]
    for target in RESULTS:
        result += ["--bind-fd", str(opened(space.results)), target]
    return result


def _isolation() -> list[str]:
    return [
        "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
        "--unshare-cgroup-try", "--disable-userns", "--uid", str(USER), "--gid", str(USER),
        "--hostname", HOSTNAME, "--cap-drop", "ALL", "--die-with-parent", "--new-session",
    ]  # fmt: skip


def _environment(env: Mapping[str, str]) -> list[str]:
    result = ["--clearenv"]
    for name, value in env.items():
        result += ["--setenv", name, value]
    return result


def _covers(proc: Path) -> list[str]:
    result = ["--perms", "0000", "--tmpfs", "/proc/1", "--remount-ro", "/proc/1"]
    for name in _COVERED_FILES:
        if os.path.lexists(proc / name):
            # Bound without devices, so that even opening it fails.
            result += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    for name in _COVERED_FOLDERS:
        if (proc / name).is_dir():
            result += ["--tmpfs", f"/proc/{name}", "--remount-ro", f"/proc/{name}"]
    return result


def _scratch(scratch_bytes: int) -> list[str]:
    size = str(max(scratch_bytes, _PAGE))  # 0 is no limit to tmpfs
    return ["--perms", "0700", "--size", size, "--tmpfs", "/tmp"]  # noqa: S108 - the guest's


def _devices() -> list[str]:
    result = ["--perms", "0755", "--size", str(_DEVICES_BYTES), "--tmpfs", "/dev"]
    for name in _DEVICES:
        result += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    links: Sequence[tuple[str, str]] = (
        ("", "fd"),
        ("/0", "stdin"),
        ("/1", "stdout"),
        ("/2", "stderr"),
    )
    for to, name in links:
        result += ["--symlink", f"/proc/self/fd{to}", f"/dev/{name}"]
    return [*result, "--symlink", "/tmp", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108


def _contents(content: Callable[[bytes], int]) -> list[str]:
    result: list[str] = []
    for name, text in _FILES.items():
        result += ["--perms", "0444", "--file", str(content(text.encode())), name]
    return result
