"""A real server and a real attestor for tests of admission, and enclaves that ask for it.

The enclave's side is the agent's own (`atoll_agent.admission.Standing`), over a simulated
processor of the development chain of `support.evidence`.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from atoll.bus import Bus, Message, connect, login_from, provision
from atoll.bus.config import BusConfig
from atoll.evidence.document import Tee as EvidenceTee
from atoll.evidence.snp import AttestationReport
from atoll.simulated.report import SimulatedGuest, sign_body
from atoll.telemetry.span import Recorder
from atoll.wire import endpoints, schema, topology
from atoll.wire.messages import ActivateRequest
from atoll_agent.admission import Standing
from atoll_agent.config import AgentConfig
from atoll_agent.enclave import EnclaveKeys
from atoll_attestor.config import AttestorConfig
from atoll_attestor.main import run
from atoll_cli.deployment.folder import Folder
from atoll_cli.nats_server import EmbeddedNats
from support.evidence import MANIFEST, chain, guest
from support.logins import IDENTITIES, believing
from support.nats import wait_for
from unit.attestor import given

READY_S = 20.0


@dataclass
class Device:
    """The simulated processor; `spoil` may change what it gives."""

    guest: SimulatedGuest = field(default_factory=guest)
    spoil: Callable[[bytes], bytes] = bytes

    tee = EvidenceTee.SNP

    async def extended_report(self, report_data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        return self.spoil(self.guest.attest(report_data)), chain().certificates


@dataclass
class Yard:
    """What there is around the enclaves."""

    server: EmbeddedNats
    folder: Folder
    config: AttestorConfig
    operator: Bus
    group: asyncio.TaskGroup
    _running: list[tuple[asyncio.Event, asyncio.Task[None]]] = field(default_factory=list)

    async def attestor(self) -> None:
        """One more of them."""
        stop = asyncio.Event()
        self._running.append((stop, self.group.create_task(run(self.config, stop))))
        await wait_for(self._all_answer, "the attestor answers", within_s=READY_S)

    async def no_attestor(self) -> None:
        """Stop all of them."""
        while self._running:
            stop, task = self._running.pop()
            stop.set()
            await task

    async def activate(self, version: int = 1, **changes: object) -> None:
        """Put a policy in force that accepts the enclaves of these tests."""
        signed = given.signed(replace(given.document(version), **changes))  # type: ignore[arg-type]
        await self.operator.request(
            endpoints.ACTIVATE.subject.of(),
            schema.encode(ActivateRequest(signed=signed)),
            retry=True,
            timeout_s=READY_S,
        )

    def enclave(self, name: str = "e1", *, device: Device | None = None) -> Standing:
        """One that has not asked yet."""
        config = AgentConfig(
            nats_url=self.server.url,
            nats_sentinel=self.folder.sentinel.read_text().strip(),
            host_id="h1",
            enclave_id=name,
            job_id=f"j-{name}",
            attempt=1,
            manifest_digest=MANIFEST.hex(),
            device_fd=0,
        )
        return Standing(
            config=config,
            manifest_digest=MANIFEST,
            device=device or Device(),
            tracer=Recorder("agent", instance=name, clock=lambda: 1, random=secrets.token_bytes),
            keys=EnclaveKeys.generate(secrets.token_bytes),
        )

    async def _all_answer(self) -> bool:
        found: set[str] = set()

        async def hear(message: Message) -> None:
            if message.status is None:
                found.add(message.payload.decode())

        inbox = self.operator.new_inbox()
        listening = await self.operator.subscribe(inbox, hear)
        await self.operator.send("$SRV.PING.atoll-attestor", b"", reply=inbox)
        await asyncio.sleep(0.1)
        await listening.close()
        return len(found) == len(self._running)


@asynccontextmanager
async def yard(tmp_path: Path, **settings: object) -> AsyncIterator[Yard]:
    """A server, an attestor and a policy."""
    folder = Folder(tmp_path / "bus").write(IDENTITIES, now=int(time.time()))
    async with believing(tmp_path / "nats") as server:
        config = replace(
            given.write(tmp_path),
            nats_url=server.url,
            nats_creds_file=folder.creds("attestor"),
            door_creds_file=folder.creds("door"),
            **settings,  # type: ignore[arg-type]
        )
        async with (
            connect(as_(server, folder, "operator")) as operator,
            asyncio.TaskGroup() as group,
        ):
            await provision(
                operator,
                streams=topology.STREAMS,
                consumers=topology.CONSUMERS,
                buckets=topology.BUCKETS,
                object_buckets=topology.OBJECT_BUCKETS,
            )
            made = Yard(server=server, folder=folder, config=config, operator=operator, group=group)
            try:
                await made.attestor()
                await made.activate()
                yield made
            finally:
                await made.no_attestor()


def as_(server: EmbeddedNats, folder: Folder, login: str) -> BusConfig:
    """How one of the deployment's logins connects."""
    return BusConfig(
        url=server.url,
        name=login,
        login=login_from(folder.creds(login), login),
        inbox_prefix=f"_INBOX_{login}",
        connect_timeout_s=5.0,
        drain_timeout_s=2.0,
    )


def measured_otherwise(report: bytes) -> bytes:
    """The report of other code, well signed."""
    body = replace(AttestationReport.from_bytes(report).body, measurement=bytes(48))
    return sign_body(body, chain())
