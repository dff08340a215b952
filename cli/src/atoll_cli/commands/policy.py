"""`atoll policy new|sign|lint|show|diff|activate`; `corim` adds `atoll policy corim`."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from atoll.client.appraisal import trust_store
from atoll.client.files import read_private, write_private
from atoll.corim.policies import into_policy
from atoll.corim.signed import MAX_SIGNED, verify_corim
from atoll.corim.values import Corim
from atoll.identity import MAX_FILE, PartyPublic
from atoll.policy.activation import activate as next_state
from atoll.policy.diff import diff
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.lint import Severity, lint
from atoll.policy.records import judge_with, replay
from atoll.policy.sections import SECTIONS, SNP, Policy
from atoll.policy.signed import SignedPolicy, sign_policy, verify_policy
from atoll.policy.templates import strict
from atoll_cli import policy_show as shown
from atoll_cli import policy_stack as stack
from atoll_cli.launch_options import LaunchOptions, launch_options, measured
from atoll_cli.lazy import LazyGroup
from atoll_cli.options import (
    DEFAULT_KEY,
    FILE,
    KEY_NAME,
    NameType,
    json_option,
    key_option,
    pass_session,
    root_option,
)
from atoll_cli.policy_files import pretty, read_keys, read_policy, read_records, read_signed
from atoll_cli.policy_store import FilePolicyStore
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import table

_NAME: Final = NameType("policy name")
_OUTPUT: Final = click.Path(dir_okay=False, writable=True, path_type=Path)
_DIRECTORY: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_MAX_ROOT: Final = 16 << 10
_REFUSED: Final = 1
_local_option: Final = click.option(
    "--local", is_flag=True, help="Keep to ATOLL_HOME, even if there is the profile of a stack."
)


@click.group(cls=LazyGroup, lazy={"corim": "atoll_cli.commands.corim:corim"})
def policy() -> None:
    """What an enclave must be: documents that are signed, numbered and never rolled back."""


def _hex(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> frozenset[bytes]:
    try:
        return frozenset(bytes.fromhex(value) for value in values)
    except ValueError as error:
        raise click.BadParameter("want hex digits") from error


@policy.command()
@click.argument("name", type=_NAME)
@click.option("--tee", type=click.Choice(list(SECTIONS)), default=SNP, show_default=True)
@click.option(
    "--measurement",
    "measurements",
    metavar="HEX",
    multiple=True,
    callback=_hex,
    help="Code that may run: launch digest, MRTD or enclave hash. Repeatable.",
)
@click.option("--corim", type=FILE, help="Take reference values from this signed CoRIM.")
@click.option(
    "--corim-key",
    nargs=2,
    type=(str, FILE),
    metavar="KID PEM",
    help="Key id and public key of the CoRIM's signer.",
)
@click.option("--from", "origin", type=FILE, help="Start from this document, one version on.")
@click.option(
    "--mode", type=click.Choice([mode.value for mode in Mode]), default="enforce", show_default=True
)
@click.option("--output", "-o", required=True, type=_OUTPUT, help="The file to write.")
@launch_options(required=False)
@json_option
@pass_session
def new(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    /,
    name: str,
    tee: str,
    measurements: frozenset[bytes],
    corim: Path | None,
    corim_key: tuple[str, Path] | None,
    origin: Path | None,
    mode: str,
    output: Path,
    **launch: Any,
) -> None:
    """Write a strict document NAME, to be looked at and changed by a person.

    Fields that depend on the host are "unchecked" in it; `atoll policy lint` lists them.
    With --ovmf and the options of `atoll measure snp`, the image that they describe may run.
    """
    image = LaunchOptions(**launch)
    if image.given:
        if tee != SNP:
            raise click.UsageError(f"--ovmf is about {SNP}, not {tee}")
        measurements |= {measured(image).digest}
    if (corim is None) != (corim_key is None):
        raise click.UsageError("--corim and --corim-key go together")
    before = read_policy(origin)[0] if origin else None
    if before is not None and before.name != name:
        raise click.UsageError(f"{origin} is of the policy {before.name!r}")
    sections = dict(before.sections) if before else {}
    if measurements or corim or not sections:
        values = _reference_values(corim, corim_key) if corim and corim_key else None
        sections[tee] = _section(tee, sections.get(tee), measurements, values)
    document = PolicyDocument(
        name=name,
        version=before.version + 1 if before else 1,
        not_before=before.not_before if before else 0,
        mode=Mode(mode),
        sections=sections,
    )
    write_private(output, pretty(document), exclusive=True)
    session.say(f"wrote {output}; next: atoll policy lint, then sign, then activate")
    shown.show_document(session, document, None)


def _reference_values(path: Path, key: tuple[str, Path]) -> Corim:
    keys = read_keys({key[0]: key[1]})
    raw = read_private(path, limit=MAX_SIGNED)
    return verify_corim(raw, keys, now=datetime.now(UTC)).corim


def _section(
    tee: str, before: Policy | None, measurements: frozenset[bytes], corim: Corim | None
) -> Policy:
    """The section with other code in it, and the rest as before or as strict as can be."""
    if corim is None:
        if before is None:
            return strict(tee, measurements)
        identity = SECTIONS[tee].identity[0]
        changed: Policy = replace(before, **{identity: measurements})  # type: ignore[arg-type]
        return changed
    if measurements:
        raise click.UsageError("--corim and --measurement exclude each other")
    return into_policy(corim, before or strict(tee, frozenset()))


@policy.command()
@click.argument("file", type=FILE)
@key_option
@click.option("--output", "-o", required=True, type=_OUTPUT, help="The file to write.")
@json_option
@pass_session
def sign(session: Session, file: Path, key_name: str, output: Path) -> None:
    """Sign the document FILE; one that has signatures already gets one more."""
    document, before = read_policy(file)
    made = sign_policy(document, [session.keys().load(key_name)])
    kept = before.signatures if before else ()
    mine = {item.signing_key for item in made.signatures}
    every = (*made.signatures, *(item for item in kept if item.signing_key not in mine))
    ordered = tuple(sorted(every, key=lambda item: item.signing_key))
    whole = SignedPolicy(document=document, signatures=ordered)
    write_private(output, whole.to_bytes(), exclusive=True)
    session.say(f"wrote {output}")
    shown.show_document(session, document, whole)


@policy.command(name="lint")
@click.argument("file", type=FILE)
@json_option
@pass_session
def lint_(session: Session, file: Path) -> int:
    """Say what to look at in FILE before signing it. Exit status 1 if there are errors."""
    document, _ = read_policy(file)
    remarks = lint(document, now=int(time.time()))
    for line in table((item.severity.value, item.path, item.message) for item in remarks):
        session.print(line)
    if not remarks:
        session.print("nothing to remark")
    session.document({"remarks": [shown.remark(item) for item in remarks]})
    return _REFUSED if any(item.severity is Severity.ERROR for item in remarks) else 0


@policy.command()
@click.argument("file", type=FILE)
@json_option
@pass_session
def show(session: Session, file: Path) -> None:
    """Show the document FILE. Signatures are listed and not checked."""
    shown.show_document(session, *read_policy(file))


@policy.command(name="diff")
@click.argument("new_file", metavar="NEW", type=FILE)
@click.option("--against", type=FILE, help="Compare with this document (default: the active one).")
@click.option(
    "--replay",
    "replayed",
    is_flag=True,
    help="Judge kept appraisals again under NEW, and show which verdicts would change.",
)
@click.option(
    "--records",
    type=_DIRECTORY,
    help="Where the appraisals are kept (default: at the stack of the profile; without one, "
    "in ATOLL_HOME/appraisals).",
)
@_local_option
@root_option
@json_option
@pass_session
def diff_(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    new_file: Path,
    against: Path | None,
    replayed: bool,  # noqa: FBT001
    records: Path | None,
    local: bool,  # noqa: FBT001
    root: Path | None,
) -> None:
    """Show what NEW changes, and whether that is tighter or looser.

    NEW is compared with what is active at the stack of the profile, if there is one.
    """
    document, _ = read_policy(new_file)
    at_stack = stack.has_stack(session) and not local
    if against:
        old: PolicyDocument | None = read_policy(against)[0]
    elif at_stack:
        old = run_stoppable(stack.active(session, document.name))
    else:
        old = _active(session, document.name)
    changes = diff(old, document) if old else ()
    if old is None:
        session.say(f"no version of {document.name} is active, so everything is new")
    rows = ((item.direction.value, item.path, item.old, "->", item.new) for item in changes)
    for line in table(rows):
        session.print(line)
    more = sum(item.direction.accepts_more for item in changes)
    session.print(f"{len(changes)} changes, {more} of them accept more than before")
    result = None
    if replayed:
        trusted = read_private(root, limit=_MAX_ROOT) if root else b""
        if records or not at_stack:
            result = _replay_files(session, document, records, trusted)
        else:
            tally = run_stoppable(stack.replay_kept(session, document, trusted))
            stack.show_tally(session, tally)
            result = stack.tally_document(tally)
    session.document({"changes": [shown.change(item) for item in changes], "replay": result})


def _replay_files(
    session: Session, document: PolicyDocument, records: Path | None, root: bytes
) -> dict[str, Any]:
    found = read_records(records or session.home / "appraisals")
    result = replay(found, document, judge_with(trust_store(root)))
    shown.show_replay(session, result)
    return shown.replay_document(result)


@policy.command()
@click.argument("file", type=FILE)
@click.option(
    "--owner",
    "owners",
    metavar="FILE",
    type=FILE,
    multiple=True,
    help="Public file of a party that may sign this policy (default: your key).",
)
@click.option(
    "--threshold",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="How many of the owners must have signed.",
)
@click.option(
    "--key",
    "key_name",
    type=KEY_NAME,
    default=DEFAULT_KEY,
    show_default=True,
    help="Your key, which is the owner if no --owner is given.",
)
@_local_option
@json_option
@pass_session
def activate(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    file: Path,
    owners: tuple[Path, ...],
    threshold: int,
    key_name: str,
    local: bool,  # noqa: FBT001
) -> None:
    """Put the signed document FILE in force: at the stack of the profile, or else here.

    At a stack, its attestor knows the owners; --owner, --threshold and --key are for here.

    Refused: a document that is not signed by its owners, one that is older than any that was
    active before, and one whose time has not come. In the modes shadow and warn, the document
    that was in force before still decides.
    """
    if stack.has_stack(session) and not (local or owners):
        stack.show_view(session, run_stoppable(stack.activate(session, read_signed(file))))
        return
    keys = [_owner(path).signing_key for path in owners]
    if not owners:
        keys = [session.keys().public(key_name).signing_key]
    verified = verify_policy(read_signed(file), keys, threshold=threshold)
    store = FilePolicyStore(session.home / "policies")
    before = store.load(verified.document.name)
    after = next_state(before, verified, now=int(time.time()))
    if after != before:
        store.replace(before, after)
    shown.show_state(session, after, changed=after != before)


def _owner(path: Path) -> PartyPublic:
    return PartyPublic.from_bytes(read_private(path, limit=MAX_FILE))


def _active(session: Session, name: str) -> PolicyDocument | None:
    state = FilePolicyStore(session.home / "policies").load(name)
    return (state.enforced or state.candidate) if state else None
