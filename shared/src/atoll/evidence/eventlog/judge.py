"""Judge one published event log (kinds `ccel` and `rtmr_json_log`)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from atoll.errors import InputError
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.eventlog import registers
from atoll.evidence.eventlog.ccel import EventLog
from atoll.evidence.eventlog.registers import COUNT
from atoll.evidence.eventlog.rtmr_json import RtmrLog
from atoll.evidence.judged import Files, Judged, flag, judged, known, numbers, one_file

_ALL: Final = range(COUNT)
_RUNTIME_REGISTER: Final = 3


def judge_ccel(
    evidence: bytes,
    *,
    files: Files,
    params: Mapping[str, Any],  # noqa: ARG001 - one shape for every kind
    policy: Mapping[str, Any],
    verify_time: datetime | None,  # noqa: ARG001
) -> Judged:
    """Replay a log and compare it with `rtmrs` (all four), or with `match_rtmrs` of a quote.

    The quote (file `quote`) is only parsed: whether it is genuine is another kind's question.
    With neither, the verdict is parse-only, because nothing was compared.

    Raises:
        InputError: policy or files are not of this form.
    """
    known(policy, "match_rtmrs", "rtmrs")
    wanted = _wanted(files, policy)

    def check() -> None:
        values = EventLog.from_bytes(evidence).replay()
        for number, value in wanted().items():
            registers.compare(number, values[number], value)

    return _told(judged(check), policy)


def judge_rtmr_json_log(
    evidence: bytes,
    *,
    files: Files,
    params: Mapping[str, Any],  # noqa: ARG001 - one shape for every kind
    policy: Mapping[str, Any],
    verify_time: datetime | None,  # noqa: ARG001
) -> Judged:
    """Likewise for a JSON log; the policy's `recompute_rtmr3` proves names and payloads first.

    That is the default whenever RTMR3 is compared.

    Raises:
        InputError: policy or files are not of this form.
    """
    known(policy, "match_rtmrs", "rtmrs", "recompute_rtmr3")
    wanted = _wanted(files, policy)
    recompute = flag(policy, "recompute_rtmr3")

    def check() -> None:
        log, values = RtmrLog.from_bytes(evidence), wanted()
        if _RUNTIME_REGISTER in values if recompute is None else recompute:
            log.recompute(_RUNTIME_REGISTER)
        for number, value in values.items():
            registers.compare(number, log.replay(number), value)

    return _told(judged(check), policy)


def _told(result: Judged, policy: Mapping[str, Any]) -> Judged:
    if result.verdict == "valid" and not (policy.get("rtmrs") or policy.get("match_rtmrs")):
        return Judged(verdict="parse-only")
    return result


def _wanted(files: Files, policy: Mapping[str, Any]) -> Callable[[], dict[int, bytes]]:
    """Gives the values to compare with, by number; a bad quote raises only when called."""
    given = policy.get("rtmrs", [])
    if not isinstance(given, list) or len(given) not in (0, COUNT):
        raise InputError(f"policy.rtmrs is not a list of {COUNT}", code="policy.invalid")
    try:
        fixed = {number: bytes.fromhex(value) for number, value in enumerate(given)}
    except (ValueError, TypeError) as error:
        raise InputError("policy.rtmrs is not hexadecimal", code="policy.invalid") from error
    matched = numbers(policy, "match_rtmrs", _ALL)
    quote = one_file(files, "quote") if matched else b""

    def values() -> dict[int, bytes]:
        quoted = _quoted(quote) if matched else {}
        return {**fixed, **{number: quoted[number] for number in matched}}

    return values


def _quoted(raw: bytes) -> dict[int, bytes]:
    report = Quote.from_bytes(raw).td_report
    if report is None:
        raise InputError("the file 'quote' is not a TD quote", code="input.files")
    return dict(enumerate((report.rtmr0, report.rtmr1, report.rtmr2, report.rtmr3)))
