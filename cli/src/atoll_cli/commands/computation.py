"""`atoll computation new|lint|show|sign|status|withdraw`: what several parties agree on."""

import re
import time
from pathlib import Path
from secrets import token_bytes
from typing import Final

import click

from atoll.client.agreement import ConsentFile, ManifestFile, State, standing
from atoll.client.assets import upload_pieces
from atoll.client.files import read_private, write_private
from atoll.client.plan import MAX_PLAN, Plan
from atoll.client.release import require_party
from atoll.client.secret_files import SecretFiles
from atoll.client.withdrawn import Withdrawn
from atoll.computation.advice import advise
from atoll.computation.assets import AssetRef
from atoll.computation.consent import withdraw as make_withdrawal
from atoll.computation.manifest import digest
from atoll.errors import InputError, ManifestError
from atoll.identity import PartyKeys
from atoll.sealing.release import ReleasedKey
from atoll.wire.messages import AgreedManifest, EventType, JobEvent, JobState, JobView
from atoll.wire.names import TOKEN
from atoll_cli import computation_show as shown
from atoll_cli import show as shows
from atoll_cli.agreement_files import beside, read_consents, read_manifest, secret_files
from atoll_cli.asking import require_yes
from atoll_cli.options import (
    DURATION,
    FILE,
    JOB,
    json_option,
    key_option,
    pass_session,
    secrets_option,
    yes_option,
)
from atoll_cli.remote import connected
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.text import table

_OUTPUT: Final = click.Path(dir_okay=False, path_type=Path)
_INCOMPLETE: Final = 1


@click.group()
def computation() -> None:
    """What several parties agree on, sign, and may take back."""


@computation.command()
@click.argument("plan", type=FILE)
@click.option("--out", "-o", required=True, type=_OUTPUT, help="The manifest to write.")
@key_option
@secrets_option
@json_option
@pass_session
def new(session: Session, plan: Path, out: Path, key_name: str, secrets: Path | None) -> None:
    """Write the manifest that PLAN describes, for all its parties to look at and sign.

    PLAN is JSON and names the parties' public files and the assets' cards
    (docs/formats/computation-plan.md). Arguments that stand in it are sealed under --key and
    uploaded; their key stays in --secrets. Without any, no stack is needed.
    """
    if out.exists():
        raise InputError(f"{out} exists already", code="file.exists", hint="choose another --out")
    planned = Plan.from_bytes(read_private(plan, limit=MAX_PLAN))
    read = beside(plan)
    planned.parties(read)  # before anything is uploaded
    wanted = planned.invocations()
    others = sorted({who for who, _ in wanted.values()} - {key_name})
    if others:
        raise InputError(
            f"the plan has arguments of {others[0]!r} in the clear, and the key is {key_name!r}",
            code="plan.provider",
            hint="give --key of who seals them, or put the card of a sealed invocation there",
        )
    sealed: dict[str, AssetRef] = {}
    if wanted:
        store = secret_files(session, secrets)
        keys = session.keys().load(key_name)
        contents = {step: one.to_bytes() for step, (_, one) in wanted.items()}
        sealed = run_stoppable(_sealed(session, store, keys, contents))
    manifest = planned.manifest(read, sealed=sealed, nonce=token_bytes(32))
    write_private(out, manifest.to_bytes(), exclusive=True)
    session.say(f"wrote {out}; next: atoll computation lint, then each party signs")
    file = ManifestFile(manifest=manifest, raw=manifest.to_bytes())
    session.print(file.digest.hex())
    session.document({"path": str(out), "digest": file.digest.hex()})


async def _sealed(
    session: Session, store: SecretFiles, keys: PartyKeys, contents: dict[str, bytes]
) -> dict[str, AssetRef]:
    """Upload the arguments of each step; their keys are on the disk before a manifest is."""
    found = {}
    async with connected(session) as remote:
        for step, content in contents.items():
            asset = await upload_pieces(remote.client, [content], provider=keys.name)
            key = ReleasedKey(content_key=asset.secrets.content_key, salt=asset.secrets.salt)
            store.save(asset.ref.asset_id, key)
            found[step] = asset.ref
    return found


@computation.command()
@click.argument("manifest", type=FILE)
@json_option
@pass_session
def lint(session: Session, manifest: Path) -> None:
    """Check that MANIFEST is legal, and list what a party should look at before it signs.

    Exit status: 1 for what is illegal; advice leaves it at 0.
    """
    file = read_manifest(manifest)
    advice = advise(file.manifest)
    shown.show_advice(session, advice)
    session.say(f"legal: {file.digest.hex()}" + ("" if advice else ", nothing to look at"))
    session.document(
        {"legal": True, "digest": file.digest.hex(), "advice": shown.advice_document(advice)}
    )


@computation.command()
@click.argument("manifest", type=FILE)
@json_option
@pass_session
def show(session: Session, manifest: Path) -> None:
    """Show who is in MANIFEST, what runs on what, and who gets what."""
    file = read_manifest(manifest)
    for line in shown.manifest_lines(file):
        session.print(line)
    session.document(shown.manifest_document(file))


@computation.command()
@click.argument("manifest", type=FILE)
@click.option(
    "--expires", metavar="DURATION", type=DURATION, default="7d", show_default=True,
    help="How long the consent counts: 90s, 30m, 12h, 7d.",
)  # fmt: skip
@click.option("--out", "-o", type=_OUTPUT, help="The file to write (default: NAME.consent.json).")
@key_option
@yes_option
@json_option
@pass_session
def sign(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    manifest: Path,
    expires: int,
    out: Path | None,
    key_name: str,
    yes: bool,  # noqa: FBT001
) -> None:
    """Consent to MANIFEST, after showing it and asking.

    It says that you agree, not that you release a key: that is asked of you for each job.
    """
    file = read_manifest(manifest)
    keys = session.keys().load(key_name)
    require_party(file.manifest, keys)
    for line in shown.manifest_lines(file):
        session.say(line)
    for one in advise(file.manifest):
        session.say(f"{one.level.value:<8} {one.path}: {one.message} [{one.id}]")
    Withdrawn(session.home).require_standing(keys.name, file.digest)
    require_yes(session, f"consent to this as {keys.name}?", yes=yes)
    expires_ms = _now_ms() + expires * 1000
    consent = ConsentFile.sign(keys, file.digest, expires_ms=expires_ms)
    target = out or Path(f"{keys.name}.consent.json")
    write_private(target, consent.to_bytes(), exclusive=True)
    session.print(f"wrote {target}: {keys.name} consents until {shown.moment(expires_ms)}")
    session.document(
        {
            "path": str(target),
            "party": keys.name,
            "digest": file.digest.hex(),
            "expires_ms": expires_ms,
        }
    )


@computation.command()
@click.argument("manifest", type=FILE)
@click.argument("consents", nargs=-1, type=FILE)
@click.option("--job", metavar="JOB", type=JOB, help="Say also how far this job of it is.")
@json_option
@pass_session
def status(session: Session, manifest: Path, consents: tuple[Path, ...], job: str | None) -> int:
    """Show what is still missing for MANIFEST, and from whom.

    With --job, which keys its enclave may still wait for: the stack says that it waits, not for
    which of them. Exit status: 1 while a consent is missing or useless.
    """
    file = read_manifest(manifest)
    standings = standing(file, read_consents(consents), now_ms=_now_ms())
    view: JobView | None = None
    refused: list[JobEvent] = []
    if job is not None:
        view, agreed, refused = run_stoppable(_job(session, job))
        if digest(agreed.manifest) != file.digest:
            raise ManifestError(
                f"job {job} is of the manifest {view.manifest_digest}", code="manifest.other"
            )
        if not consents:
            given = [
                ConsentFile(manifest_digest=file.digest, consent=one) for one in agreed.consents
            ]
            standings = standing(file, given, now_ms=_now_ms())
    for line in shown.standing_lines(standings):
        session.print(line)
    waits = _outstanding(file, view)
    if view is not None:
        _print_job(session, view, waits, refused)
    complete = all(one.state is State.GIVEN for one in standings)
    if not complete:
        session.say("not every party of this manifest consents, or a consent is of no use")
    session.document(
        {
            "digest": file.digest.hex(),
            "complete": complete,
            "consents": [shown.standing_document(one) for one in standings],
            "job": None if view is None else shows.job_document(view),
            "keys_may_be_missing": waits,
            "releases_refused": [shows.plain_of(event) for event in refused],
        }
    )
    return 0 if complete else _INCOMPLETE


async def _job(session: Session, job: str) -> tuple[JobView, AgreedManifest, list[JobEvent]]:
    """A job, its manifest, and the releases that its enclave refused."""
    async with connected(session) as remote:
        view = await remote.client.get(job)
        agreed = await remote.client.manifest(view.job_id)
        refused = [
            event
            async for event in remote.client.events(job, follow=False)
            if event.type is EventType.RELEASE_REFUSED and event.attempt == view.attempt
        ]
        return view, agreed, refused


def _outstanding(file: ManifestFile, view: JobView | None) -> dict[str, list[str]]:
    """The assets whose keys an enclave may wait for, by who releases them."""
    before = view is not None and not view.state.terminal and view.state is not JobState.RUNNING
    if not before:
        return {}
    assets = {name: sorted(file.manifest.assets_of(name)) for name in file.manifest.parties}
    return {name: found for name, found in assets.items() if found}


def _print_job(
    session: Session, view: JobView, waits: dict[str, list[str]], refused: list[JobEvent]
) -> None:
    session.print()
    for line in shows.job_lines(view):
        session.print(line)
    if waits:
        session.print("keys that it may still wait for")
    for line in table((who, ", ".join(names)) for who, names in waits.items()):
        session.print(line)
    for event in refused:
        session.print(shows.event_line(event, view.created_ms))


@computation.command()
@click.argument("what", metavar="MANIFEST|JOB")
@key_option
@yes_option
@json_option
@pass_session
def withdraw(session: Session, what: str, key_name: str, yes: bool) -> None:  # noqa: FBT001
    """Take your consent to a manifest back, for good.

    Jobs of it that lack a key end; those that have all their keys go on. From then on no key is
    released from here for it, whatever the stack says.
    """
    keys = session.keys().load(key_name)
    path = Path(what)
    file = read_manifest(path) if path.is_file() else _manifest_of_job(session, what)
    require_party(file.manifest, keys)
    for line in shown.manifest_lines(file):
        session.say(line)
    question = f"take the consent of {keys.name} back? This cannot be undone."
    require_yes(session, question, yes=yes)
    withdrawal = make_withdrawal(keys, file.digest)
    Withdrawn(session.home).record(withdrawal)

    async def work() -> tuple[str, ...]:
        async with connected(session) as remote:
            return await remote.client.withdraw(withdrawal)

    ended = run_stoppable(work())
    session.print(f"{keys.name} no longer consents to {file.digest.hex()}")
    for job in ended:
        session.print(f"ended     {job}")
    session.document({"party": keys.name, "digest": file.digest.hex(), "ended": list(ended)})


def _manifest_of_job(session: Session, what: str) -> ManifestFile:
    if not re.fullmatch(TOKEN, what):
        raise InputError(
            f"{what[:80]!r} is neither a file nor the id of a job", code="file.not_found"
        )

    async def work() -> AgreedManifest:
        async with connected(session) as remote:
            view = await remote.client.get(what)
            agreed = await remote.client.manifest(view.job_id)
            if digest(agreed.manifest).hex() != view.manifest_digest:
                raise ManifestError(
                    f"what is stored as manifest {view.manifest_digest} is another one",
                    code="manifest.other",
                )
            return agreed

    return ManifestFile.from_bytes(run_stoppable(work()).manifest)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
