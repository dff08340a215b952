"""From what a run left behind to what leaves the enclave: a sealed archive, a record, a receipt."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from atoll import version
from atoll.errors import InputError
from atoll.framing import commitment
from atoll.receipt.statement import (
    AlgorithmRef,
    DatasetRef,
    PartyRef,
    Receipt,
    Resources,
    ResultsRef,
    rfc3339,
    round_up_ms,
)
from atoll.receipt.verify import make_receipt
from atoll.sealing.archive import (
    EXIT,
    RESULTS,
    STDERR,
    STDOUT,
    ArchiveEntry,
    ExitRecord,
    require_path,
)
from atoll.sealing.archive import write_archive as archive_pieces
from atoll.sealing.asset import seal_chunks
from atoll.sealing.release import ReleasedKey
from atoll.sealing.result import ResultContext, make_result
from atoll.sealing.stream import AssetSecrets
from atoll.sealing.tar import MAX_FILE_SIZE
from atoll.telemetry import names as spans
from atoll.telemetry.tracing import Tracer
from atoll.wire import schema
from atoll.wire.messages import Reason
from atoll_agent.assignment import Task
from atoll_agent.bus_ports import EnclaveBus
from atoll_agent.enclave import EnclaveKeys, Evidence
from atoll_agent.sandbox.outcome import Kind, Outcome
from atoll_agent.sandbox.workspace import Workspace

PIECE: Final = 524_272
"""Bytes read at once: the content of one sealed chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A run whose sealed result is uploaded; record and receipt are still to be stored."""

    result: bytes = field(repr=False)
    receipt: bytes = field(repr=False)
    reason: Reason | None
    """None when the guest succeeded; else a code and a fixed sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sealed:
    """What is known once the archive went out."""

    secrets: AssetSecrets = field(repr=False)
    commitment: bytes
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeWriter:
    """Packs, seals, uploads and signs for one task."""

    task: Task
    keys: EnclaveKeys
    evidence: Evidence
    bus: EnclaveBus
    tracer: Tracer
    random: Callable[[int], bytes]

    async def write(
        self, workspace: Workspace, outcome: Outcome, started: datetime, finished: datetime
    ) -> Finished:
        """Seal and upload everything the run left, and sign for it.

        A failed run is packed as well: its outputs and its exit code are the consumers'.

        Raises:
            UnreachableError: the bus did not take the result.
            RefusedError: `bus.full`.
            SealError: a consumer's HPKE key is none.
        """
        outcome = packable(outcome)
        with self.tracer.span(spans.UPLOAD_RESULT):
            sealed = await self._upload(workspace, outcome)
        with self.tracer.span(spans.SEAL_RESULT):
            record = make_result(
                self.keys.signing,
                context=ResultContext(
                    job_id=self.task.job_id,
                    attempt=self.task.attempt,
                    manifest_digest=self.task.manifest_digest,
                    evidence_digest=self.evidence.digest,
                ),
                asset_id=sealed.secrets.asset_id,
                size=sealed.size,
                archive_commitment=sealed.commitment,
                key=ReleasedKey(content_key=sealed.secrets.content_key, salt=sealed.secrets.salt),
                consumers=self._consumers(),
            )
        with self.tracer.span(spans.SIGN_RECEIPT):
            receipt = make_receipt(
                self._receipt(outcome, sealed, started, finished),
                key=self.keys.signing,
                evidence=self.evidence.raw,
            )
        reason = None
        if not outcome.succeeded:
            reason = Reason(code=outcome.code, message=outcome.message)
        return Finished(result=schema.encode(record), receipt=receipt, reason=reason)

    async def _upload(self, workspace: Workspace, outcome: Outcome) -> _Sealed:
        secrets = AssetSecrets.generate(self.random)
        plain, cipher = hashlib.sha256(), hashlib.sha256()
        pieces = _hashed(archive_pieces(archive_entries(workspace, outcome)), plain)
        chunks = seal_chunks(
            secrets.content_key, pieces, asset_id=secrets.asset_id, prefix=secrets.prefix
        )
        info = await self.bus.upload_result(secrets.asset_id.hex(), _hashed(chunks, cipher))
        return _Sealed(
            secrets=secrets,
            commitment=commitment(secrets.salt, plain.digest()),
            sha256=cipher.hexdigest(),
            size=info.size,
        )

    def _consumers(self) -> dict[str, bytes]:
        parties = self.task.manifest.parties
        # A manifest with a consumer that has no HPKE key does not exist (`Manifest`).
        return {
            name: key
            for name in self.task.manifest.consumers
            if (key := parties[name].hpke_key) is not None
        }

    def _receipt(
        self, outcome: Outcome, sealed: _Sealed, started: datetime, finished: datetime
    ) -> Receipt:
        manifest = self.task.manifest
        limits, used = manifest.limits, outcome.used
        return Receipt(
            job_id=self.task.job_id,
            attempt=self.task.attempt,
            manifest_digest=self.task.manifest_digest.hex(),
            evidence_digest=self.evidence.digest.hex(),
            parties=self._parties(),
            algorithm=AlgorithmRef(
                kind=manifest.algorithm.kind.value,
                commitment=manifest.algorithm.asset.commitment,
            ),
            datasets=tuple(
                DatasetRef(name=name, commitment=asset.commitment)
                for name, asset in sorted(manifest.datasets.items())
            ),
            invocation_commitment=manifest.invocation.commitment,
            results=ResultsRef(
                commitment=sealed.commitment.hex(), sha256=sealed.sha256, size=sealed.size
            ),
            outcome=outcome.code,
            # Receipts are open. An exit code other than 0 can say what the guest likes,
            # so it stands only in the sealed archive, to which the receipt commits.
            exit_code=0 if outcome.succeeded else None,
            limits=Resources(
                wall_ms=limits.wall_s * 1000,
                fuel=limits.fuel or None,
                memory_bytes=limits.memory_bytes,
                output_bytes=limits.output_bytes,
                output_files=limits.output_files,
            ),
            used=Resources(
                wall_ms=round_up_ms(used.wall_ms),
                fuel=None,
                # Rounded, for the receipt is open and the guest chooses how much it takes.
                memory_bytes=power_of_two(used.memory_bytes or 0),
                output_bytes=used.output_bytes,
                output_files=used.output_files,
            ),
            started=rfc3339(_milliseconds(started)),
            finished=rfc3339(_milliseconds(finished)),
            previous=manifest.previous,
            agent_version=version.VERSION,
        )

    def _parties(self) -> tuple[PartyRef, ...]:
        manifest = self.task.manifest
        roles: dict[str, set[str]] = {name: set() for name in manifest.parties}
        roles[manifest.algorithm.asset.provider].add("algorithm-provider")
        roles[manifest.invocation.provider].add("invocation-provider")
        for asset in manifest.datasets.values():
            roles[asset.provider].add("data-provider")
        for consumer in manifest.consumers:
            roles[consumer].add("result-consumer")
        return tuple(
            PartyRef(
                name=name,
                signing_key=manifest.parties[name].signing_key.hex(),
                roles=tuple(sorted(held)) or ("party",),
            )
            for name, held in sorted(roles.items())
        )


def packable(outcome: Outcome) -> Outcome:
    """`outcome`, without its results and as a failure if they do not fit the archive.

    The archive takes every name that the sandbox lets pass; should the two ever differ, and
    for files over the archive's limit, the job fails like for any output that is not legal.
    """
    kind = None
    for file in outcome.results:
        try:
            require_path(RESULTS + file.name)
        except InputError:
            kind = Kind.OUTPUT_NAMES
            break
        if file.size > MAX_FILE_SIZE:
            kind = Kind.OUTPUT_LIMIT
            break
    return outcome if kind is None else replace(outcome, kind=kind, exit_code=None, results=())


def archive_entries(workspace: Workspace, outcome: Outcome) -> Iterator[ArchiveEntry]:
    """What a run left, as the entries of the result archive."""
    record = ExitRecord(exit_code=outcome.exit_code, outcome=outcome.code)
    yield ArchiveEntry.of(EXIT, record.to_bytes())
    for name, path in ((STDOUT, workspace.stdout), (STDERR, workspace.stderr)):
        yield ArchiveEntry(name=name, size=path.stat().st_size, chunks=partial(_read, path))
    for file in outcome.results:
        path = workspace.results / file.name
        yield ArchiveEntry(name=RESULTS + file.name, size=file.size, chunks=partial(_read, path))


def power_of_two(size: int) -> int:
    """The smallest power of two that is not below `size`; 0 for 0."""
    return 1 << (size - 1).bit_length() if size else 0


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _hashed(pieces: Iterator[bytes], seen: "hashlib._Hash") -> Iterator[bytes]:
    for piece in pieces:
        seen.update(piece)
        yield piece


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
