"""An owner: submits, releases keys to whom the real rules allow, and takes one result."""

import hashlib
from typing import TYPE_CHECKING, Any, cast

from atoll.bus import Reply
from atoll.client.connection import AtollClient
from atoll.client.release import StaleAttemptError, require_waiting
from atoll.errors import AtollError, ConflictError, NotFoundError, UnreachableError
from atoll.sealing.release import make_release
from atoll.wire import cloudevents, subjects
from atoll.wire.access import DEFAULT_TENANT
from atoll.wire.messages import EventType, JobEvent, JobState, JobView
from simulation.bus import SimBus, Weather, Wire
from simulation.enclave import MANIFEST, MANIFEST_DIGEST, OWNER, RELEASE_WAIT_MS, URGENT
from simulation.gateway import GatewayProcess, NoTracer
from simulation.oracle import Oracle
from simulation.scheduler import Channel, Process, Scheduler, Sleep, Suspension, Task
from simulation.server import Server, Stored

if TYPE_CHECKING:
    from atoll.bus import Bus

ANSWER_MS = 4000


class ClientProcess(Process):
    def __init__(
        self,
        scheduler: Scheduler,
        name: str,
        server: Server,
        weather: Weather,
        *,
        gateways: tuple[GatewayProcess, ...],
        oracle: Oracle,
        deadline_ms: int,
        cancels: bool,
    ) -> None:
        super().__init__(scheduler, name)
        self.server = server
        self.gateways = gateways
        self.oracle = oracle
        self.deadline_ms = deadline_ms
        self.cancels = cancels
        self.job_id = f"j-{name}{URGENT if deadline_ms < RELEASE_WAIT_MS else ''}"
        self.wire = Wire(self, server, weather)
        self.done = False
        """It has seen the job's end and what is to be had of it."""

    def start(self) -> None:
        if not self.done:
            self.spawn(self._run())

    async def _run(self) -> None:
        client = AtollClient(cast("Bus", ClientBus(self)), cast("Any", NoTracer()))
        await self._submit()
        events = Channel(self.scheduler)
        prefix = subjects.HISTORY.under(DEFAULT_TENANT, "job", self.job_id).removesuffix("*")
        self.server.follow(self, "EVENTS", prefix, events.put)
        if self.cancels:
            self.spawn(self._cancel())
        seen = 0
        while True:
            item: Stored = await events.get()
            event = cloudevents.read_job(item.headers, item.payload)
            if event.seq <= seen:
                continue
            if event.seq != seen + 1:
                self.oracle.fail(f"{self.name} saw event {event.seq} after {seen}")
            seen = event.seq
            if event.type is EventType.AWAITING_ASSETS:
                await self._insist_release(client, event)
            if event.state.terminal:
                await self._take(client, event)
                self.done = True
                return

    async def _submit(self) -> None:
        view, created = await self.ask("submit", self.job_id, self.deadline_ms)
        self.oracle.accepted(view, created=created)
        if self.scheduler.rng.random() < 0.2:
            again, created = await self.ask("submit", self.job_id, self.deadline_ms)
            self.oracle.accepted(again, created=created)

    async def _cancel(self) -> None:
        await Sleep(self.scheduler.rng.randrange(20_000))
        await self.ask("cancel", self.job_id)

    async def _insist_release(self, client: AtollClient, event: JobEvent) -> None:
        while True:
            try:
                await self._release(client, event)
            except StaleAttemptError:
                return
            except (UnreachableError, NotFoundError):
                await Sleep(500)
            else:
                return

    async def _release(self, client: AtollClient, event: JobEvent) -> None:
        """Steps 5 and 6 of `atoll.client.release`; the appraisal says nothing about attempts."""
        enclave_id = event.enclave_id
        if enclave_id is None:
            return
        record = await client.evidence(enclave_id)
        looked = self.scheduler.now
        view = await self.ask("get", event.job_id)
        require_waiting(view, attempt=event.attempt, enclave_id=enclave_id)
        self.oracle.release_decided(event.job_id, event.attempt, enclave_id, since=looked)
        for name, asset in MANIFEST.assets().items():
            release = make_release(
                OWNER,
                job_id=event.job_id,
                attempt=event.attempt,
                manifest_digest=MANIFEST_DIGEST,
                asset_name=name,
                asset_id=bytes.fromhex(asset.asset_id),
                evidence_digest=hashlib.sha256(record.evidence).digest(),
                enclave_hpke_key=record.evidence,
                content_key=bytes(32),
                salt=bytes(32),
            )
            await client.release(enclave_id, release)

    async def _take(self, client: AtollClient, event: JobEvent) -> None:
        view: JobView = await self.ask("get", self.job_id)
        if (view.state, view.outcome_digest) != (event.state, event.outcome_digest):
            self.oracle.fail(f"{self.job_id}: the last event is not what the ledger says")
        if view.state is not JobState.COMPLETED:
            return
        while True:
            try:
                record = await client.outcome(
                    self.job_id, self._attempt_of(view), digest=view.outcome_digest
                )
            except UnreachableError:
                continue
            except (NotFoundError, ConflictError) as error:
                self.oracle.fail(f"{self.job_id}: completed, and {error.code}")
                return
            self.oracle.result_taken(view, record)
            return

    def _attempt_of(self, view: JobView) -> int:
        return view.attempt

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Ask any gateway until one answers."""
        while True:
            gateway = self.scheduler.rng.choice(self.gateways)
            answer = await AskGateway(self, gateway, method, arguments)
            if isinstance(answer, UnreachableError) or answer is None:
                await Sleep(200)
            elif isinstance(answer, AtollError):
                raise answer
            else:
                return answer


class ClientBus(SimBus):
    """Requests to the service of gateways."""

    def __init__(self, client: ClientProcess) -> None:
        super().__init__(client.wire)
        self._client = client

    async def request(self, subject: str, payload: bytes, **_: Any) -> Reply:
        return Reply(payload=await self._client.ask("read", subject, payload), headers={})


class AskGateway(Suspension):
    """One request to one gateway over the bus; None when nobody answers."""

    def __init__(
        self,
        client: ClientProcess,
        gateway: GatewayProcess,
        method: str,
        arguments: tuple[Any, ...],
    ) -> None:
        self._client, self._gateway = client, gateway
        self._method, self._arguments = method, arguments
        self._over = False

    def begin(self, task: Task) -> None:
        self._client.scheduler.after(ANSWER_MS, self._answer, task, None)
        self._client.wire.up(lambda: self._gateway.wire.down(lambda: self._serve(task)))

    def _serve(self, task: Task) -> None:
        gateway, wire = self._gateway, self._client.wire
        gateway.serve(
            lambda: getattr(gateway, self._method)(*self._arguments),
            lambda result: gateway.wire.up(lambda: wire.down(lambda: self._answer(task, result))),
        )

    def _answer(self, task: Task, result: Any) -> None:
        if not self._over:
            self._over = True
            task.resume(result)
