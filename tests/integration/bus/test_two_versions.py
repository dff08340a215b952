"""One service answers an endpoint in two versions of its messages, by two rows of the table."""

import json
import time
from dataclasses import replace
from typing import Annotated, Final

import pytest

from atoll.bus import Bus, Service
from atoll.errors import AtollError
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.span import Recorder
from atoll.wire import endpoints, schema
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import JobRequest, JobState, JobView, Tee
from atoll.wire.schema import Size, Token, message
from atoll.wire.subjects import Subject


@message
class JobRequestTwo:
    """As a second version might have it: other fields, and none of the first."""

    job_ids: Annotated[tuple[Token, ...], Size(1, 100)]


@message
class JobStates:
    states: Annotated[dict[Token, JobState], Size(0, 100)]


GET_TWO: Final = endpoints.Endpoint(
    name="get-v2",
    subject=Subject("atoll.v2.jobs.get"),
    request=JobRequestTwo,
    reply=JobStates,
    owner="gateway",
    callers=endpoints.OPERATORS,
    summary="Several jobs.",
)
VIEW: Final = JobView(
    job_id="j1",
    state=JobState.RUNNING,
    tee=Tee.SIMULATED,
    manifest_digest="ab" * 32,
    attempt=1,
    seq=3,
    created_ms=1,
    updated_ms=2,
    expires_ms=3,
)


async def get(request: JobRequest, tenant: str) -> JobView:
    assert tenant == DEFAULT_TENANT
    return replace(VIEW, job_id=request.job_id)


async def get_two(request: JobRequestTwo) -> JobStates:
    return JobStates(states=dict.fromkeys(request.job_ids, VIEW.state))


async def test_each_version_has_its_subject_and_its_messages(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Names of spans come from the table, in which this row does not stand.
    names = spans.SPAN_NAMES | {f"process {GET_TWO.subject.template}"}
    monkeypatch.setattr(spans, "SPAN_NAMES", names)
    tracer = Recorder(spans.GATEWAY, instance="test", clock=time.time_ns, random=bytes)
    service = Service(
        bus,
        name="two-versions",
        version="1.0.0",
        description="Serves two versions.",
        endpoints=[
            wiring.tenants_endpoint(endpoints.GET, get, tracer),
            wiring.endpoint(GET_TWO, get_two, tracer),
        ],
    )
    one, two = schema.encode(JobRequest(job_id="j1")), schema.encode(JobRequestTwo(job_ids=("j1",)))
    async with service:
        reply = await bus.request(endpoints.GET.subject.of(), one)
        assert schema.decode(JobView, reply.payload) == VIEW
        reply = await bus.request(GET_TWO.subject.of(), two)
        assert schema.decode(JobStates, reply.payload).states == {"j1": JobState.RUNNING}
        # Neither takes the other's.
        for row, payload in ((endpoints.GET, two), (GET_TWO, one)):
            with pytest.raises(AtollError) as caught:
                await bus.request(row.subject.of(), payload)
            assert caught.value.code == "message.invalid"
        told = json.loads((await bus.request("$SRV.INFO.two-versions", b"")).payload)
        subjects = {row["name"]: row["subject"] for row in told["endpoints"]}
        assert subjects == {
            "jobs-get": "atoll.v1.tenant.*.jobs.get",
            "get-v2": "atoll.v2.jobs.get",
        }
