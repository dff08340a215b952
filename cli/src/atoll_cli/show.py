"""How values look: as lines for a person and as plain values for JSON.

Lines are printable whatever the values hold.
"""

from collections.abc import Iterable
from typing import Any, Final

from atoll.client.results import OpenedResult
from atoll.client.unpack import UnpackedFile
from atoll.evidence.document import Tee
from atoll.evidence.findings import Appraisal, Finding, Outcome
from atoll.identity import fingerprint
from atoll.receipt.statement import OutputRef, StepRef
from atoll.receipt.verify import VerifiedReceipt
from atoll.sealing.archive import RESULTS, STDERR, STDOUT
from atoll.sealing.public_key import ED25519_SIZE
from atoll.wire import schema
from atoll.wire.cloudevents import Event
from atoll.wire.messages import JobEvent, JobState, JobView
from atoll.wire.submission import SubmissionEvent
from atoll_cli.text import elapsed, painted, printable, size, table

_STYLE: Final = {Outcome.PASS: "32", Outcome.FAIL: "1;31", Outcome.UNCHECKED: "33"}
_MAX_VALUE: Final = 48


def event_line(event: Event, start_ms: int) -> str:
    """`+0.412 s  attesting  enclave ... on host ...`."""
    since = f"{elapsed(event.time_ms - start_ms):>11}"
    if isinstance(event, SubmissionEvent):
        said = f"submission {event.outcome.value}"
        why = f"  {event.reason.message} [{event.reason.code}]" if event.reason else ""
        return printable(f"{since}  {said}{f'  job {event.job_id}' if event.job_id else ''}{why}")
    facts = [f"{since}  {event.type.value:<16}"]
    if event.enclave_id:
        facts.append(f"enclave {event.enclave_id}")
    if event.asset:
        facts.append(f"asset {event.asset}")
    if event.attempt > 1:
        facts.append(f"attempt {event.attempt}")
    if event.reason:
        facts.append(f"{event.reason.message} [{event.reason.code}]")
    return printable("  ".join(facts)).rstrip()


def event_subject(event: Event) -> str:
    """What an event is about: a job, or a submission by its key."""
    return event.job_id if isinstance(event, JobEvent) else event.idempotency_key


def is_last(event: Event) -> bool:
    """Whether a job has no events after this one."""
    return isinstance(event, JobEvent) and event.state.terminal


def job_lines(view: JobView) -> list[str]:
    """Everything that a job's owner may know."""
    plain = plain_of(view)
    reason = plain.pop("reason")
    rows = [(name, str(value)) for name, value in plain.items() if value is not None]
    if reason:
        rows.append(("reason", f"{reason['message']} [{reason['code']}]"))
    return table(rows)


def is_host_tpm(appraisal: Appraisal) -> bool:
    """Whether it is about a virtual TPM, which is its host's."""
    return appraisal.tee is Tee.VTPM


def mark(appraisal: Appraisal) -> str:
    """What is said of evidence that protects nothing from its host."""
    return "VTPM OF THE HOST" if is_host_tpm(appraisal) else "SIMULATED"


def appraisal_lines(
    appraisal: Appraisal, *, color: bool = False, verbose: bool = False
) -> list[str]:
    """The verdict, then every check by name; values where it failed, or all if `verbose`."""
    tee = appraisal.tee.value if appraisal.tee else "unknown TEE"
    simulated = f", {mark(appraisal)}" if appraisal.simulated else ""
    counts = dict.fromkeys(Outcome, 0)
    for item in appraisal.findings:
        counts[item.outcome] += 1
    summary = ", ".join(f"{count} {kind.value}" for kind, count in counts.items() if count)
    head = f"{appraisal.verdict.value.upper()}: {tee}{simulated}; {summary}"
    width = max(len(item.id) for item in appraisal.findings)
    lines = [head]
    for item in appraisal.findings:
        lines.extend(_finding_lines(item, width, color=color, verbose=verbose))
    return lines


def claims_lines(appraisal: Appraisal) -> list[str]:
    """What authentic evidence says about the enclave."""
    return table(sorted(appraisal.claims.items()), indent="    ")


def _finding_lines(item: Finding, width: int, *, color: bool, verbose: bool) -> Iterable[str]:
    word = "FAIL" if item.outcome is Outcome.FAIL else item.outcome.value
    mark = painted(f"{word:<9}", _STYLE[item.outcome], color=color)
    line = f"    {mark}  {printable(item.id):<{width}}"
    if item.outcome is Outcome.FAIL or verbose:
        yield line.rstrip()
        yield f"               expected  {printable(item.expected)}"
        yield f"               actual    {printable(item.actual)}"
    elif item.outcome is Outcome.UNCHECKED:
        yield f"{line}  {_short(item.actual or item.expected)}".rstrip()
    else:
        yield line.rstrip()


def _short(value: str) -> str:
    shown = printable(value)
    return shown if len(shown) <= _MAX_VALUE else shown[: _MAX_VALUE - 3] + "..."


def receipt_lines(verified: VerifiedReceipt[Appraisal]) -> list[str]:
    """What a receipt proves."""
    receipt = verified.receipt
    rows = [
        ("receipt", verified.digest.hex()),
        ("job", f"{receipt.job_id}, attempt {receipt.attempt}"),
        ("manifest", receipt.manifest_digest),
        ("evidence", receipt.evidence_digest),
        ("outcome", receipt.outcome),
        *(row for step in receipt.steps for row in _step_rows(step)),
        *(("dataset", f"{item.name} {item.commitment}") for item in receipt.datasets),
        *(("output", _output(item)) for item in receipt.outputs),
        ("started", receipt.started),
        ("finished", receipt.finished),
        *(
            ("party", f"{item.name} {_party_key(item.signing_key)} ({', '.join(item.roles)})")
            for item in receipt.parties
        ),
        *(("previous", digest) for digest in receipt.previous),
        ("agent", receipt.agent_version),
    ]
    return table(rows)


def _step_rows(step: StepRef) -> Iterable[tuple[str, str]]:
    yield "step", f"{step.name}: {step.outcome}"
    yield "algorithm", f"{step.kind} {step.algorithm}"
    if step.bundle is not None:
        yield "bundle", step.bundle
    yield "invocation", step.invocation


def _output(output: OutputRef) -> str:
    who = ", ".join(output.consumers)
    return f"{output.name} for {who}: {output.commitment}, {size(output.size)} sealed"


def _party_key(signing_key: str) -> str:
    """An Ed25519 key in full; of others, which fill screens, the fingerprint."""
    if len(signing_key) == 2 * ED25519_SIZE:
        return signing_key
    return f"fingerprint {fingerprint(bytes.fromhex(signing_key))}"


def file_lines(result: OpenedResult) -> list[str]:
    """The files of an opened result."""
    return table(
        (size(item.size), item.sha256[:16], str(item.path)) for item in result_files(result)
    )


def result_files(result: OpenedResult) -> list[UnpackedFile]:
    """What the guest left under /results."""
    return [item for item in result.files if item.name.startswith(RESULTS)]


def output_file(result: OpenedResult, name: str) -> UnpackedFile:
    """Standard output or error of the guest; every archive has both."""
    return next(item for item in result.files if item.name == name)


def plain_of(value: Any) -> Any:
    """A message as plain JSON values; bytes in base64 as on the bus."""
    return schema.to_plain(value, json=True)


def result_document(result: OpenedResult) -> dict[str, Any]:
    """An opened result, with names as the guest knew them below /results."""
    return {
        "exit_code": result.exit.exit_code,
        "outcome": result.exit.outcome,
        "step": result.exit.step,
        "results": [
            {
                "name": item.name.removeprefix(RESULTS),
                "size": item.size,
                "sha256": item.sha256,
                "path": str(item.path),
            }
            for item in result_files(result)
        ],
        "stdout": str(output_file(result, STDOUT).path),
        "stderr": str(output_file(result, STDERR).path),
        "receipt": str(result.receipt_path),
        "receipt_digest": result.receipt.digest.hex(),
    }


def evidence_document(appraisal: Appraisal | None) -> dict[str, Any] | None:
    """The appraisal as far as most callers care, and every finding."""
    if appraisal is None:
        return None
    return {
        "tee": appraisal.tee.value if appraisal.tee else None,
        "simulated": appraisal.simulated,
        "verdict": appraisal.verdict.value,
        "reason": appraisal.reason,
        "digest": appraisal.evidence_digest,
        "findings": [plain_of(item) for item in appraisal.findings],
    }


def job_document(view: JobView) -> dict[str, Any]:
    """A job as every command shows it."""
    plain: dict[str, Any] = plain_of(view)
    return plain


def succeeded(view: JobView) -> bool:
    """Whether a job ended as its owner wanted."""
    return view.state is JobState.COMPLETED
