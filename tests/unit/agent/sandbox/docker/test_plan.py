"""What a container is allowed follows from the step's limits, and is never more."""

import json
from pathlib import Path

import pytest

from atoll_agent.sandbox.docker.plan import MIN_MEMORY, NANO, SHARED_MEMORY, Plan, plan
from atoll_agent.sandbox.docker.seccomp import ARCHITECTURES, profile
from atoll_agent.sandbox.limits import MIB, Limits
from atoll_agent.sandbox.step import Step, StepSpace


def planned(limits: Limits | None = None) -> Plan:
    step = Step(space=StepSpace(root=Path("/space")), args=("a",), limits=limits or Limits())
    return plan(step, image_id="sha256:1", user="7:7", cpus=2, seccomp="{}", owner="1:2")


def test_data_is_read_only_and_results_are_not() -> None:
    binds = {bind.target: bind for bind in planned().binds}
    assert binds["/data"].source == "/space/data"
    assert binds["/data"].read_only
    assert binds["/results"].source == "/space/results"
    assert not binds["/results"].read_only


def test_each_limit_is_the_steps() -> None:
    limits = Limits(memory_bytes=64 * MIB, processes=9, open_files=33, scratch_bytes=2 * MIB)
    found = planned(limits)
    assert (found.memory, found.processes, found.nano_cpus) == (64 * MIB, 9, 2 * NANO)
    assert found.shared_memory == 2 * MIB
    assert f"size={2 * MIB}" in found.tmpfs["/tmp"]
    assert {"nofile": 33, "core": 0}.items() <= {u.name: u.value for u in found.ulimits}.items()


def test_there_is_a_floor_of_memory_and_a_ceiling_of_shared_memory() -> None:
    assert planned(Limits(memory_bytes=MIB)).memory == MIN_MEMORY
    assert planned(Limits(scratch_bytes=1 << 30)).shared_memory == SHARED_MEMORY


def test_processor_time_is_limited_only_when_it_is() -> None:
    assert "cpu" not in {limit.name for limit in planned().ulimits}
    assert {u.name: u.value for u in planned(Limits(cpu_s=3)).ulimits}["cpu"] == 4


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_filter_denies_what_it_does_not_name(machine: str) -> None:
    found = json.loads(profile(machine))
    assert found["defaultAction"] == "SCMP_ACT_ERRNO"
    assert found["architectures"] == [ARCHITECTURES[machine]]
    always = {
        name
        for rule in found["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not rule["args"]
        for name in rule["names"]
    }
    denied = {"ptrace", "mount", "unshare", "setns", "bpf", "keyctl", "io_uring_setup", "socket",
              "clone", "clone3", "personality", "open_by_handle_at", "userfaultfd"}  # fmt: skip
    assert not always & denied
    assert {"read", "write", "execve", "exit_group"} <= always
