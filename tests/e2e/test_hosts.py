"""Hosts as an operator sees them: listed, drained, resumed; and no two with one identity."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from atoll.client.connection import AtollClient
from atoll.computation.placement import Placement
from atoll.wire.hosts import HostState
from atoll.wire.messages import JobState
from support import wat
from support.client import drafted, ended, party, reached, release, submit, until
from support.command import Said
from support.nats import wait_for
from support.stack import Stack


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


def operator(stack: Stack, *arguments: str) -> Said:
    """A command with the operator's login."""
    return stack.atoll(*arguments, "--json", "--data-dir", stack.data_dir)


def order(stack: Stack, *arguments: str) -> Said:
    """`atoll hosts` as the operator."""
    return operator(stack, "hosts", *arguments)


def test_who_has_no_operators_login_gives_no_orders(stack: Stack) -> None:
    said = stack.atoll("hosts", "drain", "local", "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] == "operator.missing"
    assert stack.atoll("hosts", "show", "local", "--json").document()["order"] is None


MANAGER = (sys.executable, "-I", "-m", "atoll_manager.main")


def settings(stack: Stack, data_dir: Path, host_id: str = "local", **more: str) -> dict[str, str]:
    """The environment of a manager beside the stack's own."""
    own = {
        "NATS_URL": stack.profile.nats_url,
        "NATS_CREDS_FILE": str(stack.folder.creds("manager")),
        "SENTINEL_FILE": str(stack.folder.sentinel),
        "HOST_ID": host_id,
        "DATA_DIR": str(data_dir),
        "SIMULATED_DIR": str(stack.data_dir / "simulated"),
        **more,
    }
    return {f"ATOLL_MANAGER_{name}": value for name, value in own.items()}


def second_manager(stack: Stack, data_dir: Path) -> "subprocess.CompletedProcess[str]":
    """A manager with the first one's host id; it must end by itself."""
    return subprocess.run(
        MANAGER,
        env=settings(stack, data_dir),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_host_is_listed_with_what_it_has(stack: Stack) -> None:
    (host,) = stack.atoll("hosts", "list", "--json").document()["hosts"]
    assert (host["host_id"], host["state"], host["slots"]) == ("local", "active", 2)
    assert host["cpus"] == len(os.sched_getaffinity(0))
    assert host["memory_bytes"] > 0
    assert "local" in stack.atoll("hosts", "list").out
    shown = stack.atoll("hosts", "show", "local", "--json").document()
    assert shown["order"] is None


async def test_a_drained_host_takes_no_job_until_it_is_resumed_also_over_a_restart(
    stack: Stack, client: AtollClient
) -> None:
    said = order(stack, "drain", "local", "--wait", "--reason", "disk")
    assert said.document()["host"]["state"] == "drained"
    draft = await drafted(client, party(), wat.echo(), data={"in": b"x"})
    view = await submit(client, draft)
    stack.kill_service("manager")
    first = (await client.hosts())[0].started_ms

    async def back() -> bool:
        hosts = await client.hosts()
        return bool(hosts) and hosts[0].started_ms > first

    await wait_for(back, "the manager is back", within_s=30)
    assert (await client.hosts())[0].state is HostState.DRAINED
    waiting = stack.atoll("jobs", "show", view.job_id, "--json").document()
    assert waiting["state"] == "submitted"
    assert waiting["waits"] == "no simulated host takes jobs: 1 is drained"
    shown = stack.atoll("hosts", "show", "local", "--json").document()
    assert (shown["order"]["wish"], shown["order"]["reason"]) == ("drain", "disk")
    listed = operator(stack, "audit", "list", "--action", "host_order").document()["records"]
    acts = [(act["object"], act["outcome"]) for act in listed]
    assert acts == [("local drain", "begun"), ("local drain", "done")]
    resumed = order(stack, "resume", "local").document()
    assert resumed["order"]["wish"] == "active"
    events = await until(client, view.job_id, reached(JobState.AWAITING_ASSETS))
    await release(client, draft, events[-1])
    last = (await until(client, view.job_id, ended))[-1]
    assert (last.state, last.attempt) == (JobState.COMPLETED, 1)


async def test_a_job_that_needs_what_no_host_has_waits_and_starts_on_one_that_has_it(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    placement = Placement(labels={"gpu": "a100"}, cpus=1)
    draft = await drafted(client, party(), wat.echo(), data={"in": b"x"}, placement=placement)
    view = await submit(client, draft)
    waiting = stack.atoll("jobs", "show", view.job_id, "--json").document()
    assert waiting["waits"] == "no simulated host that it may use has gpu=a100"
    more = {"LABELS": "gpu=a100", "CPUS": "2", "MEMORY_BYTES": str(3 << 30)}
    beside = subprocess.Popen(  # noqa: ASYNC220 - it runs beside us until the end
        MANAGER,
        env=settings(stack, tmp_path, "accelerated", **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        events = await until(client, view.job_id, reached(JobState.AWAITING_ASSETS))
        shown = stack.atoll("hosts", "show", "accelerated", "--json").document()["host"]
        assert (shown["taken_cpus"], shown["taken_bytes"]) == (1, 2 << 30)
        await release(client, draft, events[-1])
        last = (await until(client, view.job_id, ended))[-1]
        assert (last.state, last.attempt) == (JobState.COMPLETED, 1)
        assert (await client.get(view.job_id)).host_id == "accelerated"
    finally:
        beside.terminate()
        beside.wait()


def test_a_host_that_is_not_there_cannot_be_drained(stack: Stack) -> None:
    asked = stack.atoll("hosts", "show", "nobody", "--json")
    for said in (asked, order(stack, "drain", "nobody"), order(stack, "resume", "nobody")):
        assert said.status == 1
        assert said.document()["error"]["code"] == "host.not_found"


async def test_a_second_manager_with_the_same_identity_is_refused_at_its_start(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    before = (await client.hosts())[0].instance
    elsewhere = second_manager(stack, tmp_path)
    assert elsewhere.returncode == 1
    assert "host.identity_in_use" in elsewhere.stderr
    beside = second_manager(stack, stack.data_dir)
    assert beside.returncode == 2
    assert "host.data_in_use" in beside.stderr
    assert "Traceback" not in elsewhere.stderr + beside.stderr
    (host,) = await client.hosts()
    assert host.instance == before
    assert json.loads(stack.atoll("status", "--json").out)["missing"] == []
