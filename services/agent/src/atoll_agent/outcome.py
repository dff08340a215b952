"""From what the steps left to what leaves the enclave: sealed archives, records, a receipt.

Each output is an archive of its own, sealed under a fresh key that is wrapped to its consumers.
What an output's policy does not allow stays inside; the archive then says so and holds nothing
else, and the receipt says the same.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from atoll import version
from atoll.computation.outputs import Breach, Output, breach, looks_inside, type_breach
from atoll.computation.steps import behind
from atoll.errors import InputError
from atoll.framing import commitment
from atoll.receipt.statement import OutputRef
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
from atoll.sealing.result import ResultContext, ResultRecord, make_result
from atoll.sealing.stream import AssetSecrets
from atoll.sealing.tar import MAX_FILE_SIZE
from atoll.telemetry import names as spans
from atoll.telemetry.tracing import Tracer
from atoll.wire import schema
from atoll.wire.messages import Reason
from atoll_agent.accounting import make_statement
from atoll_agent.assignment import Task
from atoll_agent.bus_ports import EnclaveBus
from atoll_agent.enclave import EnclaveKeys, Evidence
from atoll_agent.pipeline import NOT_RUN, StepRun
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.step import StepSpace
from atoll_agent.staging import Staging

PIECE: Final = 524_272
"""Bytes read at once: the content of one sealed chunk."""

_NAME: Final = Breach(
    code=Kind.OUTPUT_NAMES.value, message="a result has a name that no archive takes"
)
_SIZE: Final = Breach(
    code=Kind.OUTPUT_LIMIT.value, message="a result is larger than any file of an archive"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Everything sealed is uploaded; records and receipt are still to be stored."""

    results: dict[str, bytes] = field(repr=False)
    receipt: bytes = field(repr=False)
    reason: Reason | None
    """None when all went well; else a code and a fixed sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What goes into the archive of one output."""

    exit: ExitRecord
    space: StepSpace | None
    """Whose logs and results these are; None: there are none."""
    logs: bool
    files: tuple[tuple[str, int], ...] = field(repr=False)
    breach: Breach | None


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
        self,
        staging: Staging,
        runs: tuple[StepRun, ...],
        started: datetime,
        finished: datetime,
    ) -> Finished:
        """Seal and upload every output, and sign for all of it.

        A failed computation has outputs as well: they say which step failed and how.

        Raises:
            UnreachableError: the bus did not take a result.
            RefusedError: `bus.full`.
            SealError: a consumer's HPKE key is none.
        """
        results: dict[str, bytes] = {}
        refs: list[OutputRef] = []
        breaches: list[Breach] = []
        for name, output in sorted(self.task.manifest.outputs.items()):
            packed = pack(output, staging, runs)
            if packed.breach is not None:
                breaches.append(packed.breach)
            record, ref = await self._seal(name, output, packed)
            results[name] = schema.encode(record)
            refs.append(ref)
        reason = _reason(runs, breaches)
        with self.tracer.span(spans.SIGN_RECEIPT):
            statement = make_statement(
                self.task,
                runs,
                tuple(refs),
                evidence_digest=self.evidence.digest,
                outcome=reason.code if reason else Kind.EXITED.value,
                started=started,
                finished=finished,
                agent_version=version.VERSION,
            )
            receipt = make_receipt(statement, key=self.keys.signing, evidence=self.evidence.raw)
        return Finished(results=results, receipt=receipt, reason=reason)

    async def _seal(
        self, name: str, output: Output, packed: Packed
    ) -> tuple[ResultRecord, OutputRef]:
        secrets = AssetSecrets.generate(self.random)
        plain, cipher = hashlib.sha256(), hashlib.sha256()
        with self.tracer.span(spans.UPLOAD_RESULT):
            pieces = _hashed(archive_pieces(archive_entries(packed)), plain)
            chunks = seal_chunks(
                secrets.content_key, pieces, asset_id=secrets.asset_id, prefix=secrets.prefix
            )
            info = await self.bus.upload_result(secrets.asset_id.hex(), _hashed(chunks, cipher))
        sealed = commitment(secrets.salt, plain.digest())
        with self.tracer.span(spans.SEAL_RESULT):
            record = make_result(
                self.keys.signing,
                context=ResultContext(
                    job_id=self.task.job_id,
                    attempt=self.task.attempt,
                    manifest_digest=self.task.manifest_digest,
                    evidence_digest=self.evidence.digest,
                    output=name,
                ),
                asset_id=secrets.asset_id,
                size=info.size,
                archive_commitment=sealed,
                key=ReleasedKey(content_key=secrets.content_key, salt=secrets.salt),
                consumers=self._consumers(output),
            )
        ref = OutputRef(
            name=name,
            step=output.step,
            consumers=tuple(sorted(output.consumers)),
            outcome=packed.breach.code if packed.breach else packed.exit.outcome,
            commitment=sealed.hex(),
            sha256=cipher.hexdigest(),
            size=info.size,
        )
        return record, ref

    def _consumers(self, output: Output) -> dict[str, bytes]:
        parties = self.task.manifest.parties
        # A manifest with a consumer that has no HPKE key does not exist (`Manifest`).
        return {
            name: key for name in output.consumers if (key := parties[name].hpke_key) is not None
        }


def pack(output: Output, staging: Staging, runs: tuple[StepRun, ...]) -> Packed:
    """What an output's consumers get, and which rule of its policy was broken.

    Only of steps that its own step depends on: what others did is not for these consumers.
    """
    own = behind(staging.manifest.steps, output.step)
    ran = [one for one in runs if one.step.name in own]
    failed = next(
        (one for one in ran if one.outcome is not None and not one.outcome.succeeded), None
    )
    about = failed or next(one for one in ran if one.step.name == output.step)
    outcome = about.outcome
    if outcome is None:
        record = ExitRecord(exit_code=None, outcome=NOT_RUN, step=about.step.name)
        return Packed(exit=record, space=None, logs=False, files=(), breach=None)
    space = staging.space(about.step.name)
    files: tuple[tuple[str, int], ...] = ()
    if about.step.name == output.step:
        files = tuple((file.name, file.size) for file in outcome.results)
    log_bytes = sum(path.stat().st_size for path in (space.stdout, space.stderr))
    broken = (
        _archivable(files)
        or breach(output, files, log_bytes=log_bytes if output.logs else 0)
        or _wrong_type(output, space, files)
    )
    record = ExitRecord(
        exit_code=outcome.exit_code,
        outcome=broken.code if broken else outcome.code,
        step=about.step.name,
    )
    if broken:
        return Packed(exit=record, space=None, logs=False, files=(), breach=broken)
    return Packed(exit=record, space=space, logs=output.logs, files=files, breach=None)


def archive_entries(packed: Packed) -> Iterator[ArchiveEntry]:
    """The entries of an output's archive. Logs that do not go along are empty."""
    yield ArchiveEntry.of(EXIT, packed.exit.to_bytes())
    for name in (STDOUT, STDERR):
        if packed.space is None or not packed.logs:
            yield ArchiveEntry.of(name, b"")
        else:
            path = packed.space.stdout if name == STDOUT else packed.space.stderr
            yield ArchiveEntry(name=name, size=path.stat().st_size, chunks=partial(_read, path))
    if packed.space is not None:
        for name, size in packed.files:
            path = packed.space.results / name
            yield ArchiveEntry(name=RESULTS + name, size=size, chunks=partial(_read, path))


def _archivable(files: tuple[tuple[str, int], ...]) -> Breach | None:
    """The archive takes every name that the sandbox lets pass; should the two ever differ, the
    output fails like for anything that is not legal."""
    for name, size in files:
        try:
            require_path(RESULTS + name)
        except InputError:
            return _NAME
        if size > MAX_FILE_SIZE:
            return _SIZE
    return None


def _wrong_type(
    output: Output, space: StepSpace, files: tuple[tuple[str, int], ...]
) -> Breach | None:
    if not looks_inside(output):
        return None
    for name, _ in files:
        if found := type_breach(output, (space.results / name).read_bytes()):
            return found
    return None


def _reason(runs: tuple[StepRun, ...], breaches: list[Breach]) -> Reason | None:
    for one in runs:
        if one.outcome is not None and not one.outcome.succeeded:
            return Reason(code=one.outcome.code, message=one.outcome.message)
    for broken in breaches:
        return Reason(code=broken.code, message=broken.message)
    return None


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _hashed(pieces: Iterator[bytes], seen: "hashlib._Hash") -> Iterator[bytes]:
    for piece in pieces:
        seen.update(piece)
        yield piece
