"""Each login may do what its role needs and nothing else; the server itself says no."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from atoll.bus import Bus, BusConfig, Message, connect, publish
from atoll.bus.jetstream import api
from atoll.errors import AtollError, RefusedError
from atoll.wire import schema, subjects, tenancy, topology
from atoll.wire.endpoints import ENDPOINTS, ROLES, Role
from atoll.wire.messages import JobState, Reason, Report, ReportKind, Tee
from atoll_cli.deployment.identities import ANY_DOMAIN, SERVICES
from support import wat
from support.client import drafted, ended, party, reached, release, submit, until
from support.nats import wait_for
from support.stack import Stack

FOR_NOBODY = (
    "$JS.API.STREAM.CREATE.EVIL",
    "$JS.API.STREAM.UPDATE.EVENTS",
    "$JS.API.STREAM.DELETE.EVENTS",
    "$JS.API.STREAM.PURGE.EVENTS",
    "$JS.API.STREAM.MSG.DELETE.KV_jobs",
    "$JS.API.STREAM.PURGE.KV_jobs",
    "$JS.API.CONSUMER.DURABLE.CREATE.SPAWN.mine",
    "$JS.API.CONSUMER.CREATE.SPAWN.mine.atoll.v1.spawn.simulated",
    "$JS.API.CONSUMER.CREATE.REPORTS.mine.atoll.v1.spawn.simulated.m2c0.any",
    "$JS.API.CONSUMER.DELETE.SPAWN.managers-simulated-m4c0-any",
    "$JS.API.STREAM.SNAPSHOT.KV_jobs",
    "$SYS.REQ.SERVER.PING",
    "atoll.v2.jobs.submit",
    "anything.else",
)
DENIED_READING = (">", "atoll.>", "_INBOX_operator.>", "$KV.>", "$O.>", "$JS.API.>", "$SYS.>")


def concrete(template: str) -> str:
    """A subject that a row of the table covers."""
    return template.replace("{", "").replace("}", "").replace("*", "x").replace(">", "x")


TENANTS = (tenancy.HOUSE, "acme")
WHO = (*SERVICES, *TENANTS)
"""Roles of services, and tenants, whose role is `client`."""


@asynccontextmanager
async def connected(stack: Stack, who: str) -> AsyncIterator[Bus]:
    """By the login of a role or a tenant."""
    if who not in TENANTS:
        async with stack.bus(who) as bus:
            yield bus
        return
    if not stack.folder.tenant_creds(who).exists():
        said = stack.atoll("tenant", "add", who, "--data-dir", stack.data_dir)
        assert said.status == 0, said.err
    async with stack.bus("client", tenant=who) as bus:
        yield bus


def may_publish(who: str) -> tuple[str, ...]:
    """The cells of the table; services may reach streams by any domain."""
    if who in TENANTS:
        return tenancy.may_publish(who)
    return topology.in_domain(topology.may_publish(role_of(who)), ANY_DOMAIN)


def may_subscribe(who: str) -> tuple[str, ...]:
    return tenancy.may_subscribe() if who in TENANTS else topology.may_subscribe(role_of(who))


def role_of(who: str) -> Role:
    return next(role for role in ROLES if role == ("client" if who in TENANTS else who))


def everything() -> list[str]:
    """A subject of every cell of anybody: of the services, of three tenants, in either form."""
    offered = [each for name in (*TENANTS, "other") for each in tenancy.offers(name)]
    rows = [
        *topology.WRITERS,
        *(row.served for row in ENDPOINTS),
        *(each for name in (*TENANTS, "other") for each in tenancy.may_publish(name)),
        *(each.local for each in offered),
        *(each.served for each in offered),
    ]
    return [*dict.fromkeys(map(concrete, rows)), *FOR_NOBODY]


def forbidden(who: str) -> Iterator[str]:
    """Subjects that the table gives to others. A reader of a stream reaches every consumer of
    that stream: the table says so, and the work queues have no readers."""
    own = [re.escape(each) for each in map(placeholders, may_publish(who))]
    patterns = [each.replace(r"\*", "[^.]+").replace(">", ".+") for each in own]
    for subject in everything():
        if not any(re.fullmatch(each, subject) for each in patterns):
            yield subject


def placeholders(template: str) -> str:
    return re.sub(r"\{\w+\}", "*", template)


async def refused(bus: Bus, subject: str) -> bool:
    """Whether the server does not let this login publish there."""
    try:
        await bus.request(subject, b"", timeout_s=3.0)
    except RefusedError as error:
        return error.code == "bus.permission"
    except AtollError:
        return False
    return False


@pytest.mark.parametrize("who", WHO)
async def test_a_role_may_not_publish_where_the_table_does_not_name_it(
    stack: Stack, who: str
) -> None:
    async with connected(stack, who) as bus:
        allowed = [subject for subject in forbidden(who) if not await refused(bus, subject)]
    assert allowed == []


@pytest.mark.parametrize("who", WHO)
async def test_a_role_may_not_listen_to_others(stack: Stack, who: str) -> None:
    role = role_of(who)
    others = [f"{topology.inbox(other)}.>" for other in ROLES if other != role]
    foreign = [row for row in ENDPOINTS if row.owner != role]
    requests = [subject for row in foreign for subject in (row.subject.template, row.served)]
    histories = [subjects.HISTORY.wildcard, subjects.GUEST.wildcard, subjects.EVENT.wildcard]
    async with connected(stack, who) as bus:
        for subject in (*DENIED_READING, *others, *dict.fromkeys(requests), *histories):
            with pytest.raises(RefusedError) as caught:
                await bus.subscribe(subject, ignore)
            assert caught.value.code == "bus.permission", subject


async def ignore(_: object) -> None:
    """Nobody calls this."""


WORK_QUEUES = {
    "SPAWN": (topology.spawn_consumer(Tee.SIMULATED).name, "manager"),
    "REPORTS": (topology.LEDGER_CONSUMER.name, "gateway"),
    "ADVISORIES": (topology.UNDERTAKER_CONSUMER.name, "gateway"),
}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("queue", WORK_QUEUES)
async def test_nobody_can_delete_a_work_queue_and_only_its_worker_takes_from_it(
    stack: Stack, who: str, queue: str
) -> None:
    consumer, worker = WORK_QUEUES[queue]
    for_nobody = (
        f"$JS.API.CONSUMER.DELETE.{queue}.{consumer}",
        f"$JS.API.CONSUMER.CREATE.{queue}.mine",
    )
    for_its_worker = (
        f"$JS.API.CONSUMER.MSG.NEXT.{queue}.{consumer}",
        f"$JS.ACK.{queue}.{consumer}.1.1.1.1.0",
        f"$JS.ACK.{queue}.{consumer}.SPAWN.1.1.1.0",
    )
    async with connected(stack, who) as bus:
        for subject in for_nobody if who == worker else (*for_nobody, *for_its_worker):
            assert await refused(bus, subject), subject


async def test_the_server_cannot_be_made_to_carry_a_forged_report_to_the_ledger(
    stack: Stack,
) -> None:
    """Whoever may make a consumer may have it deliver to any subject, also to one that he
    may not publish to. Subscribers hear it, but the stream behind that subject does not."""
    heard: list[bytes] = []

    async def hear(message: Message) -> None:
        heard.append(message.payload)

    async with (
        stack.client() as client,
        stack.bus("gateway") as reader,
        stack.bus("operator") as operator,
    ):
        draft = await drafted(client, party(), wat.echo())
        view = await submit(client, draft)
        asked = (await until(client, view.job_id, reached(JobState.AWAITING_ASSETS)))[-1]
        assert asked.enclave_id is not None
        forged = Report(
            job_id=asked.job_id,
            attempt=asked.attempt,
            kind=ReportKind.GAVE_UP,
            enclave_id=asked.enclave_id,
            reason=Reason(code="forged", message="by a reader"),
        )
        await operator.subscribe(subjects.REPORT.of(asked.job_id), hear)
        await publish(reader, "$O.assets.C.forged", schema.encode(forged))
        config = {
            "name": "courier",
            "filter_subject": "$O.assets.C.forged",
            "deliver_subject": subjects.REPORT.of(asked.job_id),
            "ack_policy": "none",
            "deliver_policy": "all",
            "mem_storage": True,
        }
        body = {"stream_name": "OBJ_assets", "config": config, "action": "create"}
        await api(reader, "CONSUMER.CREATE.OBJ_assets.courier.$O.assets.C.forged", body)

        await wait_for(lambda: schema.encode(forged) in heard, "the server delivered it")
        await release(client, draft, asked)
        events = await until(client, view.job_id, ended)
        assert events[-1].state is JobState.COMPLETED


@pytest.mark.parametrize("who", WHO)
async def test_a_role_may_publish_and_listen_where_the_table_names_it(
    stack: Stack, who: str
) -> None:
    async with connected(stack, who) as bus:
        rows = [concrete(each) for each in may_publish(who)]
        assert [subject for subject in rows if await refused(bus, subject)] == []
        for subject in may_subscribe(who):
            await (await bus.subscribe(subject, ignore)).close()


async def test_passwords_and_nobody_at_all_are_refused(stack: Stack) -> None:
    config = BusConfig(
        url=stack.profile.nats_url,
        name="stranger",
        user="client",
        password="not the password",
        inbox_prefix="_INBOX_client",
    )
    for stranger in (config, replace(config, user="", password="")):
        with pytest.raises(RefusedError) as caught:
            async with connect(stranger):
                pass
        assert caught.value.code == "bus.permission"
