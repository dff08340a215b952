"""Each login may do what its role needs and nothing else; the server itself says no."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from atoll.bus import Bus, BusConfig, Message, connect, publish
from atoll.bus.jetstream import api
from atoll.errors import AtollError, RefusedError
from atoll.wire import schema, subjects, topology
from atoll.wire.endpoints import ENDPOINTS, ROLES, Role
from atoll.wire.messages import JobState, Reason, Report, ReportKind, Tee
from atoll_cli.deployment.identities import SERVICES
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


def forbidden(role: Role) -> Iterator[str]:
    """Subjects that the table gives to others. A reader of a stream reaches every consumer of
    that stream: the table says so, and the work queues have no readers."""
    own = [re.escape(each) for each in topology.may_publish(role)]
    patterns = [each.replace(r"\*", "[^.]+").replace(">", ".+") for each in own]
    for template, writers in topology.WRITERS.items():
        subject = concrete(template)
        if role not in writers and not any(re.fullmatch(each, subject) for each in patterns):
            yield subject
    yield from FOR_NOBODY


async def refused(bus: Bus, subject: str) -> bool:
    """Whether the server does not let this login publish there."""
    try:
        await bus.request(subject, b"", timeout_s=3.0)
    except RefusedError as error:
        return error.code == "bus.permission"
    except AtollError:
        return False
    return False


@pytest.mark.parametrize("role", SERVICES)
async def test_a_role_may_not_publish_where_the_table_does_not_name_it(
    stack: Stack, role: Role
) -> None:
    async with stack.bus(role) as bus:
        allowed = [subject for subject in forbidden(role) if not await refused(bus, subject)]
    assert allowed == []


@pytest.mark.parametrize("role", SERVICES)
async def test_a_role_may_not_listen_to_others(stack: Stack, role: Role) -> None:
    others = [f"{topology.inbox(other)}.>" for other in ROLES if other != role]
    requests = [row.subject.template for row in ENDPOINTS if row.owner != role]
    async with stack.bus(role) as bus:
        for subject in (*DENIED_READING, *others, *requests):
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


@pytest.mark.parametrize("role", SERVICES)
@pytest.mark.parametrize("queue", WORK_QUEUES)
async def test_nobody_can_delete_a_work_queue_and_only_its_worker_takes_from_it(
    stack: Stack, role: Role, queue: str
) -> None:
    consumer, worker = WORK_QUEUES[queue]
    for_nobody = (
        f"$JS.API.CONSUMER.DELETE.{queue}.{consumer}",
        f"$JS.API.CONSUMER.CREATE.{queue}.mine",
    )
    for_its_worker = (
        f"$JS.API.CONSUMER.MSG.NEXT.{queue}.{consumer}",
        f"$JS.ACK.{queue}.{consumer}.1.1.1.1.0",
    )
    async with stack.bus(role) as bus:
        for subject in for_nobody if role == worker else (*for_nobody, *for_its_worker):
            assert await refused(bus, subject), subject


async def test_the_server_cannot_be_made_to_carry_a_forged_report_to_the_ledger(
    stack: Stack,
) -> None:
    """Whoever may make a consumer may have it deliver to any subject, also to one that he
    may not publish to. Subscribers hear it, but the stream behind that subject does not."""
    heard: list[bytes] = []

    async def hear(message: Message) -> None:
        heard.append(message.payload)

    async with stack.client() as client, stack.bus("operator") as operator:
        draft = await drafted(client, party(), wat.echo())
        view = await submit(client, draft)
        asked = (await until(client, view.job_id, reached(JobState.AWAITING_ASSETS)))[-1]
        assert asked.enclave_id is not None
        forged = Report(
            job_id=asked.job_id,
            attempt=asked.attempt,
            kind=ReportKind.GAVE_UP,
            enclave_id=asked.enclave_id,
            reason=Reason(code="forged", message="by a client"),
        )
        await operator.subscribe(subjects.REPORT.of(asked.job_id), hear)
        await publish(client.bus, "$O.assets.C.forged", schema.encode(forged))
        config = {
            "name": "courier",
            "filter_subject": "$O.assets.C.forged",
            "deliver_subject": subjects.REPORT.of(asked.job_id),
            "ack_policy": "none",
            "deliver_policy": "all",
            "mem_storage": True,
        }
        body = {"stream_name": "OBJ_assets", "config": config, "action": "create"}
        await api(client.bus, "CONSUMER.CREATE.OBJ_assets.courier.$O.assets.C.forged", body)

        await wait_for(lambda: schema.encode(forged) in heard, "the server delivered it")
        await release(client, draft, asked)
        events = await until(client, view.job_id, ended)
        assert events[-1].state is JobState.COMPLETED


@pytest.mark.parametrize("role", SERVICES)
async def test_a_role_may_publish_and_listen_where_the_table_names_it(
    stack: Stack, role: Role
) -> None:
    async with stack.bus(role) as bus:
        rows = [concrete(each) for each in topology.may_publish(role)]
        assert [subject for subject in rows if await refused(bus, subject)] == []
        for subject in topology.may_subscribe(role):
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
