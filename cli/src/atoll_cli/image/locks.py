"""Which packages go into an image. Pure.

Debian's: a line for each package, in order of name, five columns with one blank between them:
name, version, size in bytes, SHA-256 in hex, path below an archive's root. Lines that begin with
`#` are comments. No line says where the archive is: the hash is what is trusted.

Wheels: what `pip --require-hashes` reads, and each with exactly one hash, so that one lock
means one set of files.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from atoll_agent.sandbox.bundle.lock import parse_lock
from atoll_cli.image.refusal import refuse, shown

MAX_LOCK: Final = 1 << 20
MAX_PACKAGES: Final = 512
MAX_SIZE: Final = 512 << 20
_NAME: Final = r"[a-z0-9][a-z0-9+.-]{1,99}"
_VERSION: Final = r"[A-Za-z0-9.+:~-]{1,100}"
_LINE: Final = re.compile(
    rf"(?P<name>{_NAME}) (?P<version>{_VERSION}) (?P<size>[0-9]{{1,10}}) (?P<sha256>[0-9a-f]{{64}})"
    r" (?P<path>pool/[A-Za-z0-9+._~/-]{1,250}\.deb)"
)
_WANTED: Final = re.compile(_NAME)
_DEBIAN_HEAD: Final = "# name version size sha256 path; made by `atoll image lock`\n"
_WHEELS_HEAD: Final = "# One file for each distribution; made by `atoll image lock`\n"


@dataclass(frozen=True, slots=True, order=True)
class LockedDeb:
    """A package of Debian."""

    name: str
    version: str
    size: int
    sha256: str
    path: str


@dataclass(frozen=True, slots=True, order=True)
class LockedWheel:
    """A wheel."""

    name: str
    version: str
    sha256: str


def parse_debs(raw: bytes) -> tuple[LockedDeb, ...]:
    """Read the lock of Debian's packages.

    Raises:
        InputError: `image.lock`: too long, a line that is none, or a name that stands twice.
    """
    found: list[LockedDeb] = []
    for number, line in _lines(raw):
        entry = _LINE.fullmatch(line)
        if entry is None or ".." in entry["path"] or int(entry["size"]) > MAX_SIZE:
            raise refuse("lock", f"line {number} of the packages' lock is {shown(line)}")
        size = int(entry["size"])
        found.append(
            LockedDeb(entry["name"], entry["version"], size, entry["sha256"], entry["path"])
        )
    names = [package.name for package in found]
    if not 0 < len(found) <= MAX_PACKAGES or names != sorted(set(names)):
        raise refuse("lock", f"want 1 to {MAX_PACKAGES} packages, in order, each once")
    return tuple(found)


def format_debs(packages: Iterable[LockedDeb]) -> bytes:
    """The lock of these packages."""
    lines = (f"{p.name} {p.version} {p.size} {p.sha256} {p.path}\n" for p in sorted(packages))
    return (_DEBIAN_HEAD + "".join(lines)).encode("ascii")


def parse_wheels(raw: bytes) -> tuple[LockedWheel, ...]:
    """Read the lock of wheels.

    Raises:
        InputError: `image.lock`: an entry with a marker or not with one hash; `bundle.lock`.
    """
    found = []
    for pinned in parse_lock(raw).values():
        if len(pinned.hashes) != 1 or not pinned.needed:
            raise refuse("lock", f"{shown(pinned.name)} is not locked to one file without a marker")
        (sha256,) = pinned.hashes
        found.append(LockedWheel(pinned.name, pinned.version, sha256))
    return tuple(sorted(found))


def format_wheels(wheels: Iterable[LockedWheel]) -> bytes:
    """The lock of these wheels."""
    lines = (f"{w.name}=={w.version} \\\n    --hash=sha256:{w.sha256}\n" for w in sorted(wheels))
    return (_WHEELS_HEAD + "".join(lines)).encode("ascii")


def parse_wanted(raw: bytes) -> tuple[str, ...]:
    """Names of packages to lock, one in each line.

    Raises:
        InputError: `image.lock`.
    """
    names = [line for _, line in _lines(raw)]
    if any(_WANTED.fullmatch(name) is None for name in names) or len(set(names)) != len(names):
        raise refuse("lock", "the list of packages has a line that is no name, or a name twice")
    if not 0 < len(names) <= MAX_PACKAGES:
        raise refuse("lock", f"want 1 to {MAX_PACKAGES} packages")
    return tuple(names)


def _lines(raw: bytes) -> Iterable[tuple[int, str]]:
    if len(raw) > MAX_LOCK or not raw.isascii():
        raise refuse("lock", f"a lock is ASCII of at most {MAX_LOCK} bytes")
    for number, line in enumerate(raw.decode("ascii").split("\n"), start=1):
        if line and not line.startswith("#"):
            yield number, line
