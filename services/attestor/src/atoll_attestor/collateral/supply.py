"""Where collateral comes from here: the bucket, a directory, and services that are allowed."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll_attestor.collateral.cache import CrlCache, keep_fresh
from atoll_attestor.collateral.fetch import Fetcher
from atoll_attestor.collateral.importing import follow_directory, import_directory
from atoll_attestor.collateral.kds import Kds
from atoll_attestor.collateral.pcs import Pcs
from atoll_attestor.collateral.store import PATTERNS, DocumentStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What an operator allows. An empty URL: it is never asked."""

    directory: Path | None
    kds_url: str
    pcs_url: str
    root_crl_url: str
    platforms: tuple[bytes, ...]
    refresh_s: float

    @property
    def bases(self) -> list[str]:
        """Below these URLs something may be fetched."""
        root_crl = self.root_crl_url.rpartition("/")[0]
        return [url for url in (self.kds_url, self.pcs_url, root_crl) if url]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The caches and what fills them."""

    crls: CrlCache
    store: DocumentStore
    fetcher: Fetcher
    sources: Sources

    @property
    def kds(self) -> Kds | None:
        """AMD's service, if it may be asked."""
        if not self.sources.kds_url:
            return None
        return Kds(fetcher=self.fetcher, store=self.store, base=self.sources.kds_url)

    async def load(self) -> None:
        """Take what the bucket and the directory hold.

        Raises:
            ConfigError: the directory or a file in it cannot be read.
            UnreachableError: the bus.
        """
        await self.crls.load()
        await self.store.load()
        if self.sources.directory is not None:
            await import_directory(self.crls, self.store, self.sources.directory)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What keeps it up to date; each for ever."""
        of, every_s = self.sources, self.sources.refresh_s
        loops = [self.crls.follow(), *(self.store.follow(pattern) for pattern in PATTERNS)]
        if of.directory is not None:
            loops.append(follow_directory(self.crls, self.store, of.directory))
        if (kds := self.kds) is not None:
            loops.append(keep_fresh(self.crls, self.fetcher, of.kds_url, every_s))
            loops.append(repeat(kds.refresh, every_s))
        if of.pcs_url:
            pcs = Pcs(
                fetcher=self.fetcher,
                store=self.store,
                base=of.pcs_url,
                root_crl_url=of.root_crl_url,
            )
            loops.append(repeat(lambda: pcs.refresh(of.platforms), every_s))
        return loops


async def repeat(
    task: Callable[[], Awaitable[None]],
    every_s: float,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Do it now and then; for ever."""
    while True:
        await task()
        await pause(every_s)
