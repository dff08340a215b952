"""The shell of a lease: what came too late is not taken for what came of the newest command."""

import asyncio
import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from atoll.telemetry.span import Recorder
from atoll.wire.messages import JobState, ReportKind, SpawnRequest, Tee
from atoll_gateway import core
from atoll_manager import lease_terms as terms
from atoll_manager.attempt import Attempt, AttemptRunner
from atoll_manager.lease import Lease, Timing

JOB = core.submitted(
    job_id="job-1",
    tee=Tee.SIMULATED,
    manifest_digest="ab" * 32,
    now_ms=1,
    deadline_ms=1,
    traceparent="",
    trace_id=None,
)
CANCELLED = replace(JOB, view=replace(JOB.view, state=JobState.CANCELLED))


@dataclass(frozen=True)
class Request:
    """A spawn request in hand."""

    payload: bytes = b""
    subject: str = ""
    reply_subject: str = "reply"
    num_delivered: int = 1
    stream_seq: int = 7
    is_last: bool = False
    stored: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    headers: dict[str, str] = field(default_factory=dict)

    async def ack(self) -> None:
        raise AssertionError("commands are not carried out here")

    async def nak(self, delay_s: float = 0.0) -> None:
        raise AssertionError("commands are not carried out here")

    async def term(self, reason: str) -> None:
        raise AssertionError("commands are not carried out here")


class Overtaken(Attempt):
    """The job is cancelled at the moment at which a report is stored."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.effects: list[str] = []

    async def _carry_out(self, command: terms.Command, lease: Lease) -> terms.Event:
        if isinstance(command, terms.AskLedger):
            return terms.LedgerSays(JOB)
        if isinstance(command, terms.Tell) and command.kind is ReportKind.ATTESTING:
            self._tell(terms.LedgerSays(CANCELLED))
        if isinstance(command, terms.StopEnclave):
            await asyncio.sleep(0)
        self.effects.append(type(command).__name__)
        return terms.Done()


async def test_an_end_that_came_too_late_does_not_call_off_the_stop_of_the_enclave() -> None:
    runner = AttemptRunner(
        bus=cast("Any", SimpleNamespace(config=SimpleNamespace(domain=""))),
        driver=cast("Any", None),
        host_id="host-1",
        keys=cast("Any", None),
        timing=Timing(boot_timeout_s=20, stop_grace_s=1),
        tracer=Recorder("test", instance="1", clock=lambda: 1, random=secrets.token_bytes),
    )
    request = SpawnRequest(
        job_id="job-1", tee=Tee.SIMULATED, manifest_digest="ab" * 32, expires_ms=1
    )
    attempt = Overtaken(runner, Request(), request)
    async with asyncio.timeout(10):
        await attempt.run()
    assert attempt.effects == ["Tell", "StartEnclave", "Tell", "StopEnclave", "Ack"]
