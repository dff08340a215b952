"""`atoll result JOB --out DIR`."""

from pathlib import Path
from typing import Any

import click

from atoll.client.connection import AtollClient
from atoll.client.release import require_party
from atoll.client.results import OpenedResult, fetch_result
from atoll.computation.consent import require_consents
from atoll.computation.manifest import Manifest, digest
from atoll.errors import ManifestError, RefusedError
from atoll.identity import PartyKeys
from atoll.wire.messages import JobView
from atoll_cli import show
from atoll_cli.options import JOB, fresh_directory, json_option, key_option, pass_session
from atoll_cli.remote import connected
from atoll_cli.running import show_result
from atoll_cli.session import Session
from atoll_cli.stopping import run_stoppable
from atoll_cli.trust import profile_appraiser


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
@click.option("--output", metavar="NAME", help="Which output (default: all that are yours).")
@key_option
@json_option
@pass_session
def result(session: Session, job: str, out: Path, output: str | None, key_name: str) -> None:
    """Fetch what JOB gave you, verify its receipt, open it and unpack it into DIR.

    Of several outputs each gets a directory of its own below DIR.
    """
    # Not inside: nothing could interrupt a question there.
    keys = session.keys().load(key_name)

    async def work() -> tuple[JobView, dict[str, OpenedResult]]:
        async with connected(session) as remote:
            view = await remote.client.get(job)
            manifest, manifest_digest = await agreed_manifest(remote.client, view, keys)
            names = outputs_of(manifest, keys, output, view.job_id)
            appraiser = profile_appraiser(session.home, remote.profile)
            opened = {}
            for name in names:
                opened[name] = await fetch_result(
                    remote.client,
                    view,
                    manifest_digest=manifest_digest,
                    output=name,
                    keys=keys,
                    appraiser=appraiser,
                    into=out if len(names) == 1 else out / name,
                )
            return view, opened

    view, opened = run_stoppable(work())
    for name, one in opened.items():
        if len(opened) > 1:
            session.print(f"output {name}")
        show_result(session, one)
    appraisal = next(iter(opened.values())).receipt.appraisal
    if appraisal.simulated:
        session.banner(answer=True, host_tpm=show.is_host_tpm(appraisal))
    documents = {name: show.result_document(one) for name, one in opened.items()}
    only: dict[str, Any] = next(iter(documents.values())) if len(documents) == 1 else {}
    session.document(
        {
            "job_id": view.job_id,
            "state": view.state.value,
            "manifest_digest": view.manifest_digest,
            "attempt": view.attempt,
            "evidence": show.evidence_document(appraisal),
            **only,
            "outputs": documents,
        }
    )


async def agreed_manifest(
    client: AtollClient, view: JobView, keys: PartyKeys
) -> tuple[Manifest, bytes]:
    """The job's manifest, to which the owner of `keys` has consented, and its digest.

    Which of the manifests that one has consented to belongs to this job id is the gateway's
    word. Consents may have ended since: what they allowed has happened.

    Raises:
        ManifestError: not the manifest of this digest, or not agreed on by all its parties;
            `manifest.not_a_party`.
    """
    agreed = await client.manifest(view.job_id)
    found = digest(agreed.manifest)
    if found.hex() != view.manifest_digest:
        raise ManifestError(f"what is stored as manifest {view.manifest_digest} is another one")
    manifest = require_consents(agreed, now_ms=0)
    require_party(manifest, keys)
    return manifest, found


def outputs_of(
    manifest: Manifest, keys: PartyKeys, output: str | None, job_id: str
) -> tuple[str, ...]:
    """The outputs that these keys open, or the one that is asked for.

    Raises:
        RefusedError: `result.not_ours`.
    """
    own = tuple(name for name, one in manifest.outputs.items() if keys.name in one.consumers)
    names = own if output is None else tuple(name for name in own if name == output)
    if not names:
        raise RefusedError(
            f"{keys.name!r} is no consumer of {output or 'any output'} of job {job_id}",
            code="result.not_ours",
            hint=f"its own outputs: {', '.join(own) or 'none'}",
        )
    return names
