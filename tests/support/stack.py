"""A running stack seen from inside: its processes, its logins, clients on its bus.

    with running(tmp_path) as stack:
        async with stack.client() as client: ...

A test may kill any of its processes; at the end nothing of it may be left.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.bus import Bus, BusConfig, connect, login_from
from atoll.client.appraisal import Appraiser
from atoll.client.connection import AtollClient, open_client
from atoll.client.profile import Profile, ProfileFile
from atoll.simulated.chain import DevelopmentChain
from atoll.telemetry import names as spans
from atoll.telemetry.span import Recorder
from atoll.wire import tenancy
from atoll_cli.deployment.folder import Folder
from support import command
from support.command import descendants

ROOT = Path(__file__).resolve().parents[2]


class Stack(command.Stack):
    """A stack, and what only a test wants of it."""

    @property
    def profile(self) -> Profile:
        return ProfileFile(self.home).load()

    @property
    def folder(self) -> Folder:
        """The logins of its bus."""
        return Folder(self.data_dir / "bus")

    @property
    def log(self) -> Path:
        """What the supervisor says."""
        return self.root / "up.log"

    @contextlib.asynccontextmanager
    async def client(self, tracer: Recorder | None = None) -> AsyncIterator[AtollClient]:
        """A client by the profile that the stack wrote, with a trace of its own."""
        async with open_client(self.profile, tracer or recorder()) as client:
            yield client

    @contextlib.asynccontextmanager
    async def bus(self, role: str, *, tenant: str = tenancy.HOUSE) -> AsyncIterator[Bus]:
        """A connection with the login of `role`, also `operator`, or `client` of a tenant."""
        clients = role == "client"
        path = self.folder.tenant_creds(tenant) if clients else self.folder.creds(role)
        config = BusConfig(
            url=self.profile.nats_url,
            name=f"test as {role}",
            login=login_from(path, role),
            inbox_prefix=f"_INBOX_{role}",
            drain_timeout_s=2.0,
            domain=tenancy.DOMAIN if clients else "",
        )
        async with connect(config) as bus:
            yield bus

    def profile_of(self, tenant: str) -> Profile:
        """How the people of a tenant find the stack."""
        login = self.folder.tenant_creds(tenant).read_text()
        return replace(self.profile, nats_creds=login, tenant=tenant, http_token="")

    @contextlib.asynccontextmanager
    async def client_of(self, tenant: str) -> AsyncIterator[AtollClient]:
        """A client of a tenant."""
        async with open_client(self.profile_of(tenant), recorder()) as client:
            yield client

    def appraiser(self) -> Appraiser:
        """Trust and policy of the profile."""
        return Appraiser.from_profile(self.profile)

    def policy_measurement(self) -> str:
        """Of the agent that this stack accepts, in hex."""
        value = json.loads((self.data_dir / "policy.json").read_bytes())
        (measurement,) = value["measurements"]
        return str(measurement)

    def chain(self) -> DevelopmentChain:
        """The simulated processor's key: what only this host has."""
        return DevelopmentChain.from_pem((self.data_dir / "simulated" / "chain.pem").read_bytes())

    def pids(self, command: str) -> list[int]:
        """Processes of this stack in whose command line `command` stands."""
        return [pid for pid, line in self.processes().items() if command in line]

    def processes(self) -> dict[int, str]:
        """All of this stack's with their command lines; enclaves of a killed manager too."""
        found = descendants(self.pid)
        for path in (self.data_dir / "enclaves").glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                keeper = json.loads(path.read_bytes())["keeper"]
                if keeper is not None and keeper[0] not in found and is_atoll(keeper[0]):
                    found |= command.family(keeper[0])
        return found

    def service(self, name: str) -> int:
        """The process of `gateway`, `manager`, `attestor` or `nats-server`."""
        wanted = "nats-server -c" if name == "nats-server" else f"-m atoll_{name}.main"
        found = self.pids(wanted)
        assert len(found) == 1, f"{name}: {descendants(self.pid)}"
        return found[0]

    def agents(self) -> list[int]:
        """The processes of enclaves."""
        return self.pids("-m atoll_agent.main")

    def agent(self, enclave_id: str) -> int | None:
        """The process of one enclave, once it is there."""
        want = f"ATOLL_AGENT_ENCLAVE_ID={enclave_id}".encode()
        for pid in self.agents():
            with contextlib.suppress(OSError):
                if want in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    return pid
        return None

    def keepers(self) -> list[int]:
        """The processes that keep enclaves for the manager, which may have died meanwhile."""
        return self.pids("-m atoll_manager.keeper")

    def workers(self) -> list[int]:
        """The processes in which guests run."""
        return self.pids("-m atoll_agent.worker")

    def kill_service(self, name: str) -> int:
        """SIGKILL; the process id that it had."""
        pid = self.service(name)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in descendants(self.pid), f"{name} is dead")
        return pid

    def kill_and_wait(self) -> list[int]:
        """SIGKILL to the supervisor; those of its processes that do not end of themselves."""
        below = list(self.processes())
        self.kill()
        deadline = time.monotonic() + 20.0
        while (left := [pid for pid in below if is_atoll(pid)]) and time.monotonic() < deadline:
            time.sleep(0.01)
        return left

    def require_nothing_left(self, enclave_id: str | None) -> None:
        """Fail unless no agent, no worker and no memory of the enclave stays."""
        wait_until(lambda: not (self.agents() or self.workers()), "the enclaves have ended")
        assert not Path(f"/dev/shm/atoll-{enclave_id}").exists()

    def require_settled(self, enclave_id: str | None) -> None:
        """Fail unless nothing is left, and nothing is written down that would be looked for."""
        self.require_nothing_left(enclave_id)
        enclaves = self.data_dir / "enclaves"
        wait_until(lambda: not list(enclaves.glob("*.json")), "the enclaves are forgotten")
        wait_until(lambda: not self.keepers(), "the keepers have ended")
        assert not list(enclaves.glob("*.sock"))


@contextlib.contextmanager
def running(root: Path, *, slots: int = 2) -> Iterator[Stack]:
    """A fresh stack below `root`, stopped at the end, of which no process stays."""
    stack = Stack(root, slots=slots)
    stack.start()
    seen: set[int] = set()
    try:
        yield stack
        seen = set(stack.processes())
    finally:
        status = stack.stop()
    assert status == 0, stack.log.read_text()
    assert not [pid for pid in seen if is_atoll(pid)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the tests of a module, each of which leaves it serving."""
    with running(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def recorder() -> Recorder:
    """A client's tracer."""
    return Recorder(spans.CLIENT, instance="test", clock=time.time_ns, random=os.urandom)


def wait_until(condition: Callable[[], bool], why: str, *, within_s: float = 20.0) -> None:
    """Return when `condition` holds; fail with `why` when it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s} s: {why}")
        time.sleep(0.01)


def is_atoll(pid: int) -> bool:
    """Whether this process lives and is one of ours; its id may be somebody else's by now."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"atoll" in line or b"nats-server" in line
