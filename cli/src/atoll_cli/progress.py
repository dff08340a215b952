"""Tells a person how a run goes, on standard error."""

from atoll.client.run import Progress
from atoll.evidence.findings import Appraisal
from atoll.wire.messages import JobEvent, JobView
from atoll_cli import show
from atoll_cli.session import Session
from atoll_cli.stopping import checkpoint
from atoll_cli.text import printable


class Narrator(Progress):
    """Says each step and keeps what is known of the job, in case the command fails."""

    def __init__(self, session: Session, *, verbose: bool = False) -> None:
        self._session = session
        self._verbose = verbose
        self._start_ms = 0
        self.appraisal: Appraisal | None = None

    def step(self, text: str) -> None:
        checkpoint()
        self._session.say(f"==> {printable(text)}", style="36")

    def submitted(self, view: JobView) -> None:
        self._session.known.update(
            job_id=view.job_id,
            state=view.state.value,
            manifest_digest=view.manifest_digest,
            trace_id=view.trace_id,
        )
        self._start_ms = view.created_ms
        self.step(f"job {view.job_id}")

    def event(self, event: JobEvent) -> None:
        checkpoint()
        self._session.known["state"] = event.state.value
        if event.reason:
            self._session.known["reason"] = show.plain_of(event.reason)
        self._session.say(show.event_line(event, self._start_ms))

    def appraised(self, appraisal: Appraisal, enclave_id: str) -> None:
        self.appraisal = appraisal
        self._session.known.update(
            enclave_id=enclave_id, evidence=show.evidence_document(appraisal)
        )
        if appraisal.simulated:
            self._session.banner(host_tpm=show.is_host_tpm(appraisal))
        lines = show.appraisal_lines(
            appraisal, color=self._session.color_err, verbose=self._verbose
        )
        self.step(f"appraisal of enclave {enclave_id}")
        self._session.say(f"    {lines[0]}")
        for line in lines[1:]:
            self._session.say(line)
