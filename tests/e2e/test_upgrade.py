"""Two releases side by side on one bus: upgraded one by one under load, then the level is raised.

The older release is the one of today, limited to the level before (`PROTOCOL_NEWEST`): it
refuses the fields that it does not know, and writes none of them, as that release did.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from atoll.bus import BusConfig, KeyValue, connect, login_from, provision
from atoll.bus.provision import provision_all
from atoll.client.connection import AtollClient, open_client
from atoll.client.profile import ProfileFile
from atoll.computation.placement import Placement
from atoll.errors import RefusedError
from atoll.wire import codec, level, topology
from atoll.wire.durability import layout
from atoll.wire.messages import JobEvent, JobState
from atoll_cli.deployment.folder import server_section
from atoll_cli.nats_server import EmbeddedNats
from atoll_cli.stack.layout import Plan
from atoll_cli.stack.material import Material
from atoll_cli.stack.policies import activate_installed
from atoll_cli.stack.service import ServiceProcess, ServiceSpec, start
from support import command, wat
from support.client import (
    Draft,
    drafted,
    party,
    reached,
    release_to_the_end,
    see_through,
    submit,
    until,
)
from support.nats import wait_for
from support.stack import recorder

BEFORE: Final = level.NEWEST - 1
OWNERS: Final = 2
KINDS: Final = ("attestor", "gateway", "manager")


@dataclass
class Site:
    """A bus that a release without levels has provisioned, and services of two releases."""

    root: Path
    material: Material
    url: str
    living: dict[tuple[str, str], ServiceProcess] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    def login(self, name: str) -> BusConfig:
        return BusConfig(
            url=self.url,
            name=f"test as {name}",
            login=login_from(self.material.bus.creds(name), name),
            inbox_prefix=f"_INBOX_{name}",
            drain_timeout_s=2.0,
        )

    def spec(self, kind: str, name: str, newest: int) -> ServiceSpec:
        plan = Plan(
            material=self.material,
            nats_url=self.url,
            http=("127.0.0.1", 0),
            slots=2,
            host_id=name,
            env={},
        )
        made = {"attestor": plan.attestor, "gateway": plan.gateway, "manager": plan.manager}[kind]()
        prefix = f"ATOLL_{kind.upper()}_"
        own = {f"{prefix}PROTOCOL_NEWEST": str(newest)}
        if kind == "manager":
            own[f"{prefix}DATA_DIR"] = str(self.root / name)
        return replace(made, env={**made.env, **own}, log=self.root / "logs" / f"{kind}-{name}.log")

    async def start(self, kind: str, name: str, newest: int) -> None:
        self.living[kind, name] = await start(self.spec(kind, name, newest))

    async def stop(self, kind: str, name: str) -> None:
        await self.living.pop((kind, name)).stop()

    async def kill(self, kind: str, name: str) -> None:
        service = self.living.pop((kind, name))
        os.kill(service.pid, signal.SIGKILL)
        await service.wait()

    async def refused(self, kind: str, name: str, newest: int) -> tuple[int, str]:
        """Start a service that must end by itself; its exit status and what it said."""
        spec = self.spec(kind, name, newest)

        def ended() -> tuple[int, str]:
            process = subprocess.Popen(
                [sys.executable, "-I", "-m", spec.module],
                env=dict(spec.env),
                stdin=subprocess.PIPE,  # open: nobody asks it to stop
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            with process:
                assert process.stderr is not None
                said = process.stderr.read()
                return process.wait(60), said

        return await asyncio.to_thread(ended)

    async def atoll(self, *arguments: str) -> tuple[int, Any]:
        """A command of the operator's; exit status and document."""
        data = ("--data-dir", str(self.material.data_dir), "--json")
        said = await asyncio.to_thread(command.atoll, self.home, *arguments, *data)
        return said.status, said.document()

    async def entries(self) -> dict[str, dict[str, Any]]:
        """The ledger as it is stored."""
        async with connect(self.login("operator")) as bus:
            found = await KeyValue(bus, topology.JOBS).entries()
        return {entry.key: codec.unpackb(entry.value or b"") for entry in found}


@asynccontextmanager
async def site(root: Path) -> AsyncIterator[tuple[Site, AtollClient]]:
    material = await asyncio.to_thread(Material.prepare, root / "data")
    trust = server_section(material.identities, root / "jwt", now=int(time.time()))
    async with AsyncExitStack() as context:
        nats = await context.enter_async_context(EmbeddedNats(root / "nats", trust=trust))
        here = Site(root=root, material=material, url=nats.url)
        profile = material.profile(here.url, "http://127.0.0.1:9")
        ProfileFile(here.home).save(profile)
        bus = await context.enter_async_context(connect(here.login("operator")))
        await provision(bus, buckets=[topology.JOBS])
        await provision_all(bus, layout(1))
        context.push_async_callback(_stop_all, here)
        await here.start("attestor", "old", BEFORE)
        await activate_installed(bus, material)
        await here.start("gateway", "old", BEFORE)
        await here.start("manager", "old", BEFORE)
        yield here, await context.enter_async_context(open_client(profile, recorder()))


async def _stop_all(here: Site) -> None:
    for kind, name in reversed([*here.living]):
        with suppress(KeyError):
            await here.stop(kind, name)


class Load:
    """Owners who run one job after another, from the first release to the last."""

    def __init__(self, client: AtollClient, draft: Draft, group: asyncio.TaskGroup) -> None:
        self.histories: list[list[JobEvent]] = []
        self._client = client
        self._draft = draft
        self._over = asyncio.Event()
        self._tasks = [group.create_task(self._run()) for _ in range(OWNERS)]

    async def more(self, count: int = 2) -> None:
        """Return when so many more jobs have ended."""
        wanted = len(self.histories) + count

        async def ended() -> bool:
            return len(self.histories) >= wanted

        await wait_for(ended, f"{wanted} jobs have ended", within_s=90)

    async def end(self) -> None:
        """Let every owner finish its job."""
        self._over.set()
        await asyncio.wait(self._tasks)

    async def _run(self) -> None:
        while not self._over.is_set():
            self.histories.append(await see_through(self._client, self._draft))


@pytest.mark.timeout(400)
async def test_services_are_upgraded_one_by_one_under_load_and_then_the_level(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as (here, client), asyncio.TaskGroup() as group:
        await require_status(here, {(kind, BEFORE) for kind in KINDS}, in_force=BEFORE)
        draft = await drafted(client, party(), wat.echo(), data={"in": b"kept"})
        load = Load(client, draft, group)
        await load.more()

        for kind in ("gateway", "attestor"):
            await here.start(kind, "new", level.NEWEST)
            await load.more()
        # A job that waits for its keys when its host is killed: one of the newer release takes it.
        waiting = await submit(client, draft)
        held = (await until(client, waiting.job_id, reached(JobState.AWAITING_ASSETS)))[-1]
        parked = group.create_task(release_late(client, draft, waiting.job_id, held.attempt))
        await here.start("manager", "new", level.NEWEST)
        await load.more()
        status, said = await here.atoll("upgrade", "finish")
        assert (status, said["error"]["code"]) == (1, "protocol.spoken")
        assert said["error"]["message"].count("speaks 1") == len(KINDS)
        assert "manager old (speaks 1)" in said["error"]["message"]
        both = {(kind, newest) for kind in KINDS for newest in (BEFORE, level.NEWEST)}
        await require_status(here, both, in_force=BEFORE)
        await here.kill("manager", "old")
        await here.stop("gateway", "old")
        await load.more()
        await here.stop("attestor", "old")
        placed = draft.changed(placement=Placement(memory_bytes=3 << 30))
        with pytest.raises(RefusedError) as caught:
            await submit(client, placed)
        assert caught.value.code == "placement.level"
        await parked
        stored = (await here.entries()).values()
        assert len(stored) > len(KINDS)
        assert not [entry for entry in stored if "holders" in entry]

        async def all_newer() -> bool:
            # What was killed is listed until it expires.
            return bool((await here.atoll("upgrade", "status"))[1]["possible"] == level.NEWEST)

        await wait_for(all_newer, "nobody of the older release is listed", within_s=60)
        assert await here.atoll("upgrade", "finish") == (
            0,
            {"level": level.NEWEST, "changed": True},
        )
        since = len(load.histories)
        await load.more(4)
        await load.end()
        load.histories.append(await see_through(client, placed))
        assert await here.atoll("upgrade", "finish") == (
            0,
            {"level": level.NEWEST, "changed": False},
        )
        await require_nothing_lost(here, [*load.histories, await history(client, waiting.job_id)])
        later = [events[0].job_id for events in load.histories[since + OWNERS :]]
        entries = await here.entries()
        assert later
        assert all("holders" in entries[job_id] for job_id in later)
        await require_older_are_refused(here)


async def release_late(client: AtollClient, draft: Draft, job_id: str, attempt: int) -> None:
    """The owner answers the attempt after this one."""
    await until(client, job_id, reached(JobState.AWAITING_ASSETS, attempt=attempt + 1), within_s=90)
    await release_to_the_end(client, draft, job_id)


async def history(client: AtollClient, job_id: str) -> list[JobEvent]:
    return await until(client, job_id, lambda event: event.state.terminal)


async def require_nothing_lost(here: Site, histories: list[list[JobEvent]]) -> None:
    """Each job completed, once; the ledger has no other; no dead letter; the audit is whole."""
    ended_as = {
        events[0].job_id: [event.state for event in events if event.state.terminal]
        for events in histories
    }
    assert set(map(tuple, ended_as.values())) == {(JobState.COMPLETED,)}
    entries = await here.entries()
    assert entries.keys() == ended_as.keys()
    assert {entry["view"]["state"] for entry in entries.values()} == {"completed"}
    assert (await here.atoll("dead", "list"))[1]["letters"] == []
    _, audit = await here.atoll("audit", "list", "--action", "level_raise")
    raised = f"{BEFORE} to {level.NEWEST}"
    assert [(act["object"], act["outcome"], act["code"]) for act in audit["records"]] == [
        (raised, "begun", None),
        (raised, "refused", "protocol.spoken"),
        (raised, "begun", None),
        (raised, "done", None),
    ]
    assert (await here.atoll("audit", "verify"))[0] == 0


async def require_older_are_refused(here: Site) -> None:
    """At their start, by both numbers."""
    for kind in KINDS:
        status, said = await here.refused(kind, "late", BEFORE)
        assert status == 2, said
        assert f"protocol level {level.NEWEST} is needed" in said
        assert f"speaks {level.OLDEST} to {BEFORE}" in said
        assert "protocol.too_old" in said
        assert "Traceback" not in said
    await require_status(here, {(kind, level.NEWEST) for kind in KINDS}, in_force=level.NEWEST)


async def require_status(here: Site, living: set[tuple[str, int]], *, in_force: int) -> None:
    """Who lives, with the newest level that each speaks."""
    status, told = await here.atoll("upgrade", "status")
    assert status == 0
    assert {(one["kind"], one["newest"]) for one in told["services"]} == living
    assert {one["written"] for one in told["services"]} == {in_force}
    assert (told["level"], told["newest"], told["raising"]) == (in_force, level.NEWEST, None)
    assert told["possible"] == min(newest for _, newest in living)
