"""The attestor on a real bus: exactly its endpoints, policies, kept appraisals, errors by code."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from atoll.bus import Bus, BusConfig, KeyValue, Service, provision, read_stream
from atoll.bus.jetstream import purge
from atoll.errors import AtollError, ConflictError, EvidenceError, InputError, MessageError
from atoll.evidence import cmw
from atoll.evidence import document as documents
from atoll.evidence.ear import verify_ear
from atoll.evidence.ear_kind import verify_kind_ear
from atoll.policy.document import Mode
from atoll.policy.records import AppraisalRecord, from_bytes
from atoll.telemetry.span import Recorder
from atoll.wire import endpoints, schema, subjects, topology
from atoll.wire.messages import (
    ActivateRequest,
    AppraiseReply,
    AppraiseRequest,
    KeysReply,
    KeysRequest,
    NonceReply,
    NonceRequest,
    PolicyRecord,
    PolicyView,
)
from atoll.wire.verification import VerifyReply, VerifyRequest
from atoll_attestor.admitting import Admitter
from atoll_attestor.bus_ports import BusArchive, BusEvidence, BusPolicies
from atoll_attestor.door import Keyring
from atoll_attestor.doorkeeper import BusRevocations, Doorkeeper
from atoll_attestor.main import admission_rows, rows
from atoll_attestor.setup import Setup
from support.audit import MemoryAudit
from support.evidence import Binding, document
from support.logins import IDENTITIES
from support.nats import wait_for
from unit.attestor import given

NOW_S = given.NOW_S


def recorder() -> Recorder:
    return Recorder("atoll-attestor", instance="k", clock=lambda: 1, random=secrets.token_bytes)


@pytest_asyncio.fixture
async def fresh(bus: Bus) -> Bus:
    """A bus on which nothing was ever activated or appraised."""
    await provision(bus, streams=[topology.APPRAISALS], buckets=[topology.POLICIES])
    await purge(bus, "KV_policies", ">")
    await purge(bus, topology.APPRAISALS.name, ">")
    return bus


@pytest_asyncio.fixture
async def attestor(fresh: Bus, tmp_path: Path) -> AsyncIterator[Bus]:
    """The service under a policy, and a connection to ask it over."""
    setup = Setup.read(given.write(tmp_path))
    policies = BusPolicies(fresh, setup.owners, MemoryAudit())
    await policies.activate(given.signed(given.document()), now=NOW_S)
    archive, gathering = BusArchive(fresh), given.gathering(trust=setup.trust)
    verifier = setup.verifier(policies, archive, gathering)
    judging = setup.judging(policies, archive, gathering)
    served = rows(verifier, judging, recorder())
    async with Service(
        fresh, name="atoll-attestor", version="0.0.0", description="a test", endpoints=served
    ):
        yield fresh


async def ask(bus: Bus, row: Any, raw: bytes) -> bytes:
    return (await bus.request(row.subject.of(), raw, timeout_s=5)).payload


async def appraised(bus: Bus, **changes: Any) -> tuple[bytes, AppraiseReply]:
    """Evidence over a nonce of the attestor, and its answer."""
    raw = await ask(bus, endpoints.NONCE, schema.encode(NonceRequest()))
    nonce = schema.decode(NonceReply, raw).nonce
    evidence = documents.encode(document(binding=Binding(nonce=nonce), **changes))
    raw = await ask(bus, endpoints.APPRAISE, schema.encode(AppraiseRequest(evidence=evidence)))
    return evidence, schema.decode(AppraiseReply, raw)


async def activated(bus: Bus, raw: bytes) -> PolicyView:
    request = schema.encode(ActivateRequest(signed=raw))
    return schema.decode(PolicyView, await ask(bus, endpoints.ACTIVATE, request))


async def kept(bus: Bus, role: str) -> list[AppraisalRecord]:
    messages = read_stream(bus, topology.APPRAISALS.name, subjects.APPRAISAL.of(role))
    async with aclosing(messages):
        return [from_bytes(message.payload) async for message in messages]


async def test_exactly_the_rows_of_the_table_are_served(tmp_path: Path) -> None:
    verifier = given.attestor(given.write(tmp_path)).verifier
    nobody = Bus(
        BusConfig(url="nats://nobody", name="none", inbox_prefix="_INBOX"),
        logging.getLogger(__name__),
    )
    revocations = BusRevocations(nobody)
    policies = given.MemoryPolicies()
    ring = Keyring(IDENTITIES.door_keys())
    admitter = Admitter(
        verifier=verifier,
        ring=ring,
        evidence=BusEvidence(nobody),
        revocations=revocations,
        ttl_s=300,
    )
    door = Doorkeeper(nobody, nobody, ring, policies, revocations)
    served = [
        *rows(verifier, given.judging(), recorder()),
        *admission_rows(admitter, door, recorder()),
    ]
    owned = {row.subject.template for row in endpoints.ENDPOINTS if row.owner == "attestor"}
    assert {endpoint.subject for endpoint in served} == owned


async def test_from_a_challenge_to_a_word_that_verifies(attestor: Bus) -> None:
    evidence, answer = await appraised(attestor)
    raw = await ask(attestor, endpoints.KEYS, schema.encode(KeysRequest()))
    (key,) = schema.decode(KeysReply, raw).keys
    ear = verify_ear(
        answer.ear,
        {key.kid: given.KEY},
        evidence_digest=documents.digest(evidence),
        now=datetime.now(UTC),
    )
    assert ear.nonce == documents.parse(evidence).nonce


async def test_evidence_of_any_kind_is_judged_signed_and_kept(attestor: Bus) -> None:
    raw = cmw.to_json(cmw.Record(type="application/octet-stream", value=b"no quote"))
    request = schema.encode(VerifyRequest(kind="tdx_quote", cmw=raw, nonce=b"mine"))
    answer = schema.decode(VerifyReply, await ask(attestor, endpoints.VERIFY, request))
    assert (answer.verdict, answer.reason) == ("fail", "tdx.collateral")
    digest = hashlib.sha256(b"no quote").digest()
    ear = verify_kind_ear(
        answer.ear,
        {given.RING.active.kid: given.KEY},
        kind="tdx_quote",
        evidence_digest=digest,
        nonce=b"mine",
        now=datetime.now(UTC),
    )
    assert (ear.is_affirming, ear.reason) == (False, "tdx.collateral")
    (record,) = await kept(attestor, "verify")
    assert (record.kind, record.evidence) == ("tdx_quote", b"no quote")
    request = schema.encode(VerifyRequest(kind="snp_launch_digest", cmw=raw))
    with pytest.raises(AtollError) as caught:
        await ask(attestor, endpoints.VERIFY, request)
    assert caught.value.code == "judge.kind"


async def test_every_verdict_is_kept_with_what_it_followed_from(attestor: Bus) -> None:
    evidence, _ = await appraised(attestor)
    await appraised(attestor, measurement=bytes(48))
    good, bad = await kept(attestor, "enforce")
    assert good.evidence == evidence
    assert (good.reason, bad.reason) == ("", "snp.measurement")
    assert good.policy_digest == given.document().digest.hex()


async def test_a_policy_in_mode_warn_is_recorded_and_told_and_decides_nothing(
    attestor: Bus,
) -> None:
    view = await activated(attestor, given.signed(given.document(2, Mode.WARN, given.strange())))
    assert (view.enforced, view.candidate) == (1, 2)
    _, answer = await appraised(attestor)
    assert (answer.verdict, answer.warning) == ("pass", "snp.measurement")
    (record,) = await kept(attestor, "warn")
    assert (record.policy_version, record.reason) == (2, "snp.measurement")


async def test_another_replica_follows_and_one_that_starts_finds_what_is_in_force(
    attestor: Bus, tmp_path: Path
) -> None:
    replica = BusPolicies(attestor, Setup.read(given.write(tmp_path)).owners, MemoryAudit())
    await replica.load()
    assert replica.state is not None
    assert replica.state.highest == 1
    async with asyncio.TaskGroup() as group:
        following = group.create_task(replica.follow())
        await activated(attestor, given.signed(given.document(2)))

        def caught_up() -> bool:
            return replica.state is not None and replica.state.highest == 2

        await wait_for(caught_up, "the replica has version 2")
        following.cancel()


async def test_what_somebody_else_wrote_into_the_bucket_is_not_followed(
    attestor: Bus, tmp_path: Path
) -> None:
    bucket = KeyValue(attestor, topology.POLICIES)
    replica = BusPolicies(attestor, Setup.read(given.write(tmp_path)).owners, MemoryAudit())
    await activated(attestor, given.signed(given.document(2)))
    await replica.load()
    forged = given.signed(given.document(3, section=given.strange()), given.OTHER)
    older = given.signed(given.document(1))
    async with asyncio.TaskGroup() as group:
        following = group.create_task(replica.follow())
        for raw in (forged, older):
            record = PolicyRecord(enforced=raw, candidate=b"")
            await bucket.put("default", schema.encode(record))
        await bucket.put("default", b"no record")
        await bucket.delete("default")
        last = PolicyRecord(enforced=given.signed(given.document(4)), candidate=b"")
        await bucket.put("default", schema.encode(last))
        seen: list[int] = []

        def caught_up() -> bool:
            assert replica.state is not None
            seen.append(replica.state.highest)
            return seen[-1] == 4

        await wait_for(caught_up, "the replica has version 4")
        following.cancel()
    assert set(seen) <= {2, 4}


async def test_of_two_who_activate_at_once_one_is_told_to_look_again(
    fresh: Bus, tmp_path: Path
) -> None:
    owners = Setup.read(given.write(tmp_path)).owners
    ones = [BusPolicies(fresh, owners, MemoryAudit()) for _ in range(2)]
    raws = [given.signed(given.document(1)), given.signed(given.document(2))]
    done = await asyncio.gather(
        *(one.activate(raw, now=NOW_S) for one, raw in zip(ones, raws, strict=True)),
        return_exceptions=True,
    )
    views = [item for item in done if isinstance(item, PolicyView)]
    errors = [item for item in done if not isinstance(item, PolicyView)]
    assert views
    assert all(isinstance(item, ConflictError) for item in errors)


async def test_an_activation_that_nobody_signed_is_refused_by_code(attestor: Bus) -> None:
    with pytest.raises(InputError) as caught:
        await activated(attestor, given.signed(given.document(9), given.OTHER))
    assert caught.value.code == "policy.signature"


async def test_a_damaged_record_is_not_the_callers_fault_and_the_old_policy_stays(
    attestor: Bus,
) -> None:
    await KeyValue(attestor, topology.POLICIES).put("default", b"damaged")
    with pytest.raises(AtollError) as caught:
        await activated(attestor, given.signed(given.document(2)))
    assert caught.value.code == "internal"
    _, answer = await appraised(attestor)
    assert answer.verdict == "pass"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", MessageError),
        (b"\xc1", MessageError),
        (schema.encode(NonceRequest()), MessageError),
        (schema.encode(AppraiseRequest(evidence=b"no document")), EvidenceError),
        (schema.encode(AppraiseRequest(evidence=documents.encode(document()))), EvidenceError),
    ],
)
async def test_a_bad_request_is_answered_by_code_and_the_next_one_is_served(
    attestor: Bus, raw: bytes, kind: type[AtollError]
) -> None:
    with pytest.raises(kind) as caught:
        await ask(attestor, endpoints.APPRAISE, raw)
    assert caught.value.code.startswith(("message.", "evidence."))
    assert await ask(attestor, endpoints.NONCE, schema.encode(NonceRequest()))
