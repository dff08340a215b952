"""Policies of a running stack: what is in force, activating, replaying its appraisals."""

from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from atoll.bus import KeyValue, read_stream
from atoll.client.appraisal import trust_store
from atoll.client.profile import ProfileFile
from atoll.errors import MessageError
from atoll.policy.document import PolicyDocument
from atoll.policy.records import Judge, VerdictChange, from_bytes, judge_with, replay
from atoll.policy.signed import SignedPolicy
from atoll.wire import endpoints, schema, subjects, topology
from atoll.wire.messages import ActivateRequest, PolicyRecord, PolicyView
from atoll_cli.remote import connected
from atoll_cli.session import Session
from atoll_cli.text import printable, table

ENFORCE: Final = "enforce"
MAX_EXAMPLES: Final = 20
TIMEOUT_S: Final = 10.0


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a document would have changed, in as little memory as it takes to say it."""

    judged: int = 0
    unreadable: int = 0
    now_refused: int = 0
    now_accepted: int = 0
    other_reason: int = 0
    """Refused before and after, for another reason."""
    by_finding: Counter[str] = field(default_factory=Counter)
    """The check that decides now, and for how many changed verdicts."""
    examples: list[VerdictChange] = field(default_factory=list)
    """The first of the changes."""

    def add(self, raw: bytes, document: PolicyDocument, judge: Judge) -> None:
        """Judge one kept appraisal again."""
        try:
            record = from_bytes(raw)
        except MessageError:
            self.unreadable += 1
            return
        found = replay([record], document, judge)
        self.judged += found.judged
        self.now_refused += found.now_refused
        self.now_accepted += found.now_accepted
        for change in found.changes:
            self.other_reason += not (change.old.passed or change.new.passed)
            self.by_finding[change.new.reason or change.old.reason] += 1
            if len(self.examples) < MAX_EXAMPLES:
                self.examples.append(change)


def has_stack(session: Session) -> bool:
    """Whether there is a profile of a stack."""
    return ProfileFile(session.home).path.exists()


async def active(session: Session, name: str) -> PolicyDocument | None:
    """The document that is enforced, or else on trial. Signatures are the attestor's to check.

    Raises:
        AtollError: no stack answers, or what it holds is no policy.
    """
    async with connected(session) as remote:
        remote.client.require_house("policies")
        entry = await KeyValue(remote.client.bus, topology.POLICIES).get(name)
    if entry is None or entry.value is None:
        return None
    record = schema.decode(PolicyRecord, entry.value)
    return SignedPolicy.from_bytes(record.enforced or record.candidate).document


async def activate(session: Session, signed: bytes) -> PolicyView:
    """Have the attestor put a signed document in force.

    Raises:
        InputError: `policy.*`: it is not signed by the owners that the attestor knows.
        RefusedError: `policy.rollback`, `policy.fork`, `policy.not_yet`.
        AtollError: no stack answers.
    """
    request = schema.encode(ActivateRequest(signed=signed))
    async with connected(session) as remote:
        reply = await remote.client.bus.request(
            endpoints.ACTIVATE.subject.of(), request, timeout_s=TIMEOUT_S, retry=True
        )
    return schema.decode(PolicyView, reply.payload)


async def replay_kept(session: Session, document: PolicyDocument, root: bytes) -> Tally:
    """Judge every appraisal that the stack keeps under `document`, each at its own time.

    Args:
        session: of a home with a profile.
        document: the new one.
        root: the root of a simulated TEE (PEM or DER) instead of the profile's.

    Raises:
        AtollError: no stack answers; a root that is no certificate.
    """
    tally = Tally()
    async with connected(session) as remote:
        remote.client.require_house("kept appraisals")
        judge = judge_with(trust_store(root or remote.profile.development_root.encode()))
        messages = read_stream(
            remote.client.bus, topology.APPRAISALS.name, subjects.APPRAISAL.of(ENFORCE)
        )
        async with aclosing(messages):
            async for message in messages:
                tally.add(message.payload, document, judge)
    return tally


def show_view(session: Session, view: PolicyView) -> None:
    """What is in force at the stack, and whether that is new."""
    for place, version in (("enforced", view.enforced), ("candidate", view.candidate)):
        session.print(f"{view.name} {place}: {f'version {version}' if version else 'none'}")
    if not view.changed:
        session.say("it was active already")
    if not view.enforced:
        session.say("nothing is enforced, so no enclave is admitted under this policy")
    session.document(
        {
            "name": view.name,
            "changed": view.changed,
            "highest": view.highest,
            "digest": view.digest,
            "enforced": view.enforced or None,
            "candidate": view.candidate or None,
        }
    )


def show_tally(session: Session, tally: Tally) -> None:
    """What would have been different, for a person."""
    session.print(
        f"replayed {tally.judged} appraisals: {tally.now_refused} would be refused now, "
        f"{tally.now_accepted} accepted, {tally.other_reason} refused for another reason"
    )
    if tally.unreadable:
        session.print(f"{tally.unreadable} kept appraisals could not be read")
    for line in table((printable(name), str(count)) for name, count in _counted(tally)):
        session.print(line)
    for item in tally.examples:
        session.print(f"  {item.id} at {item.at.isoformat()}")
        for line in item.failed:
            session.print(f"    {printable(line)}")


def tally_document(tally: Tally) -> dict[str, Any]:
    """The same as JSON; `changes` are the first of them."""
    changes = [
        {
            "id": item.id,
            "at": item.at.isoformat(),
            "old": {"passed": item.old.passed, "reason": item.old.reason},
            "new": {"passed": item.new.passed, "reason": item.new.reason},
            "failed": list(item.failed),
        }
        for item in tally.examples
    ]
    return {
        "judged": tally.judged,
        "unreadable": tally.unreadable,
        "now_refused": tally.now_refused,
        "now_accepted": tally.now_accepted,
        "other_reason": tally.other_reason,
        "by_finding": dict(_counted(tally)),
        "changes": changes,
    }


def _counted(tally: Tally) -> list[tuple[str, int]]:
    return sorted(tally.by_finding.items(), key=lambda item: (-item[1], item[0]))
