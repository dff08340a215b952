"""`--policy` of `attest verify`: what a file asks of evidence, and whether the file may ask.

A policy document brings checks of its own, before those of the evidence:

* `policy.signature`: enough of the owners that were named signed it. Without `--owner` it is
  unchecked and says who claims to have signed; a file of a person's own making needs no owner.
* `policy.not_before`: its time has come, at the moment that the evidence is judged for.

A document has no end: it holds until a later version is activated. Its mode says what a
service does with its verdict. Here somebody asks for that verdict, so it is given, and
decides the exit status, in every mode; in shadow and warn the output says that at a service
it would decide nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from atoll import canonical
from atoll.client.files import read_private
from atoll.errors import InputError
from atoll.evidence.findings import Finding, Outcome
from atoll.identity import MAX_FILE, PartyPublic
from atoll.policy import document as documents
from atoll.policy import signed
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.kinds import SECTION_OF
from atoll.policy.signed import MAX_SIGNED, SignedPolicy, verify_policy
from atoll_cli import evidence_files
from atoll_cli.evidence_options import EvidenceOptions

SIGNATURE: Final = "policy.signature"
NOT_BEFORE: Final = "policy.not_before"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """What a file asks; `document` and `checks` are empty for bare requirements."""

    requirements: dict[str, Any]
    document: PolicyDocument | None = None
    checks: tuple[Finding, ...] = ()

    @property
    def is_trial(self) -> bool:
        """Whether a service would only watch what this document says."""
        return self.document is not None and self.document.mode is not Mode.ENFORCE


def read_policy_file(path: Path, options: EvidenceOptions) -> PolicyFile:
    """Requirements, a whole policy, or the section about the kind of a policy document.

    Raises:
        InputError: `policy.invalid`, `name.invalid`, `json.*`, `identity.*`: it is none.
        click.UsageError: it is none for this kind; owners of what nobody can have signed.
    """
    value = evidence_files.json_object(path, limit=2 * MAX_SIGNED, code="policy.invalid")
    if value.get("format") not in (documents.FORMAT, signed.FORMAT):
        if options.owners:
            raise click.UsageError("--owner is about a signed policy document; this is none")
        return PolicyFile(requirements=value)
    envelope = None
    if value["format"] == signed.FORMAT:
        envelope = SignedPolicy.from_bytes(canonical.dumps(value))
        document = envelope.document
    else:
        document = PolicyDocument.from_plain(value)
    sections: dict[str, dict[str, Any]] = document.to_plain()["sections"]
    tee = SECTION_OF.get(options.kind, "")
    if tee not in sections:
        known = ", ".join(sections) or "none"
        raise click.UsageError(
            f"--policy has no section about {options.kind}; its sections: {known}"
        )
    checks = (_signature(envelope, options), _not_before(document, options.now))
    return PolicyFile(requirements=sections[tee], document=document, checks=checks)


def _signature(envelope: SignedPolicy | None, options: EvidenceOptions) -> Finding:
    owners = {_owner(path).signing_key for path in options.owners}
    expected = f"signed by {options.threshold} of {len(owners)} named owners"
    if not owners:
        names = ", ".join(item.name for item in envelope.signatures) if envelope else ""
        actual = f"signatures NOT CHECKED, said to be by {names}" if names else "not signed"
        return _finding(SIGNATURE, Outcome.UNCHECKED, "no owner was named", actual)
    if envelope is None:
        return _finding(SIGNATURE, Outcome.FAIL, expected, "not signed")
    try:
        held = verify_policy(envelope.to_bytes(), owners, threshold=options.threshold)
    except InputError as error:
        return _finding(SIGNATURE, Outcome.FAIL, expected, f"{error.code}: {error.message}")
    count = len(held.signed_by)
    return _finding(SIGNATURE, Outcome.PASS, expected, f"signed by {count} of them")


def _not_before(document: PolicyDocument, now: datetime) -> Finding:
    # Not `fromtimestamp`: it cannot hold every time that a document can.
    good = now.timestamp() >= document.not_before
    return _finding(
        NOT_BEFORE,
        Outcome.PASS if good else Outcome.FAIL,
        f"judged at {_moment(document.not_before)} or later",
        f"judged at {_moment(int(now.timestamp()))}",
    )


def _moment(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"


def _owner(path: Path) -> PartyPublic:
    return PartyPublic.from_bytes(read_private(path, limit=MAX_FILE))


def _finding(name: str, outcome: Outcome, expected: str, actual: str) -> Finding:
    return Finding(id=name, outcome=outcome, field=name, expected=expected, actual=actual)
