"""An agent that was started without a job takes one as it is told, once, or ends."""

import json
import os
from typing import Any

import pytest

from atoll.errors import ConfigError, UnreachableError
from atoll_agent.leasing import MAX_LINE, SETTING, environment

TOLD = {
    "ENCLAVE_ID": "e1",
    "JOB_ID": "j1",
    "ATTEMPT": "1",
    "MANIFEST_DIGEST": "ab" * 32,
    "TRACEPARENT": "",
}
OWN = {"ATOLL_AGENT_HOST_ID": "h1", "LANG": "C"}


def told(line: bytes) -> dict[str, str]:
    """What an agent makes of this on its pipe, which then ends."""
    reading, writing = os.pipe()
    os.write(writing, line)
    os.close(writing)
    found = environment({**OWN, SETTING: str(reading)})
    with pytest.raises(OSError):  # noqa: PT011 - closed
        os.fstat(reading)
    return found


def test_with_a_job_in_its_environment_nothing_is_waited_for() -> None:
    assert environment(OWN) == OWN


def test_what_is_told_is_as_if_it_had_been_there() -> None:
    found = told(json.dumps(TOLD).encode() + b"\n")
    assert found == OWN | {f"ATOLL_AGENT_{name}": value for name, value in TOLD.items()}
    assert SETTING not in found


def test_only_the_first_line_counts() -> None:
    other = json.dumps(TOLD | {"JOB_ID": "j2"}).encode()
    assert told(json.dumps(TOLD).encode() + b"\n" + other)["ATOLL_AGENT_JOB_ID"] == "j1"


def test_when_nobody_is_left_to_tell_it_ends() -> None:
    with pytest.raises(UnreachableError) as caught:
        told(b"")
    assert caught.value.code == "enclave.unused"


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b"{}",
        b"[" * MAX_LINE,
        json.dumps({**TOLD, "NATS_URL": "nats://elsewhere"}).encode(),
        json.dumps({name: value for name, value in TOLD.items() if name != "ATTEMPT"}).encode(),
        json.dumps({**TOLD, "ATTEMPT": 1}).encode(),
        json.dumps({**TOLD, "JOB_ID": None}).encode(),
        b"\xff",
        b" " * (MAX_LINE + 1) + json.dumps(TOLD).encode(),
    ],
)
def test_whatever_else_is_told_is_refused(line: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        told(line)
    assert caught.value.code == "config.invalid"


@pytest.mark.parametrize("descriptor", ["", "x", "-1", "4095"])
def test_a_descriptor_that_is_none_is_refused(descriptor: Any) -> None:
    with pytest.raises(ConfigError):
        environment({SETTING: descriptor})
