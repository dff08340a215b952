"""No valid quote, no bus: on a real server, with the attestor's and the agent's own code."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.bus import Admitted, Bus, KeyValue, Message, connect
from atoll.credentials import claims, jwt
from atoll.credentials.creds import Credentials
from atoll.credentials.nkey import KeyPair, Kind
from atoll.errors import AtollError, EvidenceError, RefusedError, UnreachableError
from atoll.wire import admission, endpoints, schema, topology
from atoll.wire.admission_messages import (
    AdmitReply,
    AdmitRequest,
    ReinstateRequest,
    Revocations,
    RevokedKind,
    RevokeRequest,
    SessionRecord,
)
from atoll.wire.messages import EvidenceRecord
from atoll_agent.admission import Standing, admitted
from integration.attestor.enclaves import Device, Yard, as_, measured_otherwise, yard
from support import logins
from support.evidence import MEASUREMENT
from support.nats import wait_for
from unit.attestor import given


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Yard]:
    async with yard(tmp_path) as made:
        yield made


@asynccontextmanager
async def on_the_bus(standing: Standing) -> AsyncIterator[Bus]:
    """Connected by the ticket it has."""
    config = replace(standing.as_admitted(), connect_timeout_s=5.0, patient=False)
    async with connect(config) as bus:
        yield bus


async def stays_out(standing: Standing) -> bool:
    """Whether the server does not let it in by the ticket it has."""
    try:
        async with on_the_bus(standing):
            return False
    except RefusedError:
        return True


async def may_publish(bus: Bus, subject: str) -> bool:
    try:
        await bus.request(subject, b"", timeout_s=0.5)
    except RefusedError as error:
        return error.code != "bus.permission"
    except AtollError:
        return True
    return True


async def revoke(place: Yard, kind: RevokedKind, name: str) -> int:
    raw = await place.operator.request(
        endpoints.REVOKE.subject.of(),
        schema.encode(RevokeRequest(kind=kind, id=name, reason="a test")),
        retry=True,
    )
    return schema.decode(Revocations, raw.payload).ended


def filled(subject: str, standing: Standing) -> str:
    """A subject that a template allows this enclave."""
    config = standing.config
    known = {
        "{{name()}}": config.enclave_id,
        "{{tag(job)}}": config.job_id,
        "{{tag(attempt)}}": str(config.attempt),
    }
    for what, value in known.items():
        subject = subject.replace(what, value)
    return subject.replace("*", "x").replace(">", "x")


def covers(pattern: str, subject: str) -> bool:
    matching = re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+")
    return re.fullmatch(matching, subject) is not None


async def test_an_enclave_is_admitted_and_may_do_exactly_what_its_job_takes(place: Yard) -> None:
    one, other = place.enclave("e1"), place.enclave("e2")
    await one.admit()
    own = [filled(each, one) for each in admission.ENCLAVE_TEMPLATE.publish]
    others = [filled(each, other) for each in admission.ENCLAVE_TEMPLATE.publish]
    rows = [
        re.sub(r"\{\w+\}", "x", each).replace("*", "x").replace(">", "x")
        for each in topology.WRITERS
    ]
    mine = [
        filled(each, one) if "{{" in each else each for each in admission.ENCLAVE_TEMPLATE.publish
    ]
    async with on_the_bus(one) as bus:
        assert [each for each in own if not await may_publish(bus, each)] == []
        foreign = {each for each in (*others, *rows) if not any(covers(row, each) for row in own)}
        patterns = [
            each.replace("{{name()}}", "e1")
            .replace("{{tag(job)}}", "j-e1")
            .replace("{{tag(attempt)}}", "1")
            for each in admission.ENCLAVE_TEMPLATE.publish
        ]
        foreign = {each for each in foreign if not any(covers(row, each) for row in patterns)}
        assert len(foreign) > len(mine)
        assert [each for each in sorted(foreign) if await may_publish(bus, each)] == []


async def test_an_applicant_may_ask_and_nothing_else(place: Yard) -> None:
    standing = place.enclave()
    key = standing.bus_key
    config = replace(
        standing.as_admitted(),
        login=Admitted(
            "an applicant",
            standing.config.nats_sentinel,
            key,
            lambda: admission.application(key.public),
        ),
        inbox_prefix=f"_INBOX_enclave.{key.public}",
    )
    subjects = [
        re.sub(r"\{\w+\}", "x", each).replace("*", "x").replace(">", "x")
        for each in topology.WRITERS
    ]
    async with connect(config) as bus:
        allowed = [each for each in subjects if await may_publish(bus, each)]
        for inbox in (">", "_INBOX_enclave.>", "_INBOX_enclave.e1.>", "$SYS.REQ.USER.AUTH"):
            with pytest.raises(RefusedError):
                await bus.subscribe(inbox, ignore)
    assert allowed == [endpoints.NONCE.subject.template, endpoints.ADMIT.subject.template]


async def ignore(_: object) -> None:
    """Nobody calls this."""


async def test_evidence_that_does_not_pass_is_published_and_opens_nothing(place: Yard) -> None:
    standing = place.enclave(device=Device(spoil=measured_otherwise))
    with pytest.raises(EvidenceError) as caught:
        await standing.admit()
    assert caught.value.code == "admission.refused"
    assert "snp.measurement" in caught.value.message
    entry = await KeyValue(place.operator, topology.EVIDENCE).get("e1")
    assert entry is not None
    assert entry.value is not None
    assert schema.decode(EvidenceRecord, entry.value).job_id == "j-e1"
    assert await stays_out(standing)


async def test_a_quote_that_was_tampered_with_anywhere_admits_nobody(place: Yard) -> None:
    for number, offset in enumerate(range(0, 0x4A0, 37)):

        def flip(report: bytes, at: int = offset) -> bytes:
            return report[:at] + bytes([report[at] ^ 1]) + report[at + 1 :]

        with pytest.raises(AtollError):
            await place.enclave(f"t{number}", device=Device(spoil=flip)).admit()


async def captured(place: Yard, standing: Standing) -> AdmitRequest:
    """The request for admission that an enclave would send."""
    heard: list[bytes] = []

    async def hear(message: Message) -> None:
        heard.append(message.payload)

    listening = await place.operator.subscribe(endpoints.ADMIT.subject.of(), hear)
    await standing.admit()
    await listening.close()
    return schema.decode(AdmitRequest, heard[0])


async def ask(place: Yard, request: AdmitRequest) -> AdmitReply:
    raw = await place.operator.request(endpoints.ADMIT.subject.of(), schema.encode(request))
    return schema.decode(AdmitReply, raw.payload)


async def test_a_replayed_admission_is_of_no_use_to_another(place: Yard) -> None:
    victim, thief = place.enclave("e1"), place.enclave("e2")
    request = await captured(place, victim)
    reply = await ask(place, request)
    thief.ticket = reply.ticket
    assert await stays_out(thief)
    # Nor can the request be made to name the thief's key, job or host.
    for changes in (
        {"bus_key": thief.bus_key.public},
        {"job_id": "j-other"},
        {"attempt": 2},
        {"host_id": "h2"},
        {"signature": bytes(64)},
    ):
        with pytest.raises(AtollError) as caught:
            await ask(place, replace(request, **changes))
        assert caught.value.code == "admission.other_key"


async def test_a_quote_for_another_key_admits_nobody(place: Yard) -> None:
    """Evidence of one enclave, and a request signed by another's key."""
    one, other = place.enclave("e1"), place.enclave("e2")
    request = await captured(place, one)
    forged = replace(
        request,
        bus_key=other.bus_key.public,
        signature=other.keys.signing.sign(admission.PURPOSE, b"whatever"),
    )
    with pytest.raises(AtollError) as caught:
        await ask(place, forged)
    assert caught.value.code == "admission.other_key"


async def test_nobody_becomes_an_enclave_that_is_there(place: Yard) -> None:
    await place.enclave("e1").admit()
    with pytest.raises(AtollError) as caught:
        await place.enclave("e1").admit()
    assert caught.value.code == "admission.other_key"


@pytest.mark.parametrize("kind", RevokedKind)
async def test_a_revocation_ends_a_live_connection_and_keeps_it_out(
    place: Yard, kind: RevokedKind
) -> None:
    standing = place.enclave()
    await standing.admit()
    async with on_the_bus(standing) as bus:
        session = await session_of(place, standing)
        name = {
            RevokedKind.ENCLAVE: "e1",
            RevokedKind.HOST: "h1",
            RevokedKind.CHIP: session.chip_id,
            RevokedKind.MEASUREMENT: MEASUREMENT.hex(),
            RevokedKind.POLICY: session.policy_digest,
        }[kind]
        assert await revoke(place, kind, "another") == 0
        assert bus.connected
        assert await revoke(place, kind, name) == 1
        await wait_for(lambda: not bus.connected, "the connection is ended")
        assert await stays_out(standing)
        with pytest.raises(RefusedError) as caught:
            await standing.admit()
        assert caught.value.code == "admission.revoked"
        await place.operator.request(
            endpoints.REINSTATE.subject.of(), schema.encode(ReinstateRequest(kind=kind, id=name))
        )
        await standing.admit()
        await bus.wait_connected(15.0)


async def session_of(place: Yard, standing: Standing) -> SessionRecord:
    entry = await KeyValue(place.operator, topology.SESSIONS).get(standing.config.enclave_id)
    assert entry is not None
    assert entry.value is not None
    return schema.decode(SessionRecord, entry.value)


async def test_any_attestor_ends_a_connection_that_another_allowed(place: Yard) -> None:
    standing = place.enclave()
    await standing.admit()
    async with on_the_bus(standing) as bus:
        await place.no_attestor()
        assert bus.connected
        await place.attestor()
        await wait_for(lambda: _ended(place), "a later attestor knows the connection and ends it")
        await wait_for(lambda: not bus.connected, "the connection is ended")


async def _ended(place: Yard) -> bool:
    return await revoke(place, RevokedKind.ENCLAVE, "e1") == 1


async def test_another_policy_ends_admissions_and_a_new_appraisal_decides(place: Yard) -> None:
    standing = place.enclave()
    await standing.admit()
    async with on_the_bus(standing) as bus, asyncio.TaskGroup() as group:
        keeping = group.create_task(standing.keep(bus))
        before = standing.ticket
        await place.activate(version=2)
        await wait_for(lambda: standing.ticket != before, "it was admitted anew")
        await bus.wait_connected(15.0)
        keeping.cancel()
    async with on_the_bus(standing) as bus:
        await place.activate(version=3, sections={"sev-snp": given.strange()})
        with pytest.raises(EvidenceError) as caught:
            async with asyncio.timeout(20.0):
                await standing.keep(bus)
        assert caught.value.code == "admission.refused"
        assert await stays_out(standing)


async def test_without_an_attestor_the_admitted_go_on_and_others_wait(place: Yard) -> None:
    standing, late = place.enclave("e1"), place.enclave("e2")
    await standing.admit()
    async with on_the_bus(standing) as bus:
        await place.no_attestor()
        waiting = place.group.create_task(admitted(late))
        report = filled(admission.ENCLAVE_TEMPLATE.publish[0], standing)
        await bus.publish(report, b"x")
        await bus.flush()
        assert bus.connected
        assert not waiting.done()
        await place.attestor()
        async with asyncio.timeout(60.0):
            await waiting
        assert late.ticket


async def test_an_admission_ends_by_itself_and_is_renewed_by_fresh_evidence(tmp_path: Path) -> None:
    async with yard(tmp_path, admission_ttl_s=8) as place:
        standing, forgotten = place.enclave("e1"), place.enclave("e2")
        await standing.admit()
        await forgotten.admit()
        async with on_the_bus(standing) as bus, on_the_bus(forgotten) as other:
            keeping = place.group.create_task(standing.keep(bus))
            first = standing.expires_ms
            await wait_for(
                lambda: not other.connected, "it was not renewed, and ended", within_s=30
            )
            # In the second in which a ticket ends the server still takes it, and ends it at once.
            over = max(first, forgotten.expires_ms) + 1000
            await wait_for(lambda: time.time() * 1000 > over, "both tickets are over", within_s=30)
            assert await stays_out(forgotten)
            await wait_for(lambda: standing.expires_ms > first, "it is renewed", within_s=30)
            await bus.wait_connected(15.0)
            keeping.cancel()
        record = await KeyValue(place.operator, topology.EVIDENCE).get("e1")
        assert record is not None
        assert len(await KeyValue(place.operator, topology.EVIDENCE).entries("e1")) == 1


async def test_logins_that_are_none_of_ours_stay_out(place: Yard) -> None:
    """Expired, foreign, cut, of another account's key, and with more than its key may give."""
    keys = logins.IDENTITIES
    everything = claims.Permissions(publish=(">",), subscribe=(">",))
    key = KeyPair.generate(Kind.USER, lambda size: b"\5" * size)
    now = int(time.time())

    def by(signer: KeyPair, nats: dict[str, object]) -> Credentials:
        token = jwt.sign(nats, by=signer, subject=key.public, now=now - 60)
        return Credentials(jwt=token, key=key)

    account = keys.accounts["ATOLL"].public
    over = {**claims.user(everything), "issuer_account": account}
    good = logins.login(everything)
    bad = {
        "expired": logins.login(everything, expires=now - 1),
        "foreign": logins.login(everything, of=type(keys).generate(lambda size: b"\6" * size)),
        "by a stranger's account": by(KeyPair.generate(Kind.ACCOUNT, lambda n: b"\7" * n), over),
        "by the operator": by(keys.operator, over),
        "more than an applicant's key may give": by(keys.signers["applicant"], over),
        "more than an enclave's key may give": by(keys.signers["enclave"], over),
        "cut": Credentials(jwt=good.jwt[:-10], key=good.key),
        "another's": Credentials(jwt=good.jwt, key=key),
    }
    async with connect(logins.config(place.server, good)):
        pass
    for why, credentials in bad.items():
        with pytest.raises((RefusedError, UnreachableError)) as caught:
            async with connect(logins.config(place.server, credentials)):
                pytest.fail(f"{why}: let in")
        assert caught.value.code in {"bus.permission", "bus.unreachable"}, why


async def test_the_door_s_login_can_end_connections_and_nothing_else(place: Yard) -> None:
    async with connect(as_(place.server, place.folder, "door")) as bus:
        for subject in ("$JS.API.INFO", "atoll.v1.attest.admit", "$SYS.REQ.SERVER.PING"):
            assert not await may_publish(bus, subject), subject
