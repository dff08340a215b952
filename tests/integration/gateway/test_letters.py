"""Dead letters over the bus: list, show, redrive once, drop; on a real nats-server."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from atoll.audit import AuditRecord
from atoll.bus import dead_letter as dead
from atoll.bus import publish, read_stream
from atoll.bus.dead_letter import CUT, LOST, Letter
from atoll.bus.jetstream import api, message_after
from atoll.errors import AtollError, NotFoundError
from atoll.wire import endpoints, schema, subjects
from atoll.wire.endpoints import Endpoint
from atoll.wire.letters import LetterRequest, LettersRequest, RedriveRequest
from atoll.wire.messages import Report, ReportKind, SpawnRequest, Tee
from integration.gateway.client import Gateway
from support.gateway import submission

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")

LEASED = Report(job_id="j1", attempt=1, kind=ReportKind.LEASED, enclave_id="e1")
LETTER = Letter(
    stream="REPORTS",
    subject="atoll.v1.report.j1",
    sequence=7,
    deliveries=3,
    code="job.not_found",
    text="there is no job",
    stored=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    message_id="report.e1.leased",
    headers={"traceparent": "00-x-y-01"},
    payload=schema.encode(LEASED),
    size=len(schema.encode(LEASED)),
)


async def ask(gateway: Gateway, endpoint: Endpoint[RequestT, ReplyT], request: RequestT) -> ReplyT:
    reply = await gateway.bus.request(endpoint.subject.of(), schema.encode(request))
    return schema.decode(endpoint.reply, reply.payload)


async def refusal(gateway: Gateway, number: int, *, force: bool = False) -> str:
    with pytest.raises(AtollError) as caught:
        await ask(gateway, endpoints.LETTERS_REDRIVE, RedriveRequest(id=number, force=force))
    return caught.value.code


async def numbers(gateway: Gateway) -> list[int]:
    found = await ask(gateway, endpoints.LETTERS_LIST, LettersRequest())
    return [letter.id for letter in found.letters]


async def depth(gateway: Gateway, stream: str) -> int:
    return int((await api(gateway.bus, f"STREAM.INFO.{stream}"))["state"]["messages"])


async def job(gateway: Gateway) -> str:
    answer = await gateway.post("/v1/jobs", schema.to_plain(submission(), json=True))
    return str(answer.json["job_id"])


def about(job_id: str, **changes: object) -> Letter:
    """A report about a job, dead for a reason that is over."""
    payload = schema.encode(replace(LEASED, job_id=job_id))
    letter = replace(LETTER, subject=subjects.REPORT.of(job_id), payload=payload, size=len(payload))
    return replace(letter, **changes)  # type: ignore[arg-type]


async def test_lists_in_pages_and_by_queue(gateway: Gateway) -> None:
    for sequence in range(1, 6):
        await dead.keep(gateway.bus, replace(LETTER, sequence=sequence))
    await dead.keep(gateway.bus, replace(LETTER, stream="SPAWN"))
    await publish(gateway.bus, "atoll.v1.dead.SPAWN.9", b"no letter")

    first = await ask(gateway, endpoints.LETTERS_LIST, LettersRequest(limit=2))
    assert [letter.sequence for letter in first.letters] == [1, 2]
    assert first.more
    rest = await ask(gateway, endpoints.LETTERS_LIST, LettersRequest(after=2))
    assert [letter.sequence for letter in rest.letters] == [3, 4, 5, 7]
    assert (rest.more, rest.malformed) == (False, (7,))
    spawn = await ask(gateway, endpoints.LETTERS_LIST, LettersRequest(stream="SPAWN"))
    assert [letter.stream for letter in spawn.letters] == ["SPAWN"]
    seen = first.letters[0]
    assert (seen.reason, seen.text, seen.deliveries) == (LETTER.code, LETTER.text, 3)
    assert (seen.size, seen.stored_ms) == (LETTER.size, 1767323045678)


async def test_shows_all_of_a_letter(gateway: Gateway) -> None:
    await dead.keep(gateway.bus, LETTER)
    found = await ask(gateway, endpoints.LETTERS_SHOW, LetterRequest(id=1))
    assert found.payload == LETTER.payload
    assert [(header.name, header.value) for header in found.headers] == [
        ("traceparent", "00-x-y-01")
    ]
    assert found.letter.message_id == LETTER.message_id


async def test_what_is_not_there_is_not_found(gateway: Gateway) -> None:
    with pytest.raises(NotFoundError) as caught:
        await ask(gateway, endpoints.LETTERS_SHOW, LetterRequest(id=99))
    assert caught.value.code == "dead.not_found"
    with pytest.raises(NotFoundError) as caught:
        await ask(gateway, endpoints.LETTERS_DROP, LetterRequest(id=99))
    assert caught.value.code == "dead.not_found"
    assert await refusal(gateway, 99) == "dead.not_found"


async def test_drops_for_good(gateway: Gateway) -> None:
    await dead.keep(gateway.bus, LETTER)
    await ask(gateway, endpoints.LETTERS_DROP, LetterRequest(id=1))
    assert await numbers(gateway) == []


async def test_redrives_to_where_it_was_and_once(gateway: Gateway) -> None:
    job_id = await job(gateway)
    await dead.keep(gateway.bus, about(job_id))

    done = await ask(gateway, endpoints.LETTERS_REDRIVE, RedriveRequest(id=1))

    back = await message_after(gateway.bus, "REPORTS", 1, ">")
    assert back is not None
    assert (back.seq, back.subject) == (done.sequence, subjects.REPORT.of(job_id))
    assert back.payload == about(job_id).payload
    assert back.headers["traceparent"] == "00-x-y-01"
    assert await numbers(gateway) == []
    assert await refusal(gateway, 1) == "dead.not_found"


async def test_a_crash_before_the_letter_is_erased_redrives_once(gateway: Gateway) -> None:
    letter = about(await job(gateway))
    await dead.keep(gateway.bus, letter)
    # What a redrive that died in the middle leaves.
    await publish(
        gateway.bus, letter.subject, letter.payload, msg_id="redrive.REPORTS.1", stream="REPORTS"
    )
    await ask(gateway, endpoints.LETTERS_REDRIVE, RedriveRequest(id=1))
    assert await depth(gateway, "REPORTS") == 1
    assert await numbers(gateway) == []


async def test_no_room_in_the_queue_keeps_the_letter(gateway: Gateway) -> None:
    await dead.keep(gateway.bus, about(await job(gateway)))
    config = (await api(gateway.bus, "STREAM.INFO.REPORTS"))["config"]
    await api(gateway.bus, "STREAM.UPDATE.REPORTS", {**config, "max_bytes": 1})
    assert await refusal(gateway, 1) == "bus.full"
    assert await numbers(gateway) == [1]
    await api(gateway.bus, "STREAM.UPDATE.REPORTS", config)
    await ask(gateway, endpoints.LETTERS_REDRIVE, RedriveRequest(id=1))


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": b"\xc1"},
        {"subject": "atoll.v1.report.other"},
        {"stream": "SPAWN", "subject": "atoll.v1.spawn.simulated"},
    ],
    ids=["undecodable", "of another job", "of another queue"],
)
async def test_what_would_fail_again_goes_back_by_force_only(
    gateway: Gateway, changes: dict[str, object]
) -> None:
    await dead.keep(gateway.bus, about(await job(gateway), **changes))
    assert await refusal(gateway, 1) == "dead.reason_holds"
    assert await numbers(gateway) == [1]
    await ask(gateway, endpoints.LETTERS_REDRIVE, RedriveRequest(id=1, force=True))
    assert await numbers(gateway) == []


async def test_a_report_about_a_job_that_nobody_knows_stays_dead(gateway: Gateway) -> None:
    await dead.keep(gateway.bus, about("nobody"))
    assert await refusal(gateway, 1) == "dead.reason_holds"


async def test_a_spawn_request_goes_back_while_its_job_waits(gateway: Gateway) -> None:
    job_id = await job(gateway)
    request = SpawnRequest(job_id=job_id, tee=Tee.SIMULATED, manifest_digest="0" * 64, expires_ms=1)
    letter = about(
        job_id,
        stream="SPAWN",
        subject=subjects.SPAWN.of("simulated"),
        payload=schema.encode(request),
    )
    await dead.keep(gateway.bus, letter)
    await dead.keep(gateway.bus, replace(letter, sequence=8))
    await dead.keep(gateway.bus, replace(letter, sequence=9))
    await ask(gateway, endpoints.LETTERS_REDRIVE, RedriveRequest(id=1))

    await gateway.report(job_id, ReportKind.LEASED)
    assert await refusal(gateway, 2) == "dead.reason_holds", "a later attempt is on its way"
    await gateway.report(job_id, ReportKind.FINISHED)
    assert await refusal(gateway, 3) == "dead.reason_holds", "its job has ended"


@pytest.mark.parametrize(
    ("stream", "subject"),
    [
        ("REPORTS", "$KV.jobs.j1"),
        ("REPORTS", "atoll.v1.spawn.simulated"),
        ("REPORTS", "unknown"),
        ("SPAWN", "atoll.v1.spawn.tdx9"),
        ("EVENTS", "atoll.v1.event.job.j1.completed"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
async def test_a_letter_never_goes_where_such_a_message_does_not_belong(
    gateway: Gateway, stream: str, subject: str, *, force: bool
) -> None:
    await dead.keep(gateway.bus, replace(LETTER, stream=stream, subject=subject))
    assert await refusal(gateway, 1, force=force) == "dead.no_such_queue"


@pytest.mark.parametrize("state", [CUT, LOST])
async def test_what_was_not_kept_whole_does_not_go_back(gateway: Gateway, state: str) -> None:
    await dead.keep(gateway.bus, about(await job(gateway), state=state))
    assert await refusal(gateway, 1, force=True) == "dead.incomplete"


async def on_record(gateway: Gateway) -> list[tuple[str, str, str, str | None]]:
    """Action, object, outcome and code of what operators did."""
    found = []
    async for each in read_stream(gateway.bus, "AUDIT", "atoll.v1.audit.>", follow=False):
        record = schema.decode(AuditRecord, each.payload)
        if record.actor == "operator":
            told = (record.action.value, record.object, record.outcome.value, record.code)
            found.append(told)
    return found


async def test_what_operators_do_with_letters_is_on_record_first(gateway: Gateway) -> None:
    for sequence in (1, 2):
        await dead.keep(gateway.bus, replace(about(await job(gateway)), sequence=sequence))
    first, second = await numbers(gateway)
    assert await refusal(gateway, 99) == "dead.not_found"
    done = await ask(gateway, endpoints.LETTERS_REDRIVE, RedriveRequest(id=first, force=True))
    await ask(gateway, endpoints.LETTERS_DROP, LetterRequest(id=second))
    await ask(gateway, endpoints.LETTERS_LIST, LettersRequest())
    forced = f"{first} forced"
    assert await on_record(gateway) == [
        ("dead_redrive", "99", "begun", None),
        ("dead_redrive", "99", "refused", "dead.not_found"),
        ("dead_redrive", forced, "begun", None),
        ("dead_redrive", f"{forced} to REPORTS as {done.sequence}", "done", None),
        ("dead_drop", str(second), "begun", None),
        ("dead_drop", f"{second} of REPORTS", "done", None),
    ]
