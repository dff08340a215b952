"""Locks, cache and folders around `assemble`."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError
from atoll.measure.guest import DESCRIPTION_FILE
from atoll.measure.installed import DISTRIBUTIONS, installed_agent_files
from atoll_cli.image import pip
from atoll_cli.image.assemble import Built, Parts, assemble
from atoll_cli.image.debian import Debian, machine_archives, machine_keyring
from atoll_cli.image.locks import (
    MAX_LOCK,
    LockedDeb,
    LockedWheel,
    format_debs,
    format_wheels,
    parse_debs,
    parse_wanted,
    parse_wheels,
)
from atoll_cli.image.sources import Archives
from atoll_cli.image.store import Store, replace

WANTED_FILE: Final = "packages.in"
DEBS_FILE: Final = "packages.lock"
WHEELS_FILE: Final = "wheels.lock"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are."""

    locks: Path
    cache: Path
    mirror: str | None = None
    """URI of an archive of Debian; None: what this machine's apt has."""
    roots: Mapping[str, Path] | None = None
    """Folders of the packages `atoll` and `atoll_agent`; None: as they are installed."""


def default_cache(env: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/atoll`, or ~/.cache/atoll (XDG base directory specification 0.8)."""
    home = env.get("XDG_CACHE_HOME", "")
    # A relative one is to be ignored.
    base = Path(home) if home.startswith("/") else Path(env.get("HOME", "/")) / ".cache"
    return base / "atoll"


def build(places: Places, out: Path, say: Say) -> Built:
    """Build the image that the locks say, into the folder `out`.

    Raises:
        AtollError: `image.*`.
    """
    debs = parse_debs(_read(places.locks / DEBS_FILE))
    wheels = parse_wheels(_read(places.locks / WHEELS_FILE))
    store = Store(places.cache)
    _fetch(places, debs, wheels, store, say)
    built = assemble(
        Parts(
            debs=[(item, _stored(store, item.sha256)) for item in debs],
            wheels=[(item, _stored(store, item.sha256)) for item in wheels],
            agent=installed_agent_files(places.roots, distributions=()),
        )
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        # The description comes last: a folder that has one has all of what it describes.
        (out / DESCRIPTION_FILE).unlink(missing_ok=True)
        for name, raw in built.files.items():
            replace(out / name, raw)
    except OSError as error:
        raise ConfigError(
            f"{error.filename}: {error.strerror}", code="image.out", hint="--out names a folder"
        ) from error
    return built


def lock(places: Places, say: Say) -> tuple[tuple[LockedDeb, ...], tuple[LockedWheel, ...]]:
    """Take today's versions of Debian's packages, and the wheels of what is installed here.

    Wheels have the versions of this installation: what was tested is what goes in.

    Raises:
        AtollError: `image.*`.
    """
    wanted = parse_wanted(_read(places.locks / WANTED_FILE))
    say("asking the archive of Debian")
    debs = _debian(places).lock(wanted)
    say("asking the index of Python packages")
    wheels = pip.lock({name: metadata.version(name) for name in DISTRIBUTIONS})
    try:
        replace(places.locks / DEBS_FILE, format_debs(debs))
        replace(places.locks / WHEELS_FILE, format_wheels(wheels))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}", code="image.lock") from error
    return debs, wheels


def _fetch(
    places: Places,
    debs: tuple[LockedDeb, ...],
    wheels: tuple[LockedWheel, ...],
    store: Store,
    say: Say,
) -> None:
    missing = [package for package in debs if store.get(package.sha256) is None]
    if missing:
        say(f"fetching {len(missing)} of {len(debs)} packages of Debian")
        _debian(places).fetch(missing, store)
    lacking = [wheel for wheel in wheels if store.get(wheel.sha256) is None]
    if lacking:
        say(f"fetching {len(lacking)} of {len(wheels)} wheels")
        pip.fetch(lacking, store)


def _debian(places: Places) -> Debian:
    found = machine_archives() if places.mirror is None else Archives(main=places.mirror)
    return Debian(places.cache, found, keyring=machine_keyring())


def _stored(store: Store, sha256: str) -> bytes:
    raw = store.get(sha256)
    if raw is None:
        raise ConfigError("a package vanished from the cache", code="image.cache")
    return raw


def _read(path: Path) -> bytes:
    try:
        if os.path.getsize(path) > MAX_LOCK:  # noqa: PTH202
            raise ConfigError(f"{path} is over {MAX_LOCK} bytes", code="image.lock")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}",
            code="image.lock",
            hint="--lock names the folder with the locks; in a checkout it is infra/image",
        ) from error
