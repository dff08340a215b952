"""`atoll release JOB`, and `atoll release --watch --policy FILE` for when nobody is there."""

from pathlib import Path
from typing import Any, Final

import click

from atoll.client.agreement import ManifestFile
from atoll.client.files import read_private
from atoll.client.release import (
    EvidenceRefusedError,
    Prospect,
    Releaser,
    Secrets,
    Waiting,
    require_secrets,
)
from atoll.client.secret_files import SecretsFor
from atoll.client.uses import Cursor, UseFile
from atoll.client.watching import Answer, HeadlessReleaser, Outcome, Told
from atoll.client.withdrawn import Withdrawn
from atoll.computation.releasing import MAX_POLICY, ReleasePolicy
from atoll.errors import RefusedError, UnreachableError
from atoll.evidence.findings import Verdict
from atoll.identity import PartyKeys
from atoll.wire.messages import JobState
from atoll_cli import show
from atoll_cli.agreement_files import secrets_for
from atoll_cli.asking import require_yes
from atoll_cli.computation_show import manifest_lines, moment
from atoll_cli.options import (
    FILE,
    JOB,
    json_option,
    key_option,
    pass_session,
    secrets_option,
    yes_option,
)
from atoll_cli.remote import Remote, connected
from atoll_cli.session import Session
from atoll_cli.stopping import StoppedError, checkpoint, run_stoppable
from atoll_cli.text import printable
from atoll_cli.trust import profile_appraiser

_STYLE: Final = {Outcome.RELEASED: "32", Outcome.REFUSED: "1;31"}


@click.command()
@click.argument("job", type=JOB, required=False)
@click.option("--watch", is_flag=True, help="Answer every job by --policy until stopped.")
@click.option(
    "--policy",
    metavar="FILE",
    type=FILE,
    help="With --watch: your release policy (docs/formats/release-policy.md).",
)
@click.option("--verbose", is_flag=True, help="Show expected and actual value of every check.")
@key_option
@secrets_option
@yes_option
@json_option
@pass_session
def release(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    job: str | None,
    watch: bool,  # noqa: FBT001
    policy: Path | None,
    verbose: bool,  # noqa: FBT001
    key_name: str,
    secrets: Path | None,
    yes: bool,  # noqa: FBT001
) -> None:
    """Release the keys of your assets to the enclave of JOB, after showing it and asking.

    The evidence is appraised here. With --watch, nobody is asked: each job that waits for keys
    of yours is answered by the rules in --policy, uses are counted in ATOLL_HOME, and each
    decision is one line (with --json, one object). It ends with status 0 when it is told to.
    """
    if (watch, not watch) != (policy is not None, job is not None):
        raise click.UsageError("want JOB, or --watch with --policy")
    rules = None if policy is None else ReleasePolicy.from_bytes(
        read_private(policy, limit=MAX_POLICY)
    )  # fmt: skip
    # Not inside: nothing could interrupt a question there.
    keys = session.keys().load(key_name)
    find = secrets_for(session, secrets)
    if rules is not None:
        _watch(session, keys, find, rules)
    elif job is not None:
        _once(session, job, keys, find, yes=yes, verbose=verbose)


def _once(
    session: Session, job: str, keys: PartyKeys, find: SecretsFor, *, yes: bool, verbose: bool
) -> None:
    prospect = run_stoppable(_look(session, job, keys))
    for line in manifest_lines(ManifestFile.from_bytes(prospect.manifest.to_bytes())):
        session.say(line)
    session.say()
    if prospect.appraisal.simulated:
        session.banner(host_tpm=show.is_host_tpm(prospect.appraisal))
    session.say(f"appraisal of enclave {prospect.enclave_id}")
    for line in show.appraisal_lines(prospect.appraisal, color=session.color_err, verbose=verbose):
        session.say(line)
    session.known.update(
        job_id=job,
        enclave_id=prospect.enclave_id,
        manifest_digest=prospect.manifest_digest.hex(),
        evidence=show.evidence_document(prospect.appraisal),
    )
    if prospect.appraisal.verdict is not Verdict.PASS:
        raise EvidenceRefusedError(prospect.appraisal)
    own = prospect.manifest.assets_of(keys.name)
    if not own:
        raise RefusedError(
            f"no asset of this computation is of {keys.name!r}", code="release.nothing"
        )
    found = find(tuple(asset.asset_id for asset in own.values()))
    require_secrets(prospect.manifest, keys.name, found)
    question = f"release the keys of {', '.join(sorted(own))} to this enclave?"
    require_yes(session, question, yes=yes)
    names = run_stoppable(_release(session, prospect, keys, found))
    session.print(f"released {', '.join(names)} to enclave {prospect.enclave_id}")
    session.document({**session.known, "released": list(names)})


async def _look(session: Session, job: str, keys: PartyKeys) -> Prospect:
    async with connected(session) as remote:
        view = await remote.client.get(job)
        if view.state is not JobState.AWAITING_ASSETS:
            raise _not_waiting(job, view.state)
        waiting = Waiting.of(view, manifest_digest=bytes.fromhex(view.manifest_digest))
        Withdrawn(session.home).require_standing(keys.name, waiting.manifest_digest)
        return await _releaser(session, remote, keys).look(waiting)


async def _release(
    session: Session, prospect: Prospect, keys: PartyKeys, found: Secrets
) -> tuple[str, ...]:
    async with connected(session) as remote:
        view = await remote.client.get(prospect.job_id)
        if (view.state, view.enclave_id) != (JobState.AWAITING_ASSETS, prospect.enclave_id):
            raise _not_waiting(prospect.job_id, view.state)
        return await _releaser(session, remote, keys).release(prospect, found)


def _releaser(session: Session, remote: Remote, keys: PartyKeys) -> Releaser:
    return Releaser(
        client=remote.client,
        keys=keys,
        appraiser=profile_appraiser(session.home, remote.profile),
    )


def _not_waiting(job: str, state: JobState) -> RefusedError:
    return RefusedError(
        f"job {job} is {state.value}; no enclave of it waits for keys, or not the one you saw",
        code="release.not_waiting",
        hint=f"`atoll events --job {job} --follow` shows when one does",
    )


def _watch(session: Session, keys: PartyKeys, find: SecretsFor, rules: ReleasePolicy) -> None:
    try:
        with UseFile.opened(session.home, keys.name) as uses:
            run_stoppable(_watching(session, keys, find, rules, uses))
    except StoppedError:
        session.say("stopped")


async def _watching(
    session: Session, keys: PartyKeys, find: SecretsFor, rules: ReleasePolicy, uses: UseFile
) -> None:
    async with connected(session) as remote:
        releaser = HeadlessReleaser(
            releaser=_releaser(session, remote, keys),
            policy=rules,
            uses=uses,
            cursor=Cursor.of(session.home, keys.name),
            withdrawn=Withdrawn(session.home),
            secrets_for=find,
            told=_Log(session),
        )
        session.say(f"answering for {keys.name} by {len(rules.rules)} rules")
        await releaser.watch()


class _Log(Told):
    """One line for each decision on standard output."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def answered(self, answer: Answer) -> None:
        if self._session.as_json:
            self._session.line(_document(answer))
            return
        looked = answer.appraisal
        marked = f", {show.mark(looked)}" if looked is not None and looked.simulated else ""
        line = (
            f"{moment(answer.time_ms)}  {answer.outcome.value:<8}  {answer.job_id}  "
            f"attempt {answer.attempt}  {answer.message} [{answer.code}]"
        )
        self._session.print(printable(line + marked), style=_STYLE[answer.outcome])

    def waiting(self, error: UnreachableError) -> None:
        self._session.say(f"waiting: {printable(error.message)}")

    def checkpoint(self) -> None:
        checkpoint()


def _document(answer: Answer) -> dict[str, Any]:
    appraisal = answer.appraisal
    return {
        "time_ms": answer.time_ms,
        "job_id": answer.job_id,
        "attempt": answer.attempt,
        "enclave_id": answer.enclave_id,
        "manifest_digest": answer.manifest_digest,
        "decision": answer.outcome.value,
        "code": answer.code,
        "message": answer.message,
        "assets": list(answer.assets),
        "simulated": None if appraisal is None else appraisal.simulated,
        "evidence": None if appraisal is None else appraisal.evidence_digest,
    }
