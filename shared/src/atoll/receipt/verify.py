"""The receipt file, and the check of everything in it. Needs no network and no account.

Canonical JSON, at most 256 KiB, nothing behind it:

    {"envelope": <DSSE>, "evidence": <base64>, "format": "atoll-receipt", "version": 1}

The evidence travels along because it says which key may sign. Three things stay with the caller:
how evidence is parsed and appraised (trusted roots, policy, the time that counts), which come
in as functions; and whether the manifest is the one that was meant, by comparing
`receipt.manifest_digest` with its own.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from atoll import canonical
from atoll.errors import AtollError, InputError, ReceiptError
from atoll.receipt import dsse
from atoll.receipt.dsse import Envelope
from atoll.receipt.statement import Receipt, from_statement, to_statement
from atoll.sealing.signature import SigningKey
from atoll.wire.messages import MAX_EVIDENCE

FORMAT: Final = "atoll-receipt"
VERSION: Final = 1
MAX_FILE: Final = 256 * 1024
PASS: Final = "pass"  # noqa: S105 - a verdict


class Attested(Protocol):
    """What evidence says about its enclave (`atoll.evidence.document.EvidenceDocument`)."""

    @property
    def signing_key(self) -> bytes: ...
    @property
    def manifest_digest(self) -> bytes: ...


class Appraised(Protocol):
    """The outcome of an appraisal (`atoll.evidence.appraise.Appraisal`); passed if "pass"."""

    @property
    def verdict(self) -> Enum: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def simulated(self) -> bool: ...


A = TypeVar("A", bound=Appraised)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptFile:
    """A parsed file; nothing in it is checked yet."""

    envelope: Envelope
    evidence: bytes

    def to_bytes(self) -> bytes:
        """The file.

        Raises:
            ReceiptError: `receipt.malformed`, larger than a file may be.
        """
        raw = canonical.dumps(
            {
                "format": FORMAT,
                "version": VERSION,
                "envelope": self.envelope.to_plain(),
                "evidence": dsse.b64(self.evidence),
            }
        )
        if len(raw) > MAX_FILE or len(self.evidence) > MAX_EVIDENCE:
            raise dsse.malformed(f"file or evidence over {MAX_FILE} or {MAX_EVIDENCE} bytes")
        return raw

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse a file.

        Raises:
            ReceiptError: `receipt.malformed`; `receipt.unsupported`, another version or type.
        """
        if len(raw) > MAX_FILE:
            raise dsse.malformed(f"file is {len(raw)} bytes, at most {MAX_FILE} are read")
        try:
            value = canonical.loads(raw)
        except InputError as error:
            raise dsse.malformed(f"file is {error.message}") from error
        fields = _fields(value)
        return cls(
            envelope=Envelope.from_plain(fields["envelope"]),
            evidence=dsse.from_b64(fields["evidence"], "evidence", MAX_EVIDENCE),
        )


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise dsse.malformed(f"file is not of format {FORMAT!r}")
    version = value.get("version")
    if isinstance(version, bool) or version != VERSION:
        raise ReceiptError(
            f"receipt file version is not {VERSION}, the only one this build knows",
            code="receipt.unsupported",
        )
    if value.keys() != {"format", "version", "envelope", "evidence"}:
        raise dsse.malformed("file must have exactly envelope, evidence, format, version")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt(Generic[A]):
    """A receipt that the attested key signed, under evidence that was appraised and passed.

    Whoever shows it to a person says SIMULATED if `appraisal.simulated`.
    """

    receipt: Receipt
    digest: bytes
    """What a later receipt's `previous` says of this one."""
    signing_key: bytes
    evidence: bytes
    appraisal: A


def receipt_digest(raw: bytes) -> bytes:
    """How other receipts and manifests name this one: SHA-256 of the file's bytes."""
    return hashlib.sha256(raw).digest()


def make_receipt(receipt: Receipt, *, key: SigningKey, evidence: bytes) -> bytes:
    """The file for `receipt`, signed by the key that `evidence` attests.

    Raises:
        ReceiptError: `receipt.malformed`, the receipt is one that `verify_receipt` refuses;
            `receipt.evidence`, it names other evidence.
    """
    _require_evidence(receipt, evidence)
    envelope = dsse.sign(to_statement(receipt), key)
    return ReceiptFile(envelope=envelope, evidence=evidence).to_bytes()


def verify_receipt(
    raw: bytes,
    *,
    read_evidence: Callable[[bytes], Attested],
    appraise: Callable[[bytes, bytes], A],
) -> VerifiedReceipt[A]:
    """Check a receipt file from end to end.

    1. the file parses  2. its evidence parses  3. the attested key signed the envelope
    4. the statement parses  5. it names this evidence  6. and the manifest that the evidence
    is bound to  7. the evidence passes appraisal for that manifest. The first failure is raised.

    Args:
        raw: the file.
        read_evidence: parses evidence; raises `AtollError` if it cannot.
        appraise: appraises evidence (first) for a manifest digest (second).

    Raises:
        ReceiptError: `receipt.malformed`, `receipt.unsupported`, `receipt.signature`,
            `receipt.evidence`, `receipt.manifest`, `receipt.appraisal`.
    """
    file = ReceiptFile.from_bytes(raw)  # 1
    try:
        attested = read_evidence(file.evidence)  # 2
    except AtollError as error:
        raise ReceiptError(
            f"receipt: evidence is unusable: {error.message}", code="receipt.evidence"
        ) from error
    payload = dsse.verify(file.envelope, attested.signing_key)  # 3
    receipt = from_statement(payload)  # 4
    _require_evidence(receipt, file.evidence)  # 5
    if receipt.manifest_digest != attested.manifest_digest.hex():  # 6
        raise ReceiptError(
            f"receipt is for manifest {receipt.manifest_digest}, "
            f"its evidence for {attested.manifest_digest.hex() or 'none'}",
            code="receipt.manifest",
        )
    appraisal = appraise(file.evidence, attested.manifest_digest)  # 7
    if appraisal.verdict.value != PASS:
        raise ReceiptError(
            f"receipt: its evidence does not pass: {appraisal.reason}", code="receipt.appraisal"
        )
    return VerifiedReceipt(
        receipt=receipt,
        digest=receipt_digest(raw),
        signing_key=attested.signing_key,
        evidence=file.evidence,
        appraisal=appraisal,
    )


def _require_evidence(receipt: Receipt, evidence: bytes) -> None:
    digest = hashlib.sha256(evidence).hexdigest()
    if receipt.evidence_digest != digest:
        raise ReceiptError(
            f"receipt names evidence {receipt.evidence_digest}, this is {digest}",
            code="receipt.evidence",
        )
