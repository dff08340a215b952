"""The outcome of an appraisal: every finding, and what follows from them.

These are messages, so an appraisal travels over the bus and into JSON output as it
is. An appraisal that contradicts its own findings cannot be made or decoded.
"""

from enum import Enum
from typing import Annotated

from atoll.errors import MessageError
from atoll.evidence.document import Tee
from atoll.wire.schema import Code, Digest, Size, Text, message


class Outcome(Enum):
    """What became of one check; `UNCHECKED` only where the policy says so."""

    PASS = "pass"  # noqa: S105 - the word, not a password
    FAIL = "fail"
    UNCHECKED = "unchecked"


class Verdict(Enum):
    """What became of all checks."""

    PASS = "pass"  # noqa: S105 - as above
    FAIL = "fail"


@message
class Finding:
    """One check: a stable id, the field it looked at, and both values."""

    id: Code
    outcome: Outcome
    field: Text
    expected: Text
    actual: Text


@message
class Appraisal:
    """Judgement of one piece of evidence under one policy.

    `reason` is the id of the first finding that failed, or empty. `simulated` is true
    when the evidence is of the development TEE: then nothing is protected, whatever
    the verdict. `claims`, `product` and `tcb_status` are there only if the evidence is
    authentic, save that of a kind without a product line `product` repeats what was asked for.
    """

    tee: Tee | None
    verdict: Verdict
    reason: Annotated[str, Size(0, 64)]
    simulated: bool
    policy_digest: Digest
    evidence_digest: Digest
    findings: Annotated[tuple[Finding, ...], Size(1, 128)]
    claims: Annotated[dict[str, Text], Size(0, 64)]
    product: Annotated[str, Size(0, 64)] = ""
    """The product line that the evidence is of."""
    tcb_status: Annotated[str, Size(0, 64)] = ""
    """What Intel's collateral says of the platform (`dcap.tcb_info.TcbStatus`)."""

    def __post_init__(self) -> None:
        reason = first_failed(self.findings)
        passed = not reason and any(item.outcome is Outcome.PASS for item in self.findings)
        if self.reason != reason or (self.verdict is Verdict.PASS) != passed:
            raise MessageError("Appraisal: verdict and reason do not follow from the findings")

    @property
    def passed(self) -> bool:
        """Whether the verdict is `PASS`."""
        return self.verdict is Verdict.PASS

    def finding(self, name: str) -> Finding:
        """The finding with this id.

        Raises:
            KeyError: there is none.
        """
        for item in self.findings:
            if item.id == name:
                return item
        raise KeyError(name)


def first_failed(findings: tuple[Finding, ...]) -> str:
    """The id of the first finding that failed, or an empty string."""
    return next((item.id for item in findings if item.outcome is Outcome.FAIL), "")
