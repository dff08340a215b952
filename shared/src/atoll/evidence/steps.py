"""Steps of a verification as findings: always all of them, whatever fails first.

A verification of any kind is a table of step ids with ranks, in the order in which they are
done. When one fails, those of lower rank are known to have passed, and the others were not
reached, which counts as failed.
"""

from collections.abc import Mapping
from typing import Final

from atoll.errors import EvidenceError, MalformedEvidenceError
from atoll.evidence.comparisons import finding
from atoll.evidence.findings import Finding

Ranks = Mapping[str, int]
"""The rank of each step, in order."""

_MAX_TEXT: Final = 1024


def error_text(error: EvidenceError) -> str:
    """An error as the `actual` of a finding, short enough for one."""
    if isinstance(error, MalformedEvidenceError):
        return error.message[:_MAX_TEXT]
    return f"{error.code}: {error.message}"[:_MAX_TEXT]


def passed_step(name: str) -> Finding:
    """A step that was done."""
    return finding(name, name, "verified", "verified", passed=True)


def passed_steps(ranks: Ranks) -> tuple[Finding, ...]:
    """Every step was done."""
    return tuple(passed_step(name) for name in ranks)


def failed_steps(
    ranks: Ranks, failed: str, why: str, *, rank: int | None = None, optional: str = ""
) -> tuple[Finding, ...]:
    """One step failed.

    Args:
        rank: how far verification came, if that is not the rank of the step.
        optional: a step that may not have been done although later ones were.
    """
    reached = ranks[failed] if rank is None else rank
    passed = [
        name for name, own in ranks.items() if own < reached and name not in {failed, optional}
    ]
    unreached = [
        finding(name, name, "verified", f"not reached, because {failed} failed")
        for name in ranks
        if name != failed and name not in passed
    ]
    return (
        *map(passed_step, passed),
        finding(failed, failed, "verified", why),
        *unreached,
    )
