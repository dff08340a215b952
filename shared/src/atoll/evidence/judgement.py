"""What the verification API takes and gives: a request about one piece of evidence.

The policy of a request is a JSON object in one of two forms. With a key "tee" it is a
whole policy, in which every field is said. Without, it is a list of requirements: a key
that is absent is not checked, except that debug and migration are refused, and for
DCAP every TCB status but UpToDate, unless a key allows them. A key that is not known
is refused, because a check that silently does not happen is worse than an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atoll.errors import InputError
from atoll.evidence.findings import Finding, Outcome, first_failed
from atoll.evidence.judged import Files, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """Keys that are believed beside, or instead of, those that are pinned here."""

    certificates: tuple[bytes, ...] = ()
    """Root certificates, DER or PEM, that are believed beside the pinned ones."""
    amd_spki_sha256: Mapping[str, bytes] | None = None
    """SHA-256 of ARK keys by product line, instead of AMD's pinned ones."""
    intel_spki_sha256: frozenset[bytes] | None = None
    """SHA-256 of root keys, instead of Intel's pinned one."""
    intel_more_spki_sha256: frozenset[bytes] = frozenset()
    """SHA-256 of root keys that are believed beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One piece of evidence with everything that it is judged by."""

    kind: str
    evidence: bytes = field(repr=False)
    files: Mapping[str, tuple[bytes, ...]] = field(repr=False)
    """What goes with it, by role."""
    params: Mapping[str, Any]
    policy: Mapping[str, Any]
    product: str | None
    """The product line that it must be of; None or an unknown name checks nothing."""
    now: datetime | None
    roots: Roots

    def moment(self) -> datetime:
        """The time to judge at.

        Raises:
            InputError: `judge.time`: this kind needs one and the request has none.
        """
        if self.now is None:
            raise InputError(f"{self.kind} needs the time to verify at", code="judge.time")
        return self.now

    def some(self, role: str) -> tuple[bytes, ...]:
        """The files of a role, which may be none."""
        return self.files.get(role, ())

    def one(self, role: str) -> bytes:
        """The one file of a role.

        Raises:
            InputError: `judge.files`: there is none, or several.
        """
        found = self.files.get(role, ())
        if len(found) != 1:
            raise InputError(
                f"{self.kind} wants one file for {role!r}, has {len(found)}", code="judge.files"
            )
        return found[0]

    def files_by_role(self) -> Files:
        """The files in the form that the per-kind functions take."""
        return {role: some[0] if len(some) == 1 else some for role, some in self.files.items()}

    def only(self, *roles: str) -> None:
        """Refuse files that this kind would not look at.

        Raises:
            InputError: `judge.files`.
        """
        if unknown := sorted(self.files.keys() - set(roles)):
            raise InputError(f"{self.kind} takes no {unknown}"[:400], code="judge.files")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of a request; `of` makes one that cannot contradict its checks."""

    kind: str
    product: str
    """As the evidence proves it, or as the request says where nothing is proven."""
    verdict: Verdict
    reason: str
    """The id of the first check that failed, or empty."""
    checks: tuple[Finding, ...]
    claims: Mapping[str, str]
    """What authentic or merely parsed evidence says, by the specification's names."""
    simulated: bool = False
    """True if it is of the development TEE: then nothing is protected."""
    tcb_status: str = ""
    """For DCAP, the status that the collateral gives."""

    @classmethod
    def of(
        cls,
        request: Request,
        checks: tuple[Finding, ...],
        *,
        claims: Mapping[str, str] | None = None,
        product: str | None = None,
        simulated: bool = False,
        tcb_status: str = "",
    ) -> "Judgement":
        """Valid if something was checked and nothing failed."""
        reason = first_failed(checks)
        if not reason and not any(item.outcome is Outcome.PASS for item in checks):
            raise ValueError(f"{request.kind}: a judgement needs a check")
        return cls(
            kind=request.kind,
            product=product or request.product or "",
            verdict="invalid" if reason else "valid",
            reason=reason,
            checks=checks,
            claims=dict(claims or {}),
            simulated=simulated,
            tcb_status=tcb_status,
        )

    @classmethod
    def parsed(
        cls, request: Request, check: Finding, claims: Mapping[str, str], *, product: str = ""
    ) -> "Judgement":
        """Of evidence of which nothing can be proven, only that it parses."""
        return cls(
            kind=request.kind,
            product=product or request.product or "",
            verdict="parse-only",
            reason="",
            checks=(check,),
            claims=dict(claims),
        )
