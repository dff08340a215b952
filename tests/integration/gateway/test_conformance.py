"""The served document against the served answers, with generated requests."""

import asyncio
import itertools
import typing
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from atoll.wire import schema
from integration.gateway.client import TOKEN, Gateway
from support.gateway import submission

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 12


def run(base: str, job_id: str, mode: GenerationMode) -> set[str]:
    """Call every operation with generated requests; returns the operations called."""
    document = schemathesis.openapi.from_url(f"{base}/openapi.json")
    called: set[str] = set()
    turns = itertools.count()
    for found in document.get_all_operations():
        operation = typing.cast("Any", found).ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
            derandomize=True,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def exercise(case: Any) -> None:
            # Half of the requests are about a job that exists and has ended.
            if "job_id" in case.path_parameters and next(turns) % 2:
                case.path_parameters["job_id"] = job_id
            if case.path == "/v1/events" and case.query.get("follow") != "perhaps":
                # Nothing ends the stream of all jobs.
                case.query["follow"] = "false"
            called.add(f"{case.method} {case.path}")
            case.call_and_validate(
                checks=CHECKS, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10
            )

        exercise()
    return called


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_every_answer_is_one_that_the_document_names(
    gateway: Gateway, mode: GenerationMode
) -> None:
    answer = await gateway.post("/v1/jobs", schema.to_plain(submission(), json=True))
    job_id = answer.json["job_id"]
    await gateway.call("POST", f"/v1/jobs/{job_id}/cancel")
    called = await asyncio.to_thread(run, gateway.http.url, job_id, mode)
    assert "POST /v1/jobs" in called
    assert len(called) >= 14
