"""`atoll dead` on a running stack: what nobody can process is seen, sent back, dropped."""

import os
import signal

import pytest

from atoll.bus import publish
from atoll.wire import schema, subjects
from atoll.wire.messages import JobState, Report, ReportKind
from atoll_gateway.api import job_id
from support import wat
from support.client import drafted, ended, party, until
from support.stack import Stack, wait_until

GHOST = Report(job_id="ghost", attempt=1, kind=ReportKind.LEASED, enclave_id="e1")


def letters(stack: Stack, *options: str) -> list[dict[str, object]]:
    said = stack.atoll("dead", "list", "--json", "--data-dir", stack.data_dir, *options)
    assert said.status == 0, said
    found: list[dict[str, object]] = said.document()["letters"]
    return found


async def test_a_report_that_is_none_is_seen_and_redriven_by_force_and_dropped(
    stack: Stack,
) -> None:
    at = ("--data-dir", str(stack.data_dir))
    async with stack.bus("operator") as bus:
        await publish(bus, subjects.REPORT.of("j1"), b"\xc1\x1b[2J")
        await publish(bus, subjects.REPORT.of("ghost"), schema.encode(GHOST))
    wait_until(lambda: len(letters(stack)) == 2, "both are buried")
    first, second = letters(stack)
    assert (first["reason"], second["reason"]) == ("message.malformed", "job.not_found")
    assert letters(stack, "--stream", "SPAWN") == []
    assert letters(stack, "--limit", "1") == [first]

    shown = stack.atoll("dead", "show", str(first["id"]), *at)
    assert shown.status == 0
    assert "REPORTS, message" in shown.out
    assert "\x1b" not in shown.out
    assert stack.atoll("dead", "show", "999", *at).status == 1

    refused = stack.atoll("dead", "redrive", str(first["id"]), "--json", *at)
    assert refused.status == 1
    assert refused.document()["error"]["code"] == "dead.reason_holds"
    every = stack.atoll("dead", "redrive", "--all", "--stream", "REPORTS", "--yes", "--json", *at)
    assert every.status == 1
    assert [each["error"]["code"] for each in every.document()["refused"]] == [
        "dead.reason_holds",
        "dead.reason_holds",
    ]
    forced = stack.atoll("dead", "redrive", str(first["id"]), "--force", "--json", *at)
    assert forced.status == 0
    assert forced.document()["redriven"][0]["stream"] == "REPORTS"
    wait_until(lambda: len(letters(stack)) == 2, "it is dead again")
    assert letters(stack)[0] == second

    asked = stack.atoll("dead", "drop", str(second["id"]), "--json", *at)
    assert asked.document()["error"]["code"] == "answer.no_terminal"
    gone = stack.atoll("dead", "drop", "--all", "--stream", "REPORTS", "--yes", *at)
    assert gone.status == 0
    assert letters(stack) == []
    assert "no dead letters" in stack.atoll("dead", "list", *at).err


async def test_a_request_that_no_manager_can_read_ends_its_job(stack: Stack) -> None:
    async with stack.client() as client, stack.bus("operator") as bus:
        draft = await drafted(client, party(), wat.echo())
        expected = job_id(draft.manifest, "the-key")
        manager = stack.service("manager")
        os.kill(manager, signal.SIGSTOP)
        # The bus takes the gateway's request for a repetition of this one.
        await publish(bus, subjects.SPAWN.of("simulated"), b"\xc1", msg_id=f"spawn.{expected}")
        view = await client.submit(draft.agreed, "the-key")
        assert view.job_id == expected
        os.kill(manager, signal.SIGCONT)
        last = (await until(client, expected, ended))[-1]
    assert last.state is JobState.FAILED
    assert last.reason is not None
    assert last.reason.code == "job.undeliverable"
    (letter,) = letters(stack, "--stream", "SPAWN")
    assert letter["reason"] == "message.malformed"


def test_without_the_operator_s_login_it_says_where_to_run(stack: Stack) -> None:
    said = stack.atoll("dead", "list", "--json")
    assert said.status == 1
    assert said.document()["error"]["code"] == "operator.missing"


@pytest.mark.parametrize(
    "arguments",
    [
        ("redrive",),
        ("redrive", "--all"),
        ("redrive", "1", "--all", "--stream", "SPAWN"),
        ("redrive", "1", "--stream", "SPAWN"),
        ("drop",),
        ("show", "0"),
        ("show", "x"),
        ("list", "--stream", "EVENTS"),
        ("list", "--limit", "0"),
    ],
)
def test_what_cannot_be_meant_is_usage(stack: Stack, arguments: tuple[str, ...]) -> None:
    said = stack.atoll("dead", *arguments, "--json")
    assert said.status == 2, said
