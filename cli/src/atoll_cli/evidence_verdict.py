"""A judgement of evidence together with that of the policy file, as text and as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from atoll.evidence.findings import Finding, Outcome, first_failed
from atoll.evidence.judgement import Judgement
from atoll_cli.advice import advice
from atoll_cli.evidence_policy import SIGNATURE, PolicyFile
from atoll_cli.explanations import family, sentence, subject
from atoll_cli.session import Session
from atoll_cli.text import painted, printable, table

NOT_VERIFIABLE: Final = "not_verifiable"

_STYLE: Final = {Outcome.PASS: "32", Outcome.FAIL: "1;31", Outcome.UNCHECKED: "33"}
_CODE: Final = frozenset(
    {"measurement", "mr_td", "mr_enclave", "mr_signer", "enclave_hash", "launch_digest"}
)
_OWN_DATA: Final = frozenset({"report_data", "data"})
_NO_MORE: Final = frozenset({"", "holds", "verified", "parses"})
_IN_GUEST: Final = frozenset(
    {"snp_report", "snp_extended_report", "tdx_quote", "sgx_quote", "keystone_report"}
)
_NO_CODE: Final = (
    "Nobody said which code must run: this is some guest on a genuine platform, perhaps not "
    "yours. Name it with --measurement or --policy."
)
_NO_NONCE: Final = (
    "Nobody said what the guest's own data must be: this may be an old report that somebody "
    "shows again. Name your nonce with --report-data or --policy."
)
_DEBUGGED: Final = (
    "The guest is under debugging, which was allowed: the host can read all of its memory."
)
_NO_LIST: Final = (
    "No revocation list was looked at: the vendor may have withdrawn these keys. Give it with "
    "--crl."
)
_OLD: Final = "The platform's firmware is {}, which was allowed: read the vendor's advisories."


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceVerdict:
    """What `verify` and `explain` answer; good only if evidence and policy file both are."""

    judgement: Judgement
    policy: PolicyFile

    @property
    def checks(self) -> tuple[Finding, ...]:
        """The policy file's, then the evidence's."""
        return (*self.policy.checks, *self.judgement.checks)

    @property
    def reason(self) -> str:
        """The id of the first check that failed, or empty."""
        # Where nothing can be proven, the answer to "does it verify" is no.
        unproven = NOT_VERIFIABLE if self.judgement.verdict == "parse-only" else ""
        return first_failed(self.checks) or self.judgement.reason or unproven

    @property
    def passed(self) -> bool:
        """Whether there is nothing to refuse."""
        return not self.reason

    def cautions(self) -> tuple[str, ...]:
        """What a verdict that is good does not say, because nobody asked."""
        if not self.passed or self.judgement.kind not in _IN_GUEST:
            return ()
        asked = {name for name, value in self.policy.requirements.items() if value != "unchecked"}
        asked |= {item.id.partition(".")[2] for item in self.checks if item.outcome is Outcome.PASS}
        found = {(item.id.partition(".")[2], item.actual) for item in self.checks}
        status = self.judgement.tcb_status
        return tuple(
            caution
            for caution, applies in (
                (_NO_CODE, not asked & _CODE),
                (_NO_NONCE, not asked & _OWN_DATA),
                (_DEBUGGED, ("debug", "set") in found),
                (_NO_LIST, ("revocation", "no revocation list was checked") in found),
                (_OLD.format(status), status not in ("", "UpToDate")),
            )
            if applies
        )

    def document(self, *, explained: bool = False) -> Mapping[str, Any]:
        """For `--json`; `explained` adds questions, advice and cautions."""
        judgement = self.judgement
        value: dict[str, Any] = {
            "verdict": "pass" if self.passed else "fail",
            "kind": judgement.kind,
            "product": judgement.product,
            "simulated": judgement.simulated,
            "reason": self.reason,
            "tcb_status": judgement.tcb_status or None,
            "policy": self._policy(),
            "checks": [_check(item, explained=explained) for item in self.checks],
            "claims": dict(judgement.claims),
        }
        return value | ({"cautions": list(self.cautions())} if explained else {})

    def _policy(self) -> dict[str, Any] | None:
        document = self.policy.document
        if document is None:
            return None
        outcomes = {item.id: item.outcome.value for item in self.policy.checks}
        return {
            "name": document.name,
            "version": document.version,
            "mode": document.mode.value,
            "digest": document.digest.hex(),
            "signature": outcomes[SIGNATURE],
        }


def _check(item: Finding, *, explained: bool) -> dict[str, str]:
    value = {
        "id": item.id,
        "outcome": item.outcome.value,
        "expected": item.expected,
        "actual": item.actual,
    }
    if explained:
        value["question"] = sentence(item.id)
    if explained and item.outcome is Outcome.FAIL:
        value["advice"] = advice(item)
    return value


def show(session: Session, verdict: EvidenceVerdict) -> None:
    """The verdict, every check by name with both values of those that failed, and claims."""
    _head(session, verdict)
    for item in verdict.checks:
        word = "FAIL" if item.outcome is Outcome.FAIL else item.outcome.value
        mark = painted(f"{word:<9}", _STYLE[item.outcome], color=session.color_out)
        session.print(f"  {mark}  {item.id}")
        if item.outcome is Outcome.FAIL:
            session.print(f"             expected  {printable(item.expected)}")
            session.print(f"             actual    {printable(item.actual)}")
    if verdict.judgement.claims:
        session.print("claims")
        for line in table(verdict.judgement.claims.items()):
            session.print(line)


def explain(session: Session, verdict: EvidenceVerdict) -> None:
    """The verdict; what failed and what to do; what was proven; what nobody asked."""
    _head(session, verdict)
    by = {
        outcome: [item for item in verdict.checks if item.outcome is outcome] for outcome in Outcome
    }
    for item in by[Outcome.FAIL]:
        _failure(session, item)
    if verdict.reason == NOT_VERIFIABLE:
        session.print("Evidence of this kind is only parsed: nothing about it is proven.")
    for caution in verdict.cautions():
        session.print(f"{_painted(session, Outcome.UNCHECKED, 'careful:')} {caution}")
    if by[Outcome.PASS]:
        session.print("what holds")
    for number, item in enumerate(by[Outcome.PASS], start=1):
        yes = _painted(session, Outcome.PASS, "yes")
        session.print(f"{number:>4}. {sentence(item.id)} {yes} ({item.id})")
        if _says_more(item):
            session.print(f"      found     {printable(item.actual)}")
    if by[Outcome.UNCHECKED]:
        proven = "" if verdict.judgement.claims or verdict.passed else ", unproven"
        session.print(f"what nobody asked, and what the evidence says of it{proven}")
    for line in table(_unasked(by[Outcome.UNCHECKED])):
        session.print(line)


def _head(session: Session, verdict: EvidenceVerdict) -> None:
    judgement = verdict.judgement
    product = f" of {judgement.product}" if judgement.product else ""
    simulated = ", SIMULATED" if judgement.simulated else ""
    word, style = ("PASS", "1;32") if verdict.passed else ("FAIL", "1;31")
    reason = f": {verdict.reason}" if verdict.reason else ""
    session.print(printable(f"{word}: {judgement.kind}{product}{simulated}{reason}"), style=style)
    document = verdict.policy.document
    if document is None:
        return
    (signature,) = (item for item in verdict.policy.checks if item.id == SIGNATURE)
    line = f"policy {document.name} version {document.version}: {signature.actual}"
    session.print(printable(line), style=_STYLE[signature.outcome])
    if verdict.policy.is_trial:
        session.print(
            f"policy mode {document.mode.value}: this is what it says; at a service it would "
            "decide nothing yet",
            style=_STYLE[Outcome.UNCHECKED],
        )


def _failure(session: Session, item: Finding) -> None:
    no = _painted(session, Outcome.FAIL, "NO")
    session.print(f"  {sentence(item.id)} {no} ({item.id})")
    if item.expected not in _NO_MORE:
        session.print(f"      expected  {printable(item.expected)}")
    session.print(f"      found     {printable(item.actual)}")
    session.print(f"      do        {advice(item)}")


def _says_more(item: Finding) -> bool:
    """Whether what was found is more than that the check holds."""
    return item.actual not in _NO_MORE


def _unasked(items: list[Finding]) -> Iterator[tuple[str, str, str]]:
    """A line each, and one for all parts of a version."""
    families: dict[str, list[Finding]] = {}
    for item in items:
        families.setdefault(family(item.id) or item.id, []).append(item)
    for name, some in families.items():
        parts = ", ".join(f"{item.id.removeprefix(name + '.')} {item.actual}" for item in some)
        value = some[0].actual if len(some) == 1 and some[0].id == name else parts
        yield subject(name), name, value


def _painted(session: Session, outcome: Outcome, word: str) -> str:
    return painted(word, _STYLE[outcome], color=session.color_out)
