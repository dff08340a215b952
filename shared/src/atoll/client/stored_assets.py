"""Sealed assets at a gateway: chunks straight to the bus, the rest by request.

What is stored of an upload only its gateway can look at; chunks are many, requests few.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from atoll.bus import Bus
from atoll.bus.upload import Sent, Told, send_all
from atoll.errors import NotFoundError
from atoll.wire import endpoints, topology
from atoll.wire.assets import (
    AssetEraseRequest,
    AssetPutRequest,
    AssetRequest,
    AssetView,
    UploadRequest,
)

Ask = Callable[..., Awaitable[Any]]
"""`AtollClient.ask`."""

_CHUNKS: Final = f"$O.{topology.ASSETS.name}.C."


class _Shelf:
    """What the gateway says of an upload."""

    def __init__(self, ask: Ask, upload_id: str) -> None:
        self._ask = ask
        self._request = UploadRequest(upload_id=upload_id)

    async def prefix(self) -> tuple[int, int]:
        state = await self._ask(endpoints.ASSET_STORED, self._request)
        return state.chunks, state.last

    async def last(self) -> int:
        _, last = await self.prefix()
        return last


class StoredAssets:
    """The assets of the tenant that the login is of."""

    def __init__(self, bus: Bus, ask: Ask) -> None:
        self._bus = bus
        self._ask = ask

    async def put(
        self,
        asset_id: str,
        chunks: Iterable[bytes],
        *,
        upload_id: str,
        resumable: bool,
        told: Told | None = None,
    ) -> AssetView:
        """Store what is not stored yet under `upload_id`, and make the asset of it.

        Raises:
            UnreachableError: the server was away for 60 s; `bus.data_lost`.
            RefusedError: `bus.full`.
            ConflictError: `asset.exists`, `bus.incomplete`.
        """
        sent = await send_all(
            self._bus,
            _CHUNKS + upload_id,
            _Shelf(self._ask, upload_id),
            chunks,
            resumable=resumable,
            told=told,
        )
        return await self._put(asset_id, upload_id, sent)

    async def _put(self, asset_id: str, upload_id: str, sent: Sent) -> AssetView:
        request = AssetPutRequest(
            asset_id=asset_id,
            upload_id=upload_id,
            size=sent.size,
            chunks=sent.chunks,
            sha256=sent.sha256.hex(),
        )
        view: AssetView = await self._ask(endpoints.ASSET_PUT, request)
        return view

    async def get(self, asset_id: str) -> AssetView | None:
        """What is stored under this id, or None."""
        try:
            view: AssetView = await self._ask(endpoints.ASSET, AssetRequest(asset_id=asset_id))
        except NotFoundError:
            return None
        return view

    async def erase(self, asset_id: str, upload_id: str | None) -> bool:
        """Erase it, and what is stored of the upload; whether it was there as a whole."""
        request = AssetEraseRequest(asset_id=asset_id, upload_id=upload_id)
        erased = await self._ask(endpoints.ASSET_ERASE, request)
        return bool(erased.found)
