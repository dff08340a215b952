"""Collect the files that make up the agent as it is installed. Reads the file system.

Measured: every `*.py` of the packages `atoll` and `atoll_agent`, and for each
third-party distribution that the agent may import its name, its version, and the
hashes that its wheel declares.

Not measured: the third-party files themselves (the declared hashes stand for them),
the interpreter and its standard library, and compiled caches. On the simulated TEE
that is a statement of what was installed and no protection: who can change the files
can also change what measures them.
"""

import hashlib
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError

PACKAGES: Final = ("atoll", "atoll_agent")
DISTRIBUTIONS: Final = ("cffi", "cryptography", "msgpack", "nats-py", "pycparser", "wasmtime")

_SKIPPED: Final = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
"""Files that installers write themselves, so that they differ between machines."""


def installed_agent_files(
    roots: Mapping[str, Path] | None = None, *, distributions: Iterable[str] = DISTRIBUTIONS
) -> list[tuple[str, bytes]]:
    """(path, content) of all that is measured, sorted by path.

    Args:
        roots: directory of each package; by default where `PACKAGES` are installed.
        distributions: names of the third-party distributions.

    Raises:
        ConfigError: `measure.not_installed`: a package or distribution is not there.
    """
    if roots is None:
        roots = {name: _root(name) for name in PACKAGES}
    files = [_distribution(name) for name in distributions]
    for name, root in roots.items():
        found = [
            (f"{name}/{path.relative_to(root).as_posix()}", path.read_bytes())
            for path in root.rglob("*.py")
        ]
        if not found:
            raise _missing(f"package {name} has no files under its root")
        files += found
    return sorted(files)


def installed_agent_state(roots: Mapping[str, Path] | None = None) -> bytes:
    """Another one whenever a file of the packages that are measured was put there or replaced.

    Much faster than to read them all, and no measurement: who wants to can change a file and
    leave this as it is. Distributions are not looked at.

    Raises:
        ConfigError: `measure.not_installed`.
    """
    state = hashlib.sha256()
    try:
        for root in (roots or {name: _root(name) for name in PACKAGES}).values():
            for path in sorted(root.rglob("*.py")):
                found = path.stat()
                place = f"{path}\0{found.st_ino} {found.st_mtime_ns} {found.st_size}\n"
                state.update(place.encode())
    except OSError as error:  # as while it is being replaced
        raise _missing(f"{error.filename}: {error.strerror}") from error
    return state.digest()


def _root(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(f"package {package} is not installed")
    return Path(spec.submodule_search_locations[0])


def _distribution(name: str) -> tuple[str, bytes]:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise _missing(f"distribution {name} is not installed") from error
    record = found.read_text("RECORD")
    if record is None:
        raise _missing(f"distribution {name} has no RECORD")
    lines = sorted(line for line in record.splitlines() if _is_declared(line))
    text = "\n".join((f"{name}=={found.version}", *lines, ""))
    return f"distributions/{name}", text.encode("utf-8")


def _is_declared(line: str) -> bool:
    """Whether a RECORD line is the wheel's own, and not of what an installer made."""
    path, _, rest = line.rpartition(",")[0].rpartition(",")
    outside = path.startswith(("..", "/")) or "__pycache__" in path
    written = ".dist-info/" in path and path.rpartition("/")[2] in _SKIPPED
    return rest.startswith("sha256=") and not outside and not written


def _missing(reason: str) -> ConfigError:
    return ConfigError(reason, code="measure.not_installed", hint="install atoll-agent here")
