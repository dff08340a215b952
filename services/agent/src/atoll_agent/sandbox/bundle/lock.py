"""The lock: requirements.txt with one exact version and its hashes per line. Pure.

The form is what `pip --require-hashes` reads (pip user guide, "Hash-checking Mode"): lines may
be continued with a backslash, comments begin with `#`, and `; marker` makes an entry one that
may be missing. Everything else (options, URLs, ranges, extras without a version) is refused:
a lock that needs an index is none.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from atoll_agent.sandbox.bundle.refusal import refuse, shown

MAX_LOCK: Final = 1 << 20
MAX_ENTRIES: Final = 1024
_ENTRY: Final = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?)(?:\[[A-Za-z0-9,._-]{0,200}\])?"
    r"==(?P<version>[A-Za-z0-9.+!_-]{1,100})"
    r"(?P<marker> ?;[^#]{1,1000}?)?"
    r"(?P<hashes>(?: --hash=sha256:[0-9a-f]{64}){1,256})"
)
_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One distribution: which version, and which files of it."""

    name: str
    """Normalised, as `normal_name` does it."""
    version: str
    hashes: frozenset[str]
    needed: bool
    """Whether a wheel of it must be there; not when a marker may leave it out."""


def normal_name(name: str) -> str:
    """Names that differ in case or in -, _ and . are one (name normalization, PyPA)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_lock(raw: bytes) -> dict[str, Pinned]:
    """The entries by name.

    Raises:
        InputError: `bundle.lock`.
    """
    if len(raw) > MAX_LOCK:
        raise refuse("lock", f"the lock has {len(raw)} bytes, want at most {MAX_LOCK}")
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise refuse("lock", "the lock is not ASCII") from error
    found: dict[str, Pinned] = {}
    for line in _logical_lines(text):
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            raise refuse("lock", f"the lock has {shown(line)}, want name==version --hash=sha256:")
        name = normal_name(entry["name"])
        if name in found:
            raise refuse("lock", f"the lock has {shown(name)} twice")
        if len(found) == MAX_ENTRIES:
            raise refuse("lock", f"the lock has more than {MAX_ENTRIES} entries")
        found[name] = Pinned(
            name=name,
            version=entry["version"],
            hashes=frozenset(_HASH.findall(entry["hashes"])),
            needed=entry["marker"] is None,
        )
    return found


def _logical_lines(text: str) -> Iterator[str]:
    """Lines with their continuations, blanks made one, without comments and empty ones."""
    parts: list[str] = []
    for line in text.split("\n"):
        bare = re.sub(r"(?:^|\s)#.*", "", line.rstrip("\r")).strip()
        parts.append(bare.removesuffix("\\"))
        if bare.endswith("\\"):
            continue
        if joined := " ".join(" ".join(parts).split()):
            yield joined
        parts = []
    if joined := " ".join(" ".join(parts).split()):
        yield joined
