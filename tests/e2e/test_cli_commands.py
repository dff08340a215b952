"""Every command against a running stack, as a person or a script would call it."""

import hashlib
import json
import signal
import subprocess
from pathlib import Path

import pytest

from atoll_cli.session import BANNER
from support.command import ATOLL, Said, Stack, adopting, command_stack, descendants, environment
from support.nats import wait_for
from support.wat import CREATE, RESULTS, STDERR, STDOUT, WRITE, Guest, echo

__all__ = ["command_stack"]

ESCAPE = "\x1b[2Jgone"


def talker() -> bytes:
    """Writes an escape sequence to stdout, a word to stderr, and two files."""
    guest = Guest()
    for descriptor, words in ((STDOUT, f"{ESCAPE}\n"), (STDERR, "hm\n")):
        at, size = guest.text(words)
        guest.do(guest.write(descriptor, at, size))
    for name, content in (("b.txt", "two"), ("a.txt", "one")):
        guest.require(guest.open(RESULTS, name, oflags=CREATE, rights=WRITE))
        at, size = guest.text(content)
        guest.require(guest.write(guest.opened(), at, size))
    guest.exit(0)
    return guest.wasm()


def sleeper() -> bytes:
    guest = Guest()
    guest.forever(guest.mark())
    return guest.wasm()


@pytest.fixture(scope="module")
def stack(command_stack: Stack) -> Stack:
    """With the modules that these tests run."""
    for name, wasm in (("talk", talker()), ("echo", echo()), ("sleep", sleeper())):
        (command_stack.root / f"{name}.wasm").write_bytes(wasm)
    (command_stack.root / "input").write_text("the dataset\n")
    return command_stack


def spinning(stack: Stack) -> "subprocess.Popen[str]":
    """`atoll run` of a guest that never ends."""
    return subprocess.Popen(
        [*ATOLL, "run", "sleep.wasm", "--json"],
        env=environment(stack.home),
        cwd=stack.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def ran(stack: Stack) -> Said:
    """One finished job."""
    return stack.run(
        stack.root / "echo.wasm", "--data", f"in={stack.root / 'input'}", "--arg", "first",
        "--env", "WORD=value", "--out", stack.root / "echoed",
    )  # fmt: skip


def test_run_says_all_that_a_script_needs(stack: Stack, ran: Said) -> None:
    document = ran.document()
    assert ran.status == 0, ran.err
    assert (document["state"], document["exit_code"]) == ("completed", 0)
    (result,) = document["results"]
    content = b"the dataset\n"
    assert result == {
        "name": "out",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "path": str(stack.root / "echoed" / "results" / "out"),
    }
    assert Path(result["path"]).read_bytes() == content
    words = Path(document["stdout"]).read_bytes().split(b"\0")
    assert b"first" in words
    assert b"WORD=value" in words
    evidence = document["evidence"]
    assert (evidence["tee"], evidence["simulated"], evidence["verdict"]) == (
        "sev-snp",
        True,
        "pass",
    )
    assert Path(document["receipt"]).is_file()
    assert document["trace_id"]
    assert document["enclave_id"]


def test_run_tells_a_person_each_step_and_check_and_shows_no_escape(stack: Stack) -> None:
    said = stack.atoll("run", "talk.wasm", "--out", stack.root / "talked")
    assert said.status == 0, said.err
    for step in ("sealing and uploading", "submitted", "attesting", "running", "completed"):
        assert step in said.err
    for check in ("snp.signature", "snp.measurement", "snp.report_data"):
        assert f"pass       {check}" in said.err
    assert BANNER in said.err
    assert BANNER in said.out
    assert "  | \\x1b[2Jgone" in said.out
    assert "\x1b" not in said.out + said.err
    assert said.out.index("a.txt") < said.out.index("b.txt")
    assert (stack.root / "talked" / "results" / "b.txt").read_text() == "two"


def test_the_receipt_verifies_and_no_network_is_asked(stack: Stack, ran: Said) -> None:
    receipt = ran.document()["receipt"]
    said = stack.atoll("receipt", "verify", receipt, "--json")
    assert said.status == 0, said.err
    assert said.document()["digest"] == ran.document()["receipt_digest"]
    assert said.document()["receipt"]["manifest_digest"] == ran.document()["manifest_digest"]


def test_a_receipt_can_be_built_upon(stack: Stack, ran: Said) -> None:
    first = ran.document()
    second = stack.run(stack.root / "echo.wasm", "--after", first["receipt"]).document()
    verified = stack.atoll("receipt", "verify", second["receipt"], "--json").document()
    assert verified["receipt"]["previous"] == [first["receipt_digest"]]


def test_jobs_are_listed_and_shown(stack: Stack, ran: Said) -> None:
    job = ran.document()["job_id"]
    listed = stack.atoll("jobs", "list", "--state", "completed", "--json").document()["jobs"]
    assert job in [item["job_id"] for item in listed]
    shown = stack.atoll("jobs", "show", job, "--json").document()
    assert shown["state"] == "completed"
    assert shown["manifest_digest"] == ran.document()["manifest_digest"]
    assert "completed" in stack.atoll("jobs", "show", job).out


def test_events_come_in_order_and_following_ends_with_the_job(stack: Stack, ran: Said) -> None:
    job = ran.document()["job_id"]
    states = ["submitted", "scheduled", "attesting", "awaiting_assets", "running", "completed"]
    events = stack.atoll("events", "--job", job, "--json").document()
    assert [event["data"]["type"] for event in events] == states
    assert [int(event["sequence"]) for event in events] == list(range(1, 7))
    followed = stack.atoll("events", "--job", job, "--follow", "--json")
    assert [json.loads(line) for line in followed.out.splitlines()] == events
    behind = stack.atoll("events", "--job", job, "--after", "4", "--json").document()
    assert behind == events[4:]
    everything = stack.atoll("events", "--json").document()
    assert [event for event in everything if event["subject"] == job] == events
    place = events[2]["atollplace"]
    rest = stack.atoll("events", "--after", place, "--json").document()
    assert rest == everything[everything.index(events[2]) + 1 :]


def test_a_durable_consumer_goes_on_where_it_was(stack: Stack, ran: Said) -> None:
    job = ran.document()["job_id"]
    first = stack.atoll("events", "--durable", "book", "--job", job, "--json")
    assert [int(json.loads(line)["sequence"]) for line in first.out.splitlines()] == [*range(1, 7)]
    # The last one was not settled: its reader ended when it had it.
    again = stack.atoll("events", "--durable", "book", "--job", job, "--json")
    assert [json.loads(line)["sequence"] for line in again.out.splitlines()] == ["0000000006"]
    other = stack.atoll("events", "--durable", "book", "--after", "1", "--json")
    assert other.status == 1
    assert other.document()["error"]["code"] == "events.other_consumer"


def test_the_trace_spans_all_five_processes(stack: Stack, ran: Said) -> None:
    job = ran.document()["job_id"]
    document = stack.atoll("trace", job, "--json").document()
    assert document["trace_id"] == ran.document()["trace_id"]
    assert {span["service"] for span in document["spans"]} == {
        "atoll-cli", "atoll-gateway", "atoll-manager", "atoll-attestor", "atoll-agent",
    }  # fmt: skip
    assert document["spans"][0]["name"] == "job run"
    drawn = stack.atoll("trace", job)
    assert "run workload" in drawn.out
    assert document["trace_id"] in drawn.out


def test_a_result_can_be_fetched_again_by_its_consumer_only(stack: Stack, ran: Said) -> None:
    job = ran.document()["job_id"]
    again = stack.atoll("result", job, "--out", stack.root / "again", "--json")
    assert again.status == 0, again.err
    assert again.document()["results"][0]["sha256"] == ran.document()["results"][0]["sha256"]
    stack.atoll("keys", "new", "mallory")
    other = stack.atoll("result", job, "--out", stack.root / "stolen", "--key", "mallory", "--json")
    assert other.status == 1
    assert other.document()["error"]["code"] == "manifest.not_a_party"
    assert not (stack.root / "stolen").exists()


def test_evidence_of_an_enclave_is_appraised_here(stack: Stack, ran: Said) -> None:
    enclave = ran.document()["enclave_id"]
    said = stack.atoll("attest", "show", enclave, "--json")
    assert said.status == 0, said.err
    document = said.document()
    assert document["verdict"] == "pass"
    assert document["digest"] == ran.document()["evidence"]["digest"]
    assert document["manifest_digest"] == ran.document()["manifest_digest"]
    wrong = stack.atoll("attest", "show", enclave, "--manifest-digest", "00" * 32, "--json")
    assert (wrong.status, wrong.document()["reason"]) == (1, "document.manifest")


def test_status_finds_every_part(stack: Stack, ran: Said) -> None:
    said = stack.atoll("status", "--json")
    assert said.status == 0, said.err
    document = said.document()
    assert document["missing"] == []
    assert document["simulated"] is True
    assert document["jobs"]["completed"] >= 1
    assert {"atoll-gateway", "atoll-attestor"} <= {item["name"] for item in document["services"]}
    assert [host["slots"] for host in document["hosts"]] == [2]
    assert BANNER in stack.atoll("status").out


def test_doctor_finds_the_stack_healthy(stack: Stack) -> None:
    said = stack.atoll("doctor", "--json")
    assert said.status == 0, said.err
    assert {check["status"] for check in said.document()["checks"]} == {"ok"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "show", "no-such-job"),
        ("jobs", "cancel", "no-such-job"),
        ("events", "--job", "no-such-job", "--follow"),
        ("trace", "no-such-job"),
        ("result", "no-such-job", "--out", "nowhere"),
        ("attest", "show", "no-such-enclave"),
    ],
)
def test_what_is_not_there_is_not_found(stack: Stack, arguments: tuple[str, ...]) -> None:
    stack.atoll("keys", "new", "me")
    said = stack.atoll(*arguments, "--json")
    assert said.status == 1
    assert said.document()["error"]["code"].endswith("not_found")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupted_run_cancels_its_job(
    stack: Stack, number: signal.Signals, status: int
) -> None:
    process = spinning(stack)
    assert process.stderr is not None
    for line in process.stderr:
        if " running " in line:
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status, err
    assert "Traceback" not in err
    document = json.loads(out)
    assert document["error"]["code"] == "interrupted"
    shown = stack.atoll("jobs", "show", document["job_id"], "--json").document()
    assert shown["state"] == "cancelled"

    def free() -> bool:
        (host,) = stack.atoll("status", "--json").document()["hosts"]
        return bool(host["busy"] == 0)

    await wait_for(free, "the cancelled job's enclave is gone", within_s=30)


def test_a_cancelled_job_ends_its_run_with_1(stack: Stack) -> None:
    process = spinning(stack)
    assert process.stderr is not None
    job = ""
    for line in process.stderr:
        if line.startswith("==> job "):
            job = line.split()[2]
        if " running " in line:
            break
    assert stack.atoll("jobs", "cancel", job, "--json").document()["state"] == "cancelled"
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert json.loads(out)["state"] == "cancelled"


def test_a_stopped_stack_is_unreachable_and_comes_back_with_everything(
    stack: Stack, ran: Said
) -> None:
    job = ran.document()["job_id"]
    with adopting():
        assert stack.stop(signal.SIGINT) == 0
        assert [line for line in descendants().values() if str(stack.root) in line] == []
    said = stack.atoll("run", "echo.wasm", "--json")
    assert said.status == 3
    assert said.document()["error"]["code"] == "bus.unreachable"
    doctor = stack.atoll("doctor", "--json")
    assert doctor.status == 0
    assert {item["name"]: item["status"] for item in doctor.document()["checks"]}["bus"] == "off"
    assert stack.atoll("receipt", "verify", ran.document()["receipt"]).status == 0
    stack.start()
    assert stack.atoll("jobs", "show", job, "--json").document()["state"] == "completed"
    again = stack.atoll("result", job, "--out", stack.root / "afterwards", "--json")
    assert again.status == 0, again.err
    assert stack.run(stack.root / "talk.wasm").status == 0
