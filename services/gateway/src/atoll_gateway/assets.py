"""Sealed assets of tenants: each asset is of the tenant that put it, and there for no other.

Its tenant stands in the description that the bucket has of it, which gateways alone write.
Enclaves read every asset: they are told by a manifest which, and opened by a release.
"""

from typing import Final

from atoll.bus import Bus, ObjectInfo, ObjectStore
from atoll.bus.upload import Sent
from atoll.errors import ConflictError, NotFoundError
from atoll.wire import topology
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.assets import (
    AssetErased,
    AssetEraseRequest,
    AssetPutRequest,
    AssetRequest,
    AssetView,
    UploadRequest,
    UploadState,
)
from atoll_gateway.caller import Caller

TENANT_HEADER: Final = "atoll-tenant"


class AssetDesk:
    """What clients of a tenant may ask about its assets."""

    def __init__(self, bus: Bus) -> None:
        self._store = ObjectStore(bus, topology.ASSETS)

    async def get(self, request: AssetRequest, caller: Caller) -> AssetView:
        """Raises: NotFoundError `asset.not_found`."""
        info = await self._info(request.asset_id)
        if info is None or not caller.sees(tenant_of(info)):
            raise no_asset(request.asset_id)
        return _view(request.asset_id, info)

    async def stored(self, request: UploadRequest, caller: Caller) -> UploadState:
        """How far an upload is. Who knows its id has made it."""
        del caller
        chunks, last = await self._store.stored(request.upload_id)
        return UploadState(chunks=chunks, last=last)

    async def put(self, request: AssetPutRequest, caller: Caller) -> AssetView:
        """Make an asset of the tenant of what was uploaded.

        Raises:
            ConflictError: `asset.exists`: something else has this id; `bus.incomplete`.
        """
        sent = Sent(size=request.size, chunks=request.chunks, sha256=bytes.fromhex(request.sha256))
        info = await self._info(request.asset_id)
        if info is not None and (
            info.nuid != request.upload_id or tenant_of(info) != caller.tenant
        ):
            raise ConflictError(
                f"asset {request.asset_id} exists with other content",
                code="asset.exists",
                hint="seal again: every sealing draws a fresh id",
            )
        stored = await self._store.commit(
            request.asset_id,
            upload_id=request.upload_id,
            sent=sent,
            headers={TENANT_HEADER: caller.tenant},
        )
        return _view(request.asset_id, stored)

    async def erase(self, request: AssetEraseRequest, caller: Caller) -> AssetErased:
        """Erase an asset of the tenant, and what lies of an upload. Nothing is no error."""
        info = await self._info(request.asset_id)
        found = info is not None and caller.sees(tenant_of(info))
        if found:
            await self._store.delete(request.asset_id)
        if request.upload_id is not None and (info is None or info.nuid != request.upload_id):
            await self._store.abandon(request.upload_id)
        return AssetErased(found=found)

    async def _info(self, asset_id: str) -> ObjectInfo | None:
        try:
            return await self._store.info(asset_id)
        except NotFoundError:
            return None


def tenant_of(info: ObjectInfo) -> str:
    """Whose asset it is."""
    return info.headers.get(TENANT_HEADER, DEFAULT_TENANT)


def no_asset(asset_id: str) -> NotFoundError:
    """It does not exist, or not for the one who asks."""
    return NotFoundError(f"there is no asset {asset_id}", code="asset.not_found")


def _view(asset_id: str, info: ObjectInfo) -> AssetView:
    return AssetView(asset_id=asset_id, size=info.size, sha256=info.digest)
