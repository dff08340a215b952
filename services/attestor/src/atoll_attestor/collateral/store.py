"""Verified documents in the bucket `collateral`, shared by all replicas."""

import logging
import time
from collections.abc import Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Final

from atoll.bus import Bus, KeyValue
from atoll.errors import EvidenceError, MessageError, RefusedError
from atoll.evidence.trust import TrustStore
from atoll.wire import schema, topology
from atoll.wire.verification import MAX_CHAIN, MAX_COLLATERAL, CollateralRecord
from atoll_attestor.collateral.documents import Document, read

MAX_DOCUMENTS: Final = 4096
PATTERNS: Final = ("amd.>", "intel.>")
"""What a replica follows."""

_log = logging.getLogger(__name__)


class DocumentStore:
    """The newest document of each key. What is in it is authentic; it may have expired."""

    def __init__(self, bus: Bus, trust: TrustStore) -> None:
        self._kv = KeyValue(bus, topology.COLLATERAL)
        self._trust = trust
        self._known: dict[str, Document] = {}

    @property
    def known(self) -> Mapping[str, Document]:
        return MappingProxyType(self._known)

    async def load(self) -> None:
        """Take what the bucket holds. Raises: UnreachableError."""
        for pattern in PATTERNS:
            for entry in await self._kv.entries(pattern):
                self._use(entry.key, entry.value)

    async def follow(self, pattern: str) -> None:
        """Take what any replica puts under a pattern of `PATTERNS`; for ever."""
        async with aclosing(self._kv.watch(pattern)) as entries:
            async for entry in entries:
                self._use(entry.key, entry.value)

    async def offer(self, body: bytes, chain: bytes, *, want: str | None = None) -> bool:
        """Keep a document if it is newer than the one that is there; whether it was.

        Args:
            body: as the vendor serves it.
            chain: certificates of its signer.
            want: the key that it must be for, if that was asked for.

        Raises:
            MessageError: it is too large.
            EvidenceError: it is not what a trusted root signed.
            RefusedError: `collateral.other`: it is for another key than was asked for;
                `collateral.full`.
            ConflictError: another replica offered one at the same moment.
        """
        if not 1 <= len(body) <= MAX_COLLATERAL or len(chain) > MAX_CHAIN:
            raise MessageError(
                f"collateral of {len(body)} bytes with a chain of {len(chain)}, "
                f"want at most {MAX_COLLATERAL} and {MAX_CHAIN}"
            )
        found = read(body, chain, self._trust)
        if want is not None and found.key != want:
            raise RefusedError(f"asked for {want}, got {found.key}", code="collateral.other")
        entry = await self._kv.get(found.key)
        self._use(found.key, entry.value if entry else None)
        before = self._known.get(found.key)
        if before is not None and found.order <= before.order:
            return False
        if before is None and len(self._known) >= MAX_DOCUMENTS:
            raise RefusedError(f"{MAX_DOCUMENTS} documents are kept", code="collateral.full")
        now = time.time_ns() // 1_000_000
        raw = schema.encode(CollateralRecord(body=body, chain=chain, fetched_ms=now))
        if entry is None:
            await self._kv.create(found.key, raw)
        else:
            await self._kv.update(found.key, raw, revision=entry.revision)
        self._use(found.key, raw)
        return True

    def _use(self, key: str, raw: bytes | None) -> None:
        if raw is None:
            return
        try:
            record = schema.decode(CollateralRecord, raw)
            found = read(record.body, record.chain, self._trust)
        except (EvidenceError, MessageError) as error:
            _log.error("collateral %s is not used: %s", key, error.message)
            return
        if found.key != key:
            _log.error("collateral %s is not used: it is %s", key, found.key)
            return
        before = self._known.get(key)
        if before is None or found.order > before.order:
            self._known[key] = found
