"""What a receipt says: an in-toto Statement v1 about the sealed outputs of one job.

Source: in-toto Attestation Framework, spec v1.0, "Statement". As canonical JSON:

    _type          "https://in-toto.io/Statement/v1"
    subject        one for each output: its name, digest sha256 of the sealed archive
    predicateType  "urn:atoll:predicate:job-receipt:v2"
    predicate      the fields of `Receipt`

Everything that somebody could guess stands as a salted commitment (`atoll.framing.commitment`).
Open on purpose are sizes, times, resources used and outcomes: they are part of what
the receipt proves, and they tell its reader something about the data. Whoever shows a receipt
shows them. `round_up_ms` coarsens the running time before it goes in.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from atoll import canonical
from atoll.errors import AtollError, InputError, ReceiptError
from atoll.wire.schema import (
    Code,
    Digest,
    Name,
    Pattern,
    Range,
    Size,
    Token,
    from_plain,
    message,
    to_plain,
)

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:atoll:predicate:job-receipt:v2"
MAX_STATEMENT: Final = 128 * 1024
MAX_STEPS: Final = 16
MAX_OUTPUTS: Final = 16
MAX_PARTIES: Final = 32
MAX_DATASETS: Final = 64
MAX_PREVIOUS: Final = 16
ROUND_MS: Final = 100

_Rfc3339 = Annotated[
    str, Pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
]
_Count = Annotated[int, Range(0, 2**53 - 1)]
_Version = Annotated[str, Pattern(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")]


@message
class PartyRef:
    """A party of the manifest by its public signing key (hex), and what it is in this job."""

    name: Name
    signing_key: Annotated[str, Pattern(r"(?:[0-9a-f]{2}){32,550}")]
    roles: Annotated[tuple[Token, ...], Size(1, 8)]


@message
class DatasetRef:
    """A dataset that the code could read."""

    name: Name
    commitment: Digest


@message
class Resources:
    """Limits, or what was used of them. `fuel` is `None` where none is counted."""

    wall_ms: _Count
    fuel: _Count | None
    memory_bytes: _Count
    output_bytes: _Count
    output_files: _Count


@message
class StepRef:
    """One step: the commitments to its code, dependencies and arguments, and how it ended."""

    name: Token
    kind: Token
    algorithm: Digest
    bundle: Digest | None
    invocation: Digest
    outcome: Code
    """`workload.not_run` if a step before it failed."""
    exit_code: int | None
    limits: Resources
    used: Resources


@message
class OutputRef:
    """What was sealed for some consumers: `commitment` to the archive, `sha256` and `size` of it
    sealed. `outcome` says whether it holds what its policy allows, or why nothing."""

    name: Name
    step: Token
    consumers: Annotated[tuple[Name, ...], Size(1, MAX_PARTIES)]
    outcome: Code
    commitment: Digest
    sha256: Digest
    size: _Count


@message
class Receipt:
    """The predicate. Digests are lower-case hex, times RFC 3339 in UTC with milliseconds."""

    job_id: Token
    attempt: Annotated[int, Range(1, 2**31 - 1)]
    manifest_digest: Digest
    evidence_digest: Digest
    parties: Annotated[tuple[PartyRef, ...], Size(1, MAX_PARTIES)]
    steps: Annotated[tuple[StepRef, ...], Size(1, MAX_STEPS)]
    """In the order in which they ran."""
    datasets: Annotated[tuple[DatasetRef, ...], Size(0, MAX_DATASETS)]
    outputs: Annotated[tuple[OutputRef, ...], Size(1, MAX_OUTPUTS)]
    outcome: Code
    """Of the first step or output that did not succeed, else `workload.exited`."""
    started: _Rfc3339
    finished: _Rfc3339
    previous: Annotated[tuple[Digest, ...], Size(0, MAX_PREVIOUS)]
    """Digests (`atoll.receipt.verify.receipt_digest`) of the receipts this job builds on."""
    agent_version: _Version


def rfc3339(timestamp_ms: int) -> str:
    """Milliseconds since 1970 as the text that a receipt carries."""
    seconds, ms = divmod(timestamp_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def round_up_ms(duration_ms: int) -> int:
    """A duration, rounded up to 100 ms: exact ones are a channel out of the enclave."""
    return -(-duration_ms // ROUND_MS) * ROUND_MS


def to_statement(receipt: Receipt) -> bytes:
    """The canonical bytes of the statement; exactly what is signed.

    Raises:
        ReceiptError: `receipt.malformed`, the receipt is one that `from_statement` refuses.
    """
    raw = canonical.dumps(_statement(receipt))
    from_statement(raw)
    return raw


def from_statement(raw: bytes) -> Receipt:
    """Parse a statement; proves nothing about who made it.

    Raises:
        ReceiptError: `receipt.malformed`; `receipt.unsupported`, another statement or
            predicate type.
    """
    if len(raw) > MAX_STATEMENT:
        raise _malformed(f"{len(raw)} bytes, at most {MAX_STATEMENT} are read")
    try:
        value = canonical.loads(raw)
    except InputError as error:
        raise _malformed(error.message) from error
    if not isinstance(value, dict):
        raise _malformed("not an object")
    _require_type(value, "_type", STATEMENT_TYPE)
    _require_type(value, "predicateType", PREDICATE_TYPE)
    try:
        receipt = from_plain(Receipt, value.get("predicate"), json=True)
    except AtollError as error:
        raise _malformed(error.message) from error
    # The statement is a function of the receipt; anything added or changed around it shows here.
    if _statement(receipt) != value:
        raise _malformed("subject or fields do not follow from the predicate")
    _require_consistent(receipt)
    return receipt


def _statement(receipt: Receipt) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": output.name, "digest": {"sha256": output.sha256}} for output in receipt.outputs
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": to_plain(receipt, json=True),
    }


def _require_type(value: dict[str, Any], field: str, want: str) -> None:
    if value.get(field) != want:
        raise ReceiptError(
            f"statement has {field} {str(value.get(field))[:80]!r}, this build knows {want!r}",
            code="receipt.unsupported",
        )


def _require_consistent(receipt: Receipt) -> None:
    _require_unique([party.name for party in receipt.parties], "party")
    _require_unique([dataset.name for dataset in receipt.datasets], "dataset")
    _require_unique([step.name for step in receipt.steps], "step")
    _require_unique([output.name for output in receipt.outputs], "output")
    known = {step.name for step in receipt.steps}
    if any(output.step not in known for output in receipt.outputs):
        raise _malformed("has an output of a step that is not there")
    _require_unique(list(receipt.previous), "previous receipt")
    for text in (receipt.started, receipt.finished):
        # `fromisoformat` takes more than RFC 3339; the field's pattern took that away before.
        try:
            datetime.fromisoformat(text)
        except ValueError as error:
            raise _malformed(f"time {text!r} does not exist") from error
    if receipt.finished < receipt.started:
        raise _malformed("finished before it started")


def _require_unique(values: list[str], what: str) -> None:
    if len(set(values)) != len(values):
        raise _malformed(f"a {what} stands twice")


def _malformed(why: str) -> ReceiptError:
    return ReceiptError(f"receipt statement: {why}", code="receipt.malformed")
