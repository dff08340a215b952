"""docs/publishing.md and docs/events.md: every program and command, run as it stands there."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.client.connection import AtollClient
from atoll.errors import RefusedError
from atoll.wire.messages import JobState
from e2e.guests import talking
from e2e.test_closed_bus import refused
from support.client import ended, until
from support.parties import Parties, PartyHome
from support.stack import Stack

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUEST = talking(stdout="seen", stderr="", files={"answer": "done"}, exit_code=0)


@dataclass(frozen=True)
class Page:
    """A page's programs by the name in their first line, and its commands in order."""

    programs: dict[str, str]
    commands: list[str]

    @classmethod
    def read(cls, name: str) -> "Page":
        text = (DOCS / name).read_text()
        blocks = re.findall(r"```(python|sh)\n(.*?)```", text, re.DOTALL)
        programs = {}
        for kind, block in blocks:
            if kind == "python":
                named = re.match(r"# (\w+\.py):", block)
                assert named is not None, block
                programs[named[1]] = block
        return cls(programs, [block for kind, block in blocks if kind == "sh"])

    def command(self, start: str) -> str:
        """The one command that starts so."""
        (found,) = [block for block in self.commands if block.startswith(start)]
        return found


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A folder with a manifest, and an environment without anything of ours on its path."""

    coder: PartyHome
    env: dict[str, str]

    @property
    def folder(self) -> Path:
        return self.coder.folder

    def run(self, command: str, **more: str) -> str:
        done = subprocess.run(
            ["sh", "-e", "-c", command],
            cwd=self.folder,
            env={**self.env, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


@pytest_asyncio.fixture
async def desk(stack: Stack, client: AtollClient, tmp_path: Path) -> Desk:
    coder = Parties(stack, tmp_path).party("coder")
    card = await coder.upload(client, "program", GUEST, public=True)
    plan = tmp_path / "plan.json"
    step = {
        "name": "say",
        "kind": "wasm",
        "algorithm": str(card.relative_to(tmp_path)),
        "invocation": {"provider": "coder"},
        "inputs": {},
    }
    fields = {
        "format": "atoll-computation-plan",
        "version": 1,
        "title": "one party",
        "parties": [str(coder.public())],
        "steps": [step],
        "datasets": {},
        "outputs": {"result": {"step": "say", "consumers": ["coder"]}},
        "tee": {"kind": "simulated"},
        "limits": {"release_wait_ms": 60_000, "deadline_ms": 120_000},
    }
    plan.write_text(json.dumps(fields))
    manifest = coder.folder / "manifest.json"
    coder.done("computation", "new", plan, "--out", manifest, "--key", "coder")
    profile = stack.profile
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "ATOLL_HOME": str(coder.home),
        "ATOLL_URL": profile.http_url,
        "ATOLL_TOKEN": profile.http_token,
        "NATS_URL": profile.nats_url,
        "NATS_CREDS": str(stack.folder.tenant_creds("main")),
    }
    desk = Desk(coder=coder, env=env)
    for page in ("publishing.md", "events.md"):
        for name, program in Page.read(page).programs.items():
            assert "atoll" not in re.findall(r"import (\w+)|from (\w+)", program)
            (desk.folder / name).write_text(program)
    return desk


async def test_every_way_to_publish_gives_the_same_job(
    stack: Stack, client: AtollClient, desk: Desk
) -> None:
    page = Page.read("publishing.md")
    desk.run(page.command("atoll computation sign"))
    desk.run(page.command("python3 message.py"))

    # Publish and go, then by request and with curl: one key, one job.
    event = json.loads(desk.run(page.command("python3 publish.py")))
    assert (event["outcome"], event["idempotency_key"]) == ("accepted", "order-7")
    job = event["job_id"]
    assert desk.run(page.command("python3 ask.py")).strip() == job
    assert json.loads(desk.run(page.command("curl")))["job_id"] == job

    # It is a job like any other.
    desk.coder.done("release", job, "--key", "coder", "--yes")
    history = await until(client, job, ended)
    assert history[-1].state is JobState.COMPLETED
    assert len(page.commands) == 5

    page = Page.read("events.md")
    replayed = desk.run(page.command("curl"), JOB=job)
    decoder = json.JSONDecoder()
    rest, place = decoder.raw_decode(replayed)
    everything, place = decoder.raw_decode(replayed, place)
    first, place = decoder.raw_decode(replayed, place)
    assert place == len(replayed)
    assert [item["id"] for item in rest] == [f"{job}.{seq}" for seq in range(3, len(history) + 1)]
    assert first["id"] == f"{job}.1"
    assert [item for item in everything if item["subject"] == job] == [
        first,
        *(item for item in everything if item["id"] == f"{job}.2"),
        *rest,
    ]
    assert any(item["type"] == "atoll.submission.accepted.v1" for item in everything)
    told = desk.run(page.command("python3 consume.py"))
    assert f"{job}.{len(history)} completed" in told.splitlines()
    assert desk.run(page.command("python3 consume.py")) == ""


async def test_a_client_keeps_consumers_of_events_and_of_nothing_else(stack: Stack) -> None:
    async with stack.bus("client") as bus:
        for subject in (
            "$JS.atoll.API.CONSUMER.DURABLE.CREATE.EVENTS_main.mine",
            "$JS.atoll.API.CONSUMER.CREATE.EVENTS_main.mine.atoll.v1.event.job.x.y",
            "$JS.atoll.API.CONSUMER.INFO.EVENTS_main.mine",
            "$JS.ACK.EVENTS_main.mine.1.1.1.1.0",
        ):
            assert not await refused(bus, subject), subject
        for queue in ("INTAKE", "SPAWN", "REPORTS", "DEAD", "KV_jobs", "EVENTS"):
            for verb in ("DURABLE.CREATE", "CREATE", "DELETE", "INFO", "MSG.NEXT"):
                for api in ("$JS.API", "$JS.atoll.API"):
                    subject = f"{api}.CONSUMER.{verb}.{queue}.gateways"
                    assert await refused(bus, subject), subject
            assert await refused(bus, f"$JS.ACK.{queue}.gateways.1.1.1.1.0"), queue
    for role in ("manager", "attestor"):
        async with stack.bus(role) as bus:
            with pytest.raises(RefusedError):
                await bus.request("atoll.v1.intake.x", b"", timeout_s=3.0)
