"""Putting an asset: sealed under one key for good, sent once, continued after any interruption.

The recipe:

1. everything is read, and its size and digest are known (`asset_source.survey`)
2. the record is on the disk before anything is sealed, and holds digest and secrets
3. what is not that plaintext is refused; its key seals nothing else, ever
4. the same plaintext under the same secrets is the same sealed asset, so chunks that the bus has
   already are skipped, and the rest is sent
5. the record says that it is stored, after the bus said so
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from atoll.client.asset_record import AssetRecord, AssetState
from atoll.client.asset_source import Source, Survey, changed, unchanged
from atoll.client.asset_store import AssetStore
from atoll.client.connection import AtollClient
from atoll.errors import ConflictError, RefusedError
from atoll.sealing.asset import seal_chunks
from atoll.telemetry import names as spans


class PutOutcome(Enum):
    UPLOADED = "uploaded"
    CONTINUED = "continued"
    """A part of it had been stored by an earlier attempt."""
    PRESENT = "present"
    """All of it was there; nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """How a put ended. `record` is what is kept now."""

    record: AssetRecord
    outcome: PutOutcome
    kept: int
    """Sealed bytes that the bus had before."""
    sent: int
    """Sealed bytes that were sent now."""


def require_same(record: AssetRecord, source: Source, found: Survey, *, provider: str) -> None:
    """Return if this source is the plaintext of the record (step 3).

    Raises:
        InputError: `asset.changed`: it is another one, and the asset was begun and not stored.
        RefusedError: `asset.exists`: the name belongs to another asset.
    """
    same = (record.kind, record.size, record.sha256) == (source.kind, found.size, found.sha256)
    if not same and record.state is AssetState.UPLOADING:
        raise changed(
            f"{source.path} is not what the upload of {record.name!r} began with: SHA-256 "
            f"{found.sha256}, and it was {record.sha256}"
        )
    if not same or record.provider != provider:
        what = "other content" if not same else f"the provider {record.provider!r}"
        raise RefusedError(
            f"there is an asset {record.name!r} already, with {what}",
            code="asset.exists",
            hint="choose another name with --name, or give the old one up with --replace",
        )


async def put(
    client: AtollClient,
    store: AssetStore,
    record: AssetRecord,
    source: Source,
    known: Survey,
    *,
    remote: str,
    told: Callable[[int, int], None] = lambda _now, _before: None,
) -> Put:
    """Send what the bus does not have yet (steps 4 and 5). `record` is on the disk already, and
    the caller holds its lock.

    Args:
        client: the bus.
        store: where the record is kept.
        record: whose secrets it is sealed under.
        source: where the plaintext is.
        known: what `source` was when it was read just now.
        remote: the address of the bus, for the record.
        told: called with the sealed bytes that are stored now, and with how many of them were
            stored before.

    Raises:
        InputError: `asset.changed`; what reading raises.
        ConflictError: `asset.other_object`: the bus has something else under this id.
        UnreachableError: what was sent stays, and the next `put` goes on behind it.
        RefusedError: `bus.full`.
    """
    if (record.size, record.sha256) != (known.size, known.sha256):
        raise changed(f"{source.path} is not the content of the asset {record.name!r}")
    stored = await client.asset(record.asset_id)
    before = 0
    if stored is None:
        if record.state is AssetState.STORED or record.remote != remote:
            # Lost there, or another bus: what happens now can be interrupted as well.
            record = replace(record, state=AssetState.UPLOADING, remote=remote)
            store.save(record)

        def counted(now: int, kept: int) -> None:
            nonlocal before
            before = kept
            told(now, kept)

        with client.tracer.span(spans.UPLOAD_ASSET):
            chunks = seal_chunks(
                record.content_key,
                unchanged(source.pieces(), known),
                asset_id=record.secrets.asset_id,
                prefix=record.prefix,
            )
            info = await client.upload_resumable(record.asset_id, record.upload_id, chunks, counted)
        outcome = PutOutcome.CONTINUED if before else PutOutcome.UPLOADED
    else:
        info, before, outcome = stored, stored.size, PutOutcome.PRESENT
    if info.size != record.sealed_size:
        raise ConflictError(
            f"the bus has {info.size} bytes as asset {record.asset_id}, and it has "
            f"{record.sealed_size}",
            code="asset.other_object",
            hint=f"`atoll asset delete {record.name}` and put it again",
        )
    done = replace(record, state=AssetState.STORED, remote=remote)
    if done != record:
        store.save(done)
    return Put(record=done, outcome=outcome, kept=before, sent=info.size - before)
