"""Locks and fetches wheels with pip, from the index that this machine is set up with."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from atoll.errors import UnreachableError
from atoll_cli.image.locks import LockedWheel, format_wheels
from atoll_cli.image.refusal import refuse, shown
from atoll_cli.image.store import Store
from atoll_cli.image.wheels import MAX_WHEEL, read_wheel

PYTHON: Final = "3.13"
GLIBC: Final = 41
"""Debian 13 has version 2.41 of the C library."""
TIMEOUT_S: Final = 900
_OLDEST_GLIBC: Final = 17


def lock(versions: Mapping[str, str]) -> tuple[LockedWheel, ...]:
    """The wheel of each distribution in the version that is asked for.

    Args:
        versions: by name; all that is needed, since dependencies are not followed.

    Raises:
        UnreachableError: `image.fetch`.
        InputError: `image.wheel`: there is none, or it is another distribution.
    """
    wanted = "".join(f"{name}=={version}\n" for name, version in versions.items())
    found = [(read_wheel(raw), raw) for raw in _download(wanted.encode("ascii"))]
    brought = {wheel.name: wheel.version for wheel, _ in found}
    if brought != dict(versions):
        raise refuse("wheel", f"pip brought {shown(brought)}, want {shown(dict(versions))}")
    hashed = [(wheel, hashlib.sha256(raw).hexdigest()) for wheel, raw in found]
    return tuple(sorted(LockedWheel(item.name, item.version, digest) for item, digest in hashed))


def fetch(wheels: Sequence[LockedWheel], store: Store) -> None:
    """Put all of these wheels into the store.

    Raises:
        UnreachableError: `image.fetch`: also when the index no longer has a file.
    """
    for raw in _download(format_wheels(wheels), "--require-hashes"):
        store.put(raw)
    for wheel in wheels:
        if store.get(wheel.sha256) is None:
            raise refuse("hash", f"pip brought another file of {wheel.name} than the lock has")


def _download(requirements: bytes, *options: str) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_bytes(requirements)
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary", ":all:", "--implementation", "cp"),
            *("--python-version", PYTHON, *_platforms(), *options),
            *("--dest", folder, "--requirement", str(listed)),
        ]
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter
                command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise UnreachableError(f"pip took over {TIMEOUT_S} s", code="image.fetch") from error
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
            raise UnreachableError(
                f"pip failed: {shown(said[-1] if said else done.returncode)}",
                code="image.fetch",
                hint="`pip download` with the lock shows why",
            )
        paths = sorted(Path(folder).glob("*.whl"))
        return [path.read_bytes() for path in paths if path.stat().st_size <= MAX_WHEEL]


def _platforms() -> list[str]:
    names = [f"manylinux_2_{minor}_x86_64" for minor in range(GLIBC, _OLDEST_GLIBC - 1, -1)]
    names += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    return [part for name in names for part in ("--platform", name)]
