"""The object store (ADR-20) with our own transfer.

Layout: stream `OBJ_<bucket>`; chunks on `$O.<bucket>.C.<nuid>`, metadata on
`$O.<bucket>.M.<base64url name>`, so other tools list and read it. nats-py's transfer is
quadratic in `get` and waits for each chunk in `put`; ours keeps some megabytes in flight in
both directions and goes on after a reconnect.

The digest shows accidents, not attacks: the server can replace bytes and digest alike.
What lies here is sealed, and the seal is what is trusted.

Needs permission: put `$O.<bucket>.C.*`, `$O.<bucket>.M.*`, `$JS.API.STREAM.PURGE.OBJ_<bucket>`,
and after a lost connection or process `$JS.API.STREAM.MSG.DELETE.OBJ_<bucket>`; all of them what
`atoll.bus.stream` names, `$JS.API.DIRECT.GET.OBJ_<bucket>.>` and, on a
cluster, `$JS.API.STREAM.MSG.GET.OBJ_<bucket>`.
"""

import asyncio
import base64
import contextlib
import hashlib
import secrets
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Iterable,
    Mapping,
)
from datetime import UTC, datetime
from typing import Final

from atoll.bus import jetstream
from atoll.bus.connection import Bus
from atoll.bus.message import StreamMessage
from atoll.bus.object_info import MAX_NAME, ObjectInfo, to_json
from atoll.bus.stream import Reading, read
from atoll.bus.subjects import require_headers
from atoll.bus.upload import CHUNK_SIZE, Sent, StreamShelf, Told, send_all
from atoll.errors import (
    AtollError,
    ConflictError,
    InputError,
    NotFoundError,
    SealError,
)
from atoll.wire.names import require_token
from atoll.wire.topology_types import ObjectBucket

FETCH: Final = 6
"""Chunks asked for at a time; asked again when half of them arrived."""

CLEAN_UP_S: Final = 5.0


class ObjectStore:
    """One bucket."""

    def __init__(self, bus: Bus, bucket: ObjectBucket | str) -> None:
        self.bucket = require_token(bucket if isinstance(bucket, str) else bucket.name, "bucket")
        self._bus = bus
        self._stream = f"OBJ_{self.bucket}"

    async def put(
        self,
        name: str,
        chunks: AsyncIterable[bytes] | Iterable[bytes],
        *,
        chunk_size: int = CHUNK_SIZE,
        headers: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Store an object; it exists when this returns, and not before.

        Replaces an object of that name. Pieces may have any size; they are stored as
        chunks of `chunk_size`. On failure nothing of it stays.

        Raises:
            UnreachableError: the server was away for 60 s.
            RefusedError: `bus.full`.
            InputError: `bus.too_large`: the server does not take such chunks.
            ConflictError: `bus.conflict`: somebody else put this name meanwhile.
        """
        checked = require_headers(headers or {})
        before = await self._newest(name)
        nuid = secrets.token_hex(11)
        try:
            sent = await self._send(nuid, chunks, chunk_size)
            info = await self._describe(
                name, nuid, sent, chunk_size=chunk_size, headers=checked, before=before
            )
        except BaseException:
            await self._purge(nuid)
            raise
        if before is not None and not before.deleted:
            await self._purge(before.nuid)
        return info

    async def put_resumable(
        self,
        name: str,
        chunks: AsyncIterable[bytes] | Iterable[bytes],
        *,
        upload_id: str,
        told: Told | None = None,
    ) -> ObjectInfo:
        """Like `put`, but what is stored of the object stays when this fails.

        The next call with the same `upload_id`, which is a token of the caller's choice, must
        bring the same bytes from their beginning, and only the chunks that are not stored yet
        are sent. That they are the same is the caller's to know: stored ones are not read back.
        One call at a time for one id.

        Args:
            name: the object's name; nothing else may have it.
            chunks: pieces of any size.
            upload_id: what the chunks are stored under.
            told: called with the bytes that are stored now, and with how many of them were
                stored before this call.

        Raises:
            UnreachableError: the server was away for 60 s; `bus.data_lost`.
            RefusedError: `bus.full`.
            ConflictError: `bus.conflict`: the name belongs to another upload.
        """
        require_token(upload_id, "upload id")
        before = await self._newest(name)
        if before is not None and not before.deleted:
            if before.nuid == upload_id:
                return before
            raise ConflictError(f"there is another object {name!r}", code="bus.conflict")
        sent = await self._send(upload_id, chunks, CHUNK_SIZE, resumable=True, told=told)
        return await self._describe(
            name, upload_id, sent, chunk_size=CHUNK_SIZE, headers={}, before=before
        )

    async def stored(self, upload_id: str) -> tuple[int, int]:
        """How many chunks of an upload are stored in order, and where the last of them is; what
        lies out of order is erased."""
        subject = self._chunk_subject(require_token(upload_id, "upload id"))
        return await StreamShelf(self._bus, self._stream, subject).prefix()

    async def commit(
        self, name: str, *, upload_id: str, sent: Sent, headers: Mapping[str, str]
    ) -> ObjectInfo:
        """Make an object of an upload whose chunks somebody else stored; again changes nothing.

        Raises:
            ConflictError: `bus.conflict`: the name belongs to another upload; `bus.incomplete`:
                other chunks are stored than were sent.
        """
        before = await self._newest(name)
        if before is not None and not before.deleted:
            if before.nuid == upload_id:
                return before
            raise ConflictError(f"there is another object {name!r}", code="bus.conflict")
        stored, _ = await self.stored(upload_id)
        if stored != sent.chunks:
            raise ConflictError(
                f"{stored} chunks of the upload are stored, and it has {sent.chunks}",
                code="bus.incomplete",
            )
        return await self._describe(
            name,
            upload_id,
            sent,
            chunk_size=CHUNK_SIZE,
            headers=require_headers(dict(headers)),
            before=before,
        )

    async def chunk(self, info: ObjectInfo, after: int) -> StreamMessage | None:
        """The chunk of an object that follows the place `after`, or None."""
        subject = self._chunk_subject(info.nuid)
        return await jetstream.message_after(self._bus, self._stream, after + 1, subject)

    async def abandon(self, upload_id: str) -> None:
        """Erase what is stored of an upload that was never finished; nothing is no error."""
        subject = self._chunk_subject(require_token(upload_id, "upload id"))
        await jetstream.purge(self._bus, self._stream, subject)

    async def _describe(
        self,
        name: str,
        nuid: str,
        sent: Sent,
        *,
        chunk_size: int,
        headers: Mapping[str, str],
        before: ObjectInfo | None,
    ) -> ObjectInfo:
        """Make the object exist: its metadata comes after its last chunk."""
        meta = to_json(
            name=name,
            bucket=self.bucket,
            nuid=nuid,
            size=sent.size,
            chunks=sent.chunks,
            sha256=sent.sha256,
            chunk_size=chunk_size,
            headers=headers,
            mtime=datetime.now(UTC),
        )
        ack = await jetstream.publish(
            self._bus,
            self._meta_subject(name),
            meta,
            headers={"Nats-Rollup": "sub"},
            expected_last_subject_seq=0 if before is None else before.revision,
            stream=self._stream,
        )
        return ObjectInfo(
            name=name,
            bucket=self.bucket,
            nuid=nuid,
            size=sent.size,
            chunks=sent.chunks,
            digest=sent.sha256.hex(),
            mtime=datetime.now(UTC),
            headers=headers,
            revision=ack.seq,
        )

    async def get(self, name: str) -> tuple[ObjectInfo, AsyncGenerator[bytes, None]]:
        """The object's description, and its bytes in chunks.

        Bytes are handed out as they come. Only the end of the iteration without an
        error says that size, number of chunks and digest were right.

        Raises:
            NotFoundError: `bus.not_found`.
            SealError: from the iterator, `bus.object_corrupt`: not the bytes described.
        """
        info = await self.info(name)
        return info, self._receive(info)

    async def info(self, name: str) -> ObjectInfo:
        """The object's description.

        Raises:
            NotFoundError: `bus.not_found`.
        """
        info = await self._newest(name)
        if info is None or info.deleted:
            raise NotFoundError(f"no object {name!r} in {self.bucket}", code="bus.not_found")
        return info

    async def delete(self, name: str) -> None:
        """Erase the object's bytes and leave a mark that it is gone.

        Raises:
            NotFoundError: `bus.not_found`.
        """
        info = await self.info(name)
        meta = to_json(
            name=name,
            bucket=self.bucket,
            nuid=info.nuid,
            size=0,
            chunks=0,
            sha256=None,
            chunk_size=CHUNK_SIZE,
            headers={},
            mtime=datetime.now(UTC),
        )
        await jetstream.publish(
            self._bus,
            self._meta_subject(name),
            meta,
            headers={"Nats-Rollup": "sub"},
            expected_last_subject_seq=info.revision,
            stream=self._stream,
        )
        await jetstream.purge(self._bus, self._stream, self._chunk_subject(info.nuid))

    async def list(self) -> list[ObjectInfo]:
        """Every object of the bucket, by name."""
        reading = Reading(
            stream=self._stream, filter=f"$O.{self.bucket}.M.>", deliver="last_per_subject"
        )
        newest: dict[str, ObjectInfo] = {}
        async for message in read(self._bus, reading):
            newest[message.subject] = ObjectInfo.parse(message)
        found = [info for info in newest.values() if not info.deleted]
        return sorted(found, key=lambda info: info.name)

    async def _send(
        self,
        nuid: str,
        chunks: AsyncIterable[bytes] | Iterable[bytes],
        chunk_size: int,
        *,
        resumable: bool = False,
        told: Told | None = None,
    ) -> Sent:
        subject = self._chunk_subject(nuid)
        shelf = StreamShelf(self._bus, self._stream, subject)
        return await send_all(
            self._bus,
            subject,
            shelf,
            chunks,
            chunk_size=chunk_size,
            resumable=resumable,
            told=told,
        )

    async def _receive(self, info: ObjectInfo) -> AsyncGenerator[bytes, None]:
        digest, size, count = hashlib.sha256(), 0, 0
        reading = Reading(
            stream=self._stream,
            filter=self._chunk_subject(info.nuid),
            batch=FETCH,
            low_water=FETCH // 2,
            max_bytes=0,
        )
        async with contextlib.aclosing(read(self._bus, reading)) as messages:
            async for message in messages:
                count += 1
                size += len(message.payload)
                if count > info.chunks or size > info.size:
                    break
                digest.update(message.payload)
                yield message.payload
        if (size, count, digest.hexdigest()) != (info.size, info.chunks, info.digest):
            raise SealError(
                f"object {info.name!r} in {self.bucket}: {count} chunks, {size} bytes, SHA-256 "
                f"{digest.hexdigest()}; described as {info.chunks}, {info.size}, {info.digest}",
                code="bus.object_corrupt",
            )

    async def _newest(self, name: str) -> ObjectInfo | None:
        message = await jetstream.leaders_message(self._bus, self._stream, self._meta_subject(name))
        if message is None:
            return None
        info = ObjectInfo.parse(message)
        if info.name != name:
            raise SealError(
                f"object {name!r} in {self.bucket} is described as {info.name!r}",
                code="bus.object_corrupt",
            )
        return info

    async def _purge(self, nuid: str) -> None:
        """Best effort: what stays wastes space and is never read."""
        with contextlib.suppress(AtollError, TimeoutError):
            async with asyncio.timeout(CLEAN_UP_S):
                await jetstream.purge(self._bus, self._stream, self._chunk_subject(nuid))

    def _chunk_subject(self, nuid: str) -> str:
        return f"$O.{self.bucket}.C.{nuid}"

    def _meta_subject(self, name: str) -> str:
        if not 1 <= len(name) <= MAX_NAME:
            raise InputError(f"object name of {len(name)} characters", code="bus.key")
        encoded = base64.urlsafe_b64encode(name.encode()).decode()
        return f"$O.{self.bucket}.M.{encoded}"
