"""How policies look on a terminal and in JSON."""

from datetime import UTC, datetime
from typing import Any

from atoll.policy.diff import Change
from atoll.policy.document import PolicyDocument
from atoll.policy.lint import Remark
from atoll.policy.records import Replay, VerdictChange
from atoll.policy.signed import SignedPolicy
from atoll.policy.state import PolicyState
from atoll_cli.session import Session
from atoll_cli.text import printable, table


def show_document(session: Session, document: PolicyDocument, signed: SignedPolicy | None) -> None:
    """A document, and who says that they signed it."""
    rows = [
        ("name", document.name),
        ("version", str(document.version)),
        ("mode", document.mode.value),
        ("not before", _moment(document.not_before)),
        ("digest", document.digest.hex()),
    ]
    plain = document.to_plain()
    for tee, section in plain["sections"].items():
        rows += [(f"{tee}.{name}", _value(value)) for name, value in section.items()]
    signatures = signed.signatures if signed else ()
    rows += [("signed by", f"{item.name} {item.signing_key.hex()}") for item in signatures]
    for line in table(rows, indent=""):
        session.print(line)
    signers = [{"name": item.name, "signing_key": item.signing_key.hex()} for item in signatures]
    session.document({"digest": document.digest.hex(), "document": plain, "signatures": signers})


def show_state(session: Session, state: PolicyState, *, changed: bool) -> None:
    """What is in force, and whether that is new."""
    for place, document in (("enforced", state.enforced), ("candidate", state.candidate)):
        what = f"version {document.version} ({document.mode.value})" if document else "none"
        session.print(f"{state.name} {place}: {what}")
    if not changed:
        session.say("it was active already")
    if state.enforced is None:
        session.say("nothing is enforced, so no enclave is admitted under this policy")
    session.document(
        {
            "name": state.name,
            "changed": changed,
            "highest": state.highest,
            "enforced": state.enforced.version if state.enforced else None,
            "candidate": state.candidate.version if state.candidate else None,
        }
    )


def show_replay(session: Session, result: Replay) -> None:
    """What would have been different, for a person."""
    session.print(
        f"replayed {result.judged} appraisals: {result.now_refused} would be refused now, "
        f"{result.now_accepted} accepted"
    )
    for item in result.changes:
        session.print(f"  {item.id} at {item.at.isoformat()}: {_verdicts(item)}")
        for line in item.failed:
            session.print(f"    {printable(line)}")


def _verdicts(change: VerdictChange) -> str:
    old, new = (
        "pass" if item.passed else f"fail ({item.reason})" for item in (change.old, change.new)
    )
    return f"{old} -> {new}"


def replay_document(result: Replay) -> dict[str, Any]:
    """The same as JSON."""
    changes = [
        {
            "id": item.id,
            "at": item.at.isoformat(),
            "old": {"passed": item.old.passed, "reason": item.old.reason},
            "new": {"passed": item.new.passed, "reason": item.new.reason},
            "failed": list(item.failed),
        }
        for item in result.changes
    ]
    return {
        "judged": result.judged,
        "now_refused": result.now_refused,
        "now_accepted": result.now_accepted,
        "changes": changes,
    }


def remark(item: Remark) -> dict[str, str]:
    """A remark as JSON."""
    return {
        "id": item.id,
        "severity": item.severity.value,
        "path": item.path,
        "message": item.message,
    }


def change(item: Change) -> dict[str, str]:
    """A change as JSON."""
    return {
        "path": item.path,
        "direction": item.direction.value,
        "old": item.old,
        "new": item.new,
    }


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return str(value)


def _moment(seconds: int) -> str:
    # `MAX_TIME` of documents is far beyond the last year that Python can write.
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"
