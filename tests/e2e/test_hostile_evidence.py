"""Evidence that is not what it should be: no key is released on it, and no work is offered.

The client reads evidence from a bus that lies to it; the manager reads what a rogue
wrote before the attestor could, who alone may.
"""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from atoll.bus import Bus, KeyValue
from atoll.client.appraisal import Appraiser
from atoll.client.connection import AtollClient
from atoll.client.run import EvidenceRefusedError, Runner, RunSpec
from atoll.errors import EvidenceError
from atoll.evidence import document as documents
from atoll.evidence.document import EvidenceDocument
from atoll.evidence.snp import AttestationReport, GuestPolicy
from atoll.evidence.trust import PRODUCTION
from atoll.simulated.chain import DevelopmentChain
from atoll.wire import endpoints, schema, topology
from atoll.wire.messages import (
    AppraiseReply,
    AppraiseRequest,
    EvidenceRecord,
    JobEvent,
    JobState,
    NonceReply,
    NonceRequest,
    Tee,
)
from support import evidence as simulated
from support import wat
from support.client import Draft, Watcher, drafted, ended, party, reached, submit, until
from support.stack import Stack, wait_until


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


# What a client must refuse.


class LyingClient(AtollClient):
    """A client whose bus answers other evidence than the enclave published."""

    lie: Callable[[EvidenceDocument], bytes]

    async def evidence(self, enclave_id: str) -> EvidenceRecord:
        record = await super().evidence(enclave_id)
        return replace(record, evidence=self.lie(documents.parse(record.evidence)))


async def refusal(
    stack: Stack,
    client: AtollClient,
    tmp_path: Path,
    lie: Callable[[EvidenceDocument], bytes] = documents.encode,
    *,
    appraiser: Appraiser | None = None,
) -> str:
    """The check for which a run was refused; the job was cancelled and got no key."""
    lying = LyingClient(client.bus, client.tracer)
    lying.lie = lie
    watcher = Watcher()
    module = tmp_path / "guest.wasm"
    module.write_bytes(wat.echo())
    runner = Runner(
        client=lying, keys=party(), appraiser=appraiser or stack.appraiser(), progress=watcher
    )
    spec = RunSpec(module=module, data={}, tee=Tee.SIMULATED, default_out=tmp_path / "out")
    with pytest.raises(EvidenceRefusedError) as caught:
        await runner.run(spec)
    events = await until(client, watcher.job_id, ended)
    assert events[-1].state is JobState.CANCELLED
    assert JobState.RUNNING not in {event.state for event in events}
    assert not (tmp_path / "out").exists()
    return caught.value.appraisal.reason


def resigned(
    document: EvidenceDocument, chain: DevelopmentChain, **changes: Any
) -> EvidenceDocument:
    """The document with another report body, signed by a processor that may do so."""
    report = simulated.resign(document.report, chain, **changes)
    return replace(document, report=report, certs=chain.certificates)


async def test_the_enclave_s_own_evidence_would_have_passed(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    """The control: without a lie this very path releases the keys."""
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await refusal(stack, client, tmp_path)


async def test_evidence_with_the_debug_bit_is_refused(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    def debug(document: EvidenceDocument) -> bytes:
        policy = AttestationReport.from_bytes(document.report).body.policy
        changed = resigned(document, stack.chain(), policy=policy | int(GuestPolicy.DEBUG))
        return documents.encode(changed)

    assert await refusal(stack, client, tmp_path, debug) == "snp.debug"


async def test_evidence_with_another_measurement_is_refused(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    def other(document: EvidenceDocument) -> bytes:
        return documents.encode(resigned(document, stack.chain(), measurement=bytes(48)))

    assert await refusal(stack, client, tmp_path, other) == "snp.measurement"


async def test_evidence_under_another_root_of_the_same_name_is_refused(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    def foreign(document: EvidenceDocument) -> bytes:
        return documents.encode(resigned(document, simulated.other_chain()))

    assert await refusal(stack, client, tmp_path, foreign) == "snp.root"


async def test_simulated_evidence_is_refused_where_no_development_root_is_named(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    production = replace(stack.appraiser(), trust=PRODUCTION)
    assert await refusal(stack, client, tmp_path, appraiser=production) == "snp.root"


async def test_evidence_of_an_earlier_job_is_refused(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    earlier = await published_evidence(client)
    assert await refusal(stack, client, tmp_path, lambda _: earlier.evidence) == (
        "document.manifest"
    )


async def test_evidence_of_an_earlier_job_that_claims_this_manifest_is_refused(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    stale = documents.parse((await published_evidence(client)).evidence)

    def relabelled(document: EvidenceDocument) -> bytes:
        return documents.encode(replace(stale, manifest_digest=document.manifest_digest))

    assert await refusal(stack, client, tmp_path, relabelled) == "snp.report_data"


@pytest.mark.parametrize("field", ["hpke_key", "signing_key", "nonce"])
async def test_evidence_for_somebody_else_s_key_is_refused(
    stack: Stack, client: AtollClient, tmp_path: Path, field: str
) -> None:
    """A man in the middle would put in his own key."""
    eve = party("eve").public
    values = {"hpke_key": eve.hpke_key, "signing_key": eve.signing_key, "nonce": bytes(32)}

    def substituted(document: EvidenceDocument) -> bytes:
        return documents.encode(replace(document, **{field: values[field]}))  # type: ignore[arg-type]

    assert await refusal(stack, client, tmp_path, substituted) == "snp.report_data"


async def test_a_report_with_a_flipped_bit_is_refused(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    def flipped(document: EvidenceDocument) -> bytes:
        report = bytearray(document.report)
        report[0x90] ^= 1  # MEASUREMENT
        return documents.encode(replace(document, report=bytes(report)))

    assert await refusal(stack, client, tmp_path, flipped) == "snp.signature"


async def test_evidence_without_certificates_is_refused(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    def bare(document: EvidenceDocument) -> bytes:
        return documents.encode(replace(document, certs=()))

    assert await refusal(stack, client, tmp_path, bare) == "snp.chain"


async def test_garbage_instead_of_evidence_is_refused(
    stack: Stack, client: AtollClient, tmp_path: Path
) -> None:
    assert await refusal(stack, client, tmp_path, lambda _: b"\xff" * 99) == "document.parse"


async def published_evidence(client: AtollClient) -> EvidenceRecord:
    """The evidence of a job that is then given up."""
    draft = await drafted(client, party(), wat.echo())
    view = await submit(client, draft)
    events = await until(client, view.job_id, reached(JobState.AWAITING_ASSETS))
    await client.cancel(view.job_id)
    assert events[-1].enclave_id is not None
    return await client.evidence(events[-1].enclave_id)


# What the manager must refuse.


Make = Callable[["Rogue", Draft, JobEvent], Awaitable[EvidenceRecord]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rogue:
    """Somebody who writes evidence as only the attestor may, and is faster than the enclave."""

    stack: Stack
    bus: Bus
    client: AtollClient
    earlier: EvidenceRecord

    async def offered(self, make: "Make") -> list[JobEvent]:
        """Submit a job and answer for its enclave with the record that `make` gives."""
        draft = await drafted(self.client, party(), wat.echo())
        view = await submit(self.client, draft)
        event = (await until(self.client, view.job_id, reached(JobState.SCHEDULED)))[-1]
        assert event.enclave_id is not None
        with held(await_agent(self.stack, event.enclave_id)):
            await self.publish(await make(self, draft, event))
            return await until(self.client, view.job_id, ended)

    async def publish(self, record: EvidenceRecord) -> None:
        kv = KeyValue(self.bus, topology.EVIDENCE)
        await kv.put(record.enclave_id, schema.encode(record))


def await_agent(stack: Stack, enclave_id: str) -> int:
    """The process of an enclave that was just asked for; an earlier one may still be ending."""
    found: list[int] = []

    def there() -> bool:
        agent = stack.agent(enclave_id)
        found.extend([] if agent is None else [agent])
        return bool(found)

    wait_until(there, "the enclave is there")
    return found[0]


@contextmanager
def held(pid: int) -> Iterator[None]:
    """A process that does nothing for a while; the manager may have ended it by then."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest_asyncio.fixture
async def rogue(stack: Stack, client: AtollClient) -> AsyncIterator[Rogue]:
    earlier = await published_evidence(client)
    async with stack.bus("operator") as bus:
        yield Rogue(stack=stack, bus=bus, client=client, earlier=earlier)


def posing(*, ear: str | None = None, **changes: Any) -> Make:
    """The earlier enclave's evidence under this enclave's name, for this job."""

    async def make(rogue: Rogue, draft: Draft, event: JobEvent) -> EvidenceRecord:
        assert event.enclave_id is not None
        document = replace(
            documents.parse(rogue.earlier.evidence),
            enclave_id=event.enclave_id,
            manifest_digest=draft.digest,
        )
        raw = documents.encode(replace(document, **changes))
        return record_of(event, raw, ear or rogue.earlier.ear)

    return make


def record_of(event: JobEvent, evidence: bytes, ear: str) -> EvidenceRecord:
    """What the enclave of `event` would publish."""
    assert event.enclave_id is not None
    return EvidenceRecord(
        enclave_id=event.enclave_id,
        job_id=event.job_id,
        attempt=event.attempt,
        evidence=evidence,
        ear=ear,
    )


def code_of(events: list[JobEvent]) -> str | None:
    """Why the job ended; it never was offered to anybody."""
    assert events[-1].state is JobState.FAILED
    assert not {event.state for event in events} & {JobState.AWAITING_ASSETS, JobState.RUNNING}
    return events[-1].reason.code if events[-1].reason else None


async def test_an_enclave_without_an_attestation_result_gets_no_work(rogue: Rogue) -> None:
    assert code_of(await rogue.offered(posing(ear="none"))) == "ear.malformed"


async def test_an_enclave_with_another_s_attestation_result_gets_no_work(rogue: Rogue) -> None:
    assert code_of(await rogue.offered(posing())) == "ear.evidence"


async def test_an_enclave_with_a_result_of_its_own_making_gets_no_work(rogue: Rogue) -> None:
    header, payload, _ = rogue.earlier.ear.split(".")
    forged = f"{header}.{payload}.{'A' * 86}"
    assert code_of(await rogue.offered(posing(ear=forged))) == "ear.signature"


async def test_evidence_for_another_manifest_gets_no_work(rogue: Rogue) -> None:
    events = await rogue.offered(posing(manifest_digest=bytes(32)))
    assert code_of(events) == "evidence.other_manifest"


async def test_evidence_of_another_enclave_gets_no_work(rogue: Rogue) -> None:
    events = await rogue.offered(posing(enclave_id=rogue.earlier.enclave_id))
    assert code_of(events) == "evidence.other_enclave"


async def test_garbage_instead_of_evidence_gets_no_work(rogue: Rogue) -> None:
    async def garbage(rogue: Rogue, _: Draft, event: JobEvent) -> EvidenceRecord:
        return record_of(event, b"\xff" * 99, rogue.earlier.ear)

    assert code_of(await rogue.offered(garbage)) == "evidence.malformed"


async def test_an_enclave_that_the_attestor_turned_down_gets_no_work(rogue: Rogue) -> None:
    """A genuine result of the attestor, for exactly this evidence: and it says no."""

    async def debugged(rogue: Rogue, draft: Draft, event: JobEvent) -> EvidenceRecord:
        evidence = await fresh_evidence(rogue, draft, event, policy_bits=int(GuestPolicy.DEBUG))
        reply = await appraised(rogue.bus, evidence)
        assert (reply.verdict, reply.reason) == ("fail", "snp.debug")
        return record_of(event, evidence, reply.ear)

    assert code_of(await rogue.offered(debugged)) == "ear.status"


async def test_an_enclave_that_the_attestor_accepts_is_offered_work(rogue: Rogue) -> None:
    """The control: the same path with nothing wrong in the evidence."""

    async def good(rogue: Rogue, draft: Draft, event: JobEvent) -> EvidenceRecord:
        evidence = await fresh_evidence(rogue, draft, event, policy_bits=0)
        return record_of(event, evidence, (await appraised(rogue.bus, evidence)).ear)

    draft = await drafted(rogue.client, party(), wat.echo())
    view = await submit(rogue.client, draft)
    event = (await until(rogue.client, view.job_id, reached(JobState.SCHEDULED)))[-1]
    wait_until(lambda: len(rogue.stack.agents()) == 1, "only the real enclave is there")
    (agent,) = rogue.stack.agents()
    with held(agent):
        await rogue.publish(await good(rogue, draft, event))
        await until(rogue.client, view.job_id, reached(JobState.AWAITING_ASSETS))
        await rogue.client.cancel(view.job_id)


@pytest.mark.parametrize(
    ("nonce", "code"), [(bytes(32), "evidence.nonce"), (None, "evidence.nonce")]
)
async def test_the_attestor_refuses_a_challenge_that_is_not_its_own(
    rogue: Rogue, nonce: bytes | None, code: str
) -> None:
    document = documents.parse(rogue.earlier.evidence)
    flipped = bytes([document.nonce[0] ^ 1]) + document.nonce[1:]
    with pytest.raises(EvidenceError) as caught:
        await appraised(rogue.bus, documents.encode(replace(document, nonce=nonce or flipped)))
    assert caught.value.code == code


async def fresh_evidence(rogue: Rogue, draft: Draft, event: JobEvent, *, policy_bits: int) -> bytes:
    """What an enclave on this processor would publish now, with more bits in its policy."""
    reply = await rogue.bus.request(
        endpoints.NONCE.subject.of(), schema.encode(NonceRequest()), retry=True
    )
    nonce = schema.decode(NonceReply, reply.payload).nonce
    document = documents.parse(rogue.earlier.evidence)
    bound = documents.report_data(document.signing_key, document.hpke_key, draft.digest, nonce)
    policy = AttestationReport.from_bytes(document.report).body.policy | policy_bits
    assert event.enclave_id is not None
    return documents.encode(
        replace(
            resigned(document, rogue.stack.chain(), report_data=bound, policy=policy),
            enclave_id=event.enclave_id,
            manifest_digest=draft.digest,
            nonce=nonce,
        )
    )


async def appraised(bus: Bus, evidence: bytes) -> AppraiseReply:
    """The attestor's word."""
    request = schema.encode(AppraiseRequest(evidence=evidence))
    reply = await bus.request(endpoints.APPRAISE.subject.of(), request, retry=True)
    return schema.decode(AppraiseReply, reply.payload)
