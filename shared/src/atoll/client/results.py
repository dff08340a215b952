"""Fetches a sealed result, checks whose it is, opens and unpacks it, checks its receipt."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from atoll.client.appraisal import Appraiser
from atoll.client.connection import AtollClient, no_result
from atoll.client.unpack import RECEIPT_FILE, FreshDirectory, UnpackedFile, Unpacker
from atoll.errors import NotFoundError, ReceiptError, SealError
from atoll.evidence import document as documents
from atoll.evidence.findings import Appraisal
from atoll.framing import commitment
from atoll.identity import PartyKeys
from atoll.receipt.statement import Receipt, from_statement
from atoll.receipt.verify import ReceiptFile, VerifiedReceipt, verify_receipt
from atoll.sealing.archive import ExitRecord
from atoll.sealing.asset import Opener
from atoll.sealing.release import ReleasedKey
from atoll.sealing.result import ResultContext, ResultRecord, open_result
from atoll.wire import schema
from atoll.wire.messages import JobView

MAX_RECORD = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedResult:
    """A result that the attested enclave sealed for us, for exactly this job."""

    exit: ExitRecord
    files: tuple[UnpackedFile, ...]
    receipt: VerifiedReceipt[Appraisal] = field(repr=False)
    receipt_path: Path


async def fetch_result(
    client: AtollClient,
    view: JobView,
    *,
    manifest_digest: bytes,
    output: str,
    keys: PartyKeys,
    appraiser: Appraiser,
    into: Path,
) -> OpenedResult:
    """Download, verify, open and unpack one output of a job into a fresh directory.

    0. the outcome: it is the one that the ledger names, of the attempt that ended the job
    1. the receipt: signature, evidence, appraisal; it names our manifest, job and output
    2. the result record: signed by the key that this evidence attests, wrapped to us
    3. the archive: every chunk, then the commitment that record and receipt name

    The directory appears only when all of it held.

    Raises:
        NotFoundError: `result.not_found`.
        ConflictError: `result.other_outcome`.
        ReceiptError, SealError, InputError: what did not hold.
        ConfigError: `out.exists`, `out.unwritable`.
    """
    if view.outcome_digest is None:
        raise no_result(view.job_id)
    outcome = await client.outcome(view.job_id, view.attempt, digest=view.outcome_digest)
    receipt = check_receipt(outcome.receipt, appraiser)  # 1
    require_about(receipt.receipt, view, manifest_digest)
    ref = next((one for one in receipt.receipt.outputs if one.name == output), None)
    if ref is None or output not in outcome.results:
        raise NotFoundError(f"job {view.job_id} has no output {output!r}", code="result.not_found")
    record = schema.decode(ResultRecord, outcome.results[output], limit=MAX_RECORD)  # 2
    key = open_result(
        record,
        consumer=keys,
        enclave_signing_key=receipt.signing_key,
        expected=ResultContext(
            job_id=view.job_id,
            attempt=view.attempt,
            manifest_digest=manifest_digest,
            evidence_digest=hashlib.sha256(receipt.evidence).digest(),
            output=output,
        ),
    )
    if ref.commitment != record.archive_commitment.hex():
        raise ReceiptError("the receipt is for another result", code="receipt.result")
    with FreshDirectory(into) as directory:  # 3
        unpacker = Unpacker(directory.path)
        try:
            await _open(client, view.job_id, record, key, unpacker)
        finally:
            unpacker.close()
        exit_record = unpacker.exit_record()
        unpacker.add(RECEIPT_FILE, outcome.receipt)
        directory.keep()
    return OpenedResult(
        exit=exit_record,
        files=unpacker.files(directory.final),
        receipt=receipt,
        receipt_path=directory.final / RECEIPT_FILE,
    )


def check_receipt(raw: bytes, appraiser: Appraiser) -> VerifiedReceipt[Appraisal]:
    """A receipt, checked from end to end as of the moment that it says the job ended.

    Certificates expire and a receipt does not: what counts is that they held then. The
    moment is the enclave's own word; an enclave that lies about it must be one that this
    policy accepts.

    Raises:
        ReceiptError: what did not hold.
    """
    # Before the signature is checked, nothing but this moment is taken from the statement.
    claimed = from_statement(ReceiptFile.from_bytes(raw).envelope.payload)
    moment = datetime.fromisoformat(claimed.finished)

    def appraise(evidence: bytes, manifest_digest: bytes) -> Appraisal:
        return appraiser.appraise(evidence, manifest_digest=manifest_digest, now=moment)

    return verify_receipt(raw, read_evidence=documents.parse, appraise=appraise)


def require_about(receipt: Receipt, view: JobView, manifest_digest: bytes) -> None:
    """Raises: ReceiptError `receipt.other_job` unless it is about this job and manifest."""
    about = (receipt.job_id, receipt.attempt, receipt.manifest_digest)
    if about != (view.job_id, view.attempt, manifest_digest.hex()):
        raise ReceiptError(
            f"the receipt is for job {receipt.job_id}, attempt {receipt.attempt}, "
            f"manifest {receipt.manifest_digest}",
            code="receipt.other_job",
        )


async def _open(
    client: AtollClient, job_id: str, record: ResultRecord, key: ReleasedKey, unpacker: Unpacker
) -> None:
    info, chunks = await client.result(job_id, record.asset_id.hex())
    async with aclosing(chunks):
        if info.size != record.size:
            raise SealError(
                f"sealed result is {info.size} bytes, want {record.size}", code="result.size"
            )
        opener = Opener(key.content_key, record.asset_id)
        await _feed(chunks, opener, unpacker)
    if commitment(key.salt, unpacker.finish()) != record.archive_commitment:
        raise SealError("the result is not what was committed to", code="result.digest")


async def _feed(chunks: AsyncIterator[bytes], opener: Opener, unpacker: Unpacker) -> None:
    async for chunk in chunks:
        for piece in opener.feed(chunk):
            unpacker.feed(piece)
    unpacker.feed(opener.finish())
