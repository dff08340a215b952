"""A reader takes the outcome that the ledger names, and no other attempt's."""

from pathlib import Path

import pytest

from atoll.bus import KeyValue, connect, provision
from atoll.client.connection import AtollClient
from atoll.errors import ConflictError, NotFoundError
from atoll.telemetry.span import Recorder
from atoll.wire import schema, topology
from atoll.wire.messages import OutcomeRecord, ReportKind, Tee
from atoll_agent.bus_ports import EnclaveBus
from atoll_gateway import core
from atoll_gateway.adapters import KvJobs
from support.desk import desk
from support.nats import bus_config, running

JOB = core.submitted(
    job_id="job-1",
    tee=Tee.SIMULATED,
    manifest_digest="0" * 64,
    now_ms=1,
    deadline_ms=1000,
    traceparent="",
    trace_id=None,
)


async def test_of_two_enclaves_in_one_attempt_only_the_first_leaves_an_outcome(
    tmp_path: Path,
) -> None:
    tracer = Recorder("test", instance="test", clock=lambda: 1, random=bytes)
    async with running(tmp_path / "nats") as server, connect(bus_config(server)) as bus:
        await provision(bus, streams=[topology.REPORTS], buckets=[topology.JOBS, topology.OUTCOMES])
        await KvJobs(bus).create(JOB)
        first, twin = (
            EnclaveBus(bus, tracer, enclave_id=name, job_id="job-1", attempt=1)
            for name in ("one", "two")
        )
        digest = await first.store_outcome({}, b"first")
        with pytest.raises(ConflictError):
            await twin.store_outcome({}, b"second")
        await first.report(ReportKind.FINISHED, outcome_digest=digest)
        async with desk(bus):
            client = AtollClient(bus, tracer)
            assert (await client.outcome("job-1", 1, digest=digest)).receipt == b"first"
            assert (await client.outcome("job-1", 1)).receipt == b"first"


async def test_an_outcome_that_the_ledger_does_not_name_is_refused(tmp_path: Path) -> None:
    tracer = Recorder("test", instance="test", clock=lambda: 1, random=bytes)
    raw = schema.encode(OutcomeRecord(job_id="job-1", attempt=1, results={}, receipt=b"other"))
    async with running(tmp_path / "nats") as server, connect(bus_config(server)) as bus:
        await provision(bus, buckets=[topology.JOBS, topology.OUTCOMES])
        await KvJobs(bus).create(JOB)
        await KeyValue(bus, topology.OUTCOMES).put("job-1.1", raw)
        async with desk(bus):
            client = AtollClient(bus, tracer)
            with pytest.raises(ConflictError) as caught:
                await client.outcome("job-1", 1, digest="0c" * 32)
            assert caught.value.code == "result.other_outcome"
            with pytest.raises(NotFoundError):
                await client.outcome("job-1", 2, digest="0c" * 32)
