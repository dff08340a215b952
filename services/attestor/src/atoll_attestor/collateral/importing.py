"""Collateral from a directory, read at the start and again whenever it changes.

`*.crl`, `*.der`, `*.pem`, `*.json` (TCB info and QE identity as Intel serves them). What is of
no use is logged and does no harm.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from atoll.errors import AtollError, ConfigError
from atoll_attestor import files
from atoll_attestor.collateral.cache import CrlCache, record_of
from atoll_attestor.collateral.pairing import Candidate, sort
from atoll_attestor.collateral.store import DocumentStore

SUFFIXES: Final = frozenset({".crl", ".der", ".json", ".pem"})
MAX_FILES: Final = 512
LOOK_S: Final = 10.0

_log = logging.getLogger(__name__)

Snapshot = tuple[tuple[str, int, int], ...]


async def import_directory(crls: CrlCache, store: DocumentStore, directory: Path) -> int:
    """Offer everything in a directory; how much of it was newer.

    Raises:
        ConfigError: the directory or a file cannot be read.
    """
    found = sort(await asyncio.to_thread(_read, directory))
    for name, why in found.useless.items():
        _log.error("%s is of no use: %s", directory / name, why)
    taken = 0
    for name, raw in found.amd_lists:
        offers = [lambda ark=ark, raw=raw: crls.offer(record_of(raw, ark)) for ark in found.roots]
        taken += await _first(directory / name, offers)
    for name, ways in zip(found.names, found.candidates, strict=True):
        taken += await _first(directory / name, [_offer(store, way) for way in ways])
    return taken


async def follow_directory(
    crls: CrlCache,
    store: DocumentStore,
    directory: Path,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Import again when a file is added or replaced; for ever."""
    known = await asyncio.to_thread(_look, directory)
    while True:
        await pause(LOOK_S)
        seen = await asyncio.to_thread(_look, directory)
        if seen == known:
            continue
        known = seen
        try:
            taken = await import_directory(crls, store, directory)
            _log.info("%s has changed: %d newer", directory, taken)
        except AtollError as error:
            _log.error("%s is not read: %s", directory, error.message)


def _offer(store: DocumentStore, way: Candidate) -> Callable[[], Awaitable[bool]]:
    return lambda: store.offer(way.body, way.chain)


async def _first(path: Path, offers: Sequence[Callable[[], Awaitable[bool]]]) -> bool:
    """The first that is believed; whether it was newer."""
    why = "the certificates of its signer are not beside it"
    for offer in offers:
        try:
            return await offer()
        except AtollError as error:
            why = error.message
    _log.error("%s is not taken: %s", path, why)
    return False


def _read(directory: Path) -> dict[str, bytes]:
    return {path.name: files.read(path) for path in _paths(directory)}


def _look(directory: Path) -> Snapshot:
    try:
        stats = [(path.name, path.stat()) for path in _paths(directory)]
    except (OSError, ConfigError):
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _paths(directory: Path) -> list[Path]:
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES)
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror}", code="config.unreadable") from error
    if len(paths) > MAX_FILES:
        raise ConfigError(
            f"{directory} has {len(paths)} files, at most {MAX_FILES}", code="config.invalid"
        )
    return paths
