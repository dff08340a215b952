"""Reports are applied once each; what nobody can apply is kept with the reason."""

import asyncio
import itertools
from dataclasses import replace

from atoll.bus import KeyValue, last_message, publish
from atoll.telemetry.span import Recorder
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import JobState, Report, ReportKind
from atoll_gateway.adapters import KvJobs
from atoll_gateway.index import JobIndex
from atoll_gateway.reports import ReportWorker
from integration.gateway.client import Gateway
from support.gateway import submission
from support.nats import wait_for


async def test_a_poisonous_report_does_not_hold_up_the_next(gateway: Gateway) -> None:
    answer = await gateway.post("/v1/jobs", schema.to_plain(submission(), json=True))
    job_id = answer.json["job_id"]
    counter = itertools.count(1)
    tracer = Recorder(
        "atoll-gateway",
        instance="test",
        clock=lambda: 0,
        random=lambda size: next(counter).to_bytes(size, "big"),
    )
    leased = Report(job_id=job_id, attempt=1, kind=ReportKind.LEASED, enclave_id="e1")
    finished = replace(leased, kind=ReportKind.FINISHED, outcome_digest="0c" * 32)
    unknown = Report(job_id="nobody", attempt=1, kind=ReportKind.LEASED, enclave_id="e1")
    for subject, payload in (
        (subjects.REPORT.of(job_id), b"\xc1"),
        (subjects.REPORT.of("other"), schema.encode(leased)),
        (subjects.REPORT.of("nobody"), schema.encode(unknown)),
        ("atoll.v1.report.not$a$token", schema.encode(leased)),
        (subjects.REPORT.of(job_id), schema.encode(leased)),
        (subjects.REPORT.of(job_id), schema.encode(finished)),
    ):
        await publish(gateway.bus, subject, payload)

    async def ended() -> bool:
        return (await gateway.ledger.get(job_id)).state is JobState.COMPLETED

    async with asyncio.TaskGroup() as tasks:
        worker = tasks.create_task(ReportWorker(gateway.bus, gateway.ledger, tracer).run())
        await wait_for(ended, "the job ended")
        worker.cancel()
    dead = await last_message(gateway.bus, topology.DEAD.name, subjects.DEAD.wildcard)
    assert dead is not None
    assert dead.seq == 4
    assert dead.headers["atoll-subject"] == "atoll.v1.report.not$a$token"
    assert dead.headers["atoll-reason"] == "name.invalid"


async def test_an_unreadable_entry_does_not_hide_the_others(gateway: Gateway) -> None:
    await KeyValue(gateway.bus, topology.JOBS).put("broken", b"\xc1")
    await gateway.post("/v1/jobs", schema.to_plain(submission(), json=True))
    index = JobIndex()
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(index.follow(KvJobs(gateway.bus)))
        await wait_for(lambda: len(index) == 1, "the other job is known")
        following.cancel()
