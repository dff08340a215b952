"""AMD's revocation lists in the bucket `collateral`, shared by all replicas.

They come from a directory (`importing`), and from AMD's key distribution service (AMD
57230, section 4): `/vcek/v1/<product>/cert_chain` and `/vcek/v1/<product>/crl`, when the
operator allows its URL.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from atoll.bus import Bus, KeyValue
from atoll.errors import AtollError, EvidenceError, MessageError
from atoll.evidence.products import Product
from atoll.evidence.trust import TrustStore
from atoll.wire import schema, topology
from atoll.wire.messages import MAX_CRL, CrlRecord
from atoll_attestor.collateral.crls import KnownCrl, roots_in, verified
from atoll_attestor.collateral.fetch import Fetcher

GENUINE: Final = (Product.MILAN, Product.GENOA, Product.TURIN)

_KEYS: Final = "crl.*"

_log = logging.getLogger(__name__)


class CrlCache:
    """The newest list of each product. What is in it is authentic; it may have expired."""

    def __init__(self, bus: Bus, trust: TrustStore) -> None:
        self._kv = KeyValue(bus, topology.COLLATERAL)
        self._trust = trust
        self._known: dict[Product, KnownCrl] = {}

    @property
    def known(self) -> Mapping[Product, KnownCrl]:
        return MappingProxyType(self._known)

    async def load(self) -> None:
        """Take what the bucket holds. Raises: UnreachableError."""
        for entry in await self._kv.entries(_KEYS):
            self._use(entry.key, entry.value)

    async def follow(self) -> None:
        """Take what any replica puts there; for ever."""
        async with aclosing(self._kv.watch(_KEYS)) as entries:
            async for entry in entries:
                self._use(entry.key, entry.value)

    async def offer(self, record: CrlRecord) -> bool:
        """Keep a list if it is newer than the one that is there; whether it was.

        Raises:
            EvidenceError: it is not what a trusted root signed.
        """
        found = verified(record, self._trust)
        key = f"crl.{found.product.value}"
        entry = await self._kv.get(key)
        self._use(key, entry.value if entry else None)
        before = self._known.get(found.product)
        if before is not None and found.order <= before.order:
            return False
        raw = schema.encode(record)
        if entry is None:
            await self._kv.create(key, raw)
        else:
            await self._kv.update(key, raw, revision=entry.revision)
        self._use(key, raw)
        return True

    def _use(self, key: str, raw: bytes | None) -> None:
        if raw is None:
            return
        try:
            found = verified(schema.decode(CrlRecord, raw), self._trust)
        except (EvidenceError, MessageError) as error:
            _log.error("collateral %s is not used: %s", key, error.message)
            return
        before = self._known.get(found.product)
        if before is None or found.order > before.order:
            self._known[found.product] = found


async def refresh(cache: CrlCache, fetcher: Fetcher, base: str) -> None:
    """Fetch the list of every product once; what fails is logged and stays as it was."""
    for product in GENUINE:
        try:
            await fetch_crl(cache, fetcher, base, product)
        except AtollError as error:
            _log.warning("no new CRL of %s: %s (%s)", product.value, error.message, error.code)


async def fetch_crl(cache: CrlCache, fetcher: Fetcher, base: str, product: Product) -> None:
    """Fetch the list of one product; raises what `Fetcher.get` and `CrlCache.offer` raise."""
    place = f"{base.rstrip('/')}/vcek/v1/{product.value}"
    ark = roots_in(await fetcher.get(f"{place}/cert_chain")).get(product, b"")
    newer = await cache.offer(record_of(await fetcher.get(f"{place}/crl"), ark))
    _log.info("CRL of %s: %s", product.value, "a newer one" if newer else "as before")


async def keep_fresh(
    cache: CrlCache,
    fetcher: Fetcher,
    base: str,
    every_s: float,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """`refresh` now and then; for ever."""
    while True:
        await refresh(cache, fetcher, base)
        await pause(every_s)


def record_of(crl: bytes, ark: bytes) -> CrlRecord:
    """A list as the bucket holds it. Raises: MessageError: a size that cannot be."""
    if len(crl) > MAX_CRL:
        raise MessageError(f"CRL is {len(crl)} bytes, at most {MAX_CRL}")
    record = CrlRecord(crl=crl, ark=ark, fetched_ms=time.time_ns() // 1_000_000)
    return schema.decode(CrlRecord, schema.encode(record))
