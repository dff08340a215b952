"""`atoll result JOB --out DIR`."""

from pathlib import Path

import click

from atoll import manifest as manifests
from atoll.client.appraisal import Appraiser
from atoll.client.connection import AtollClient
from atoll.client.results import OpenedResult, fetch_result
from atoll.errors import ManifestError, RefusedError
from atoll.identity import PartyKeys
from atoll.wire.messages import JobView
from atoll_cli import show
from atoll_cli.options import JOB, fresh_directory, json_option, key_option, pass_session
from atoll_cli.remote import connected
from atoll_cli.running import show_result
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable


@click.command()
@click.argument("job", type=JOB)
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    callback=fresh_directory,
    type=click.Path(file_okay=False, path_type=Path),
    help="A directory that does not exist yet, or is empty.",
)
@key_option
@json_option
@pass_session
def result(session: Session, job: str, out: Path, key_name: str) -> None:
    """Fetch the result of JOB, verify its receipt, open it and unpack it into DIR."""

    # Not inside: nothing could interrupt a question there.
    keys = session.keys().load(key_name)

    async def work() -> tuple[JobView, OpenedResult]:
        async with connected(session) as remote:
            view = await remote.client.get(job)
            digest = await agreed_manifest(remote.client, view, keys)
            opened = await fetch_result(
                remote.client,
                view,
                manifest_digest=digest,
                keys=keys,
                appraiser=Appraiser.from_profile(remote.profile),
                into=out,
            )
            return view, opened

    view, opened = run_stoppable(work())
    show_result(session, opened)
    appraisal = opened.receipt.appraisal
    if appraisal.simulated:
        session.banner(answer=True)
    session.document(
        {
            "job_id": view.job_id,
            "state": view.state.value,
            "manifest_digest": view.manifest_digest,
            "attempt": view.attempt,
            "evidence": show.evidence_document(appraisal),
            **show.result_document(opened),
        }
    )


async def agreed_manifest(client: AtollClient, view: JobView, keys: PartyKeys) -> bytes:
    """The digest of the job's manifest, which the owner of `keys` has signed.

    Which of the manifests that one has signed belongs to this job id is the gateway's word.

    Raises:
        ManifestError: not the manifest of this digest, or not signed by all its parties.
        RefusedError: `result.not_ours`: these keys are not of a party of it.
    """
    signed = await client.manifest(view.manifest_digest)
    digest = manifests.digest(signed.manifest)
    if digest.hex() != view.manifest_digest:
        raise ManifestError(f"what is stored as manifest {view.manifest_digest} is another one")
    party = manifests.verify_signed(signed).parties.get(keys.name)
    if party is None or party.signing_key != keys.signing_key:
        raise RefusedError(
            f"{keys.name!r} with these keys is no party of job {view.job_id}",
            code="result.not_ours",
            hint="--key names the keys that the job was submitted with",
        )
    return digest
