"""Bad input by the command: a stable code, the right exit status, and the stack still serves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import Stack, command_stack
from support.wat import CREATE, DATA, NAME, NAME_SIZE, RESULTS, STDOUT, WRITE, Guest, assemble

__all__ = ["command_stack"]


def exits_with(code: int) -> bytes:
    guest = Guest()
    guest.exit(code)
    return guest.wasm()


def traps() -> bytes:
    guest = Guest()
    at, size = guest.text("last words\n")
    guest.do(guest.write(STDOUT, at, size))
    guest.raw("unreachable")
    return guest.wasm()


def loops() -> bytes:
    guest = Guest()
    guest.forever(guest.mark())
    return guest.wasm()


def eats_memory() -> bytes:
    """Asks for page after page and traps when there is none left."""
    guest = Guest()
    start = guest.mark()
    guest.raw("(if (i32.eq (memory.grow (i32.const 64)) (i32.const -1)) (then unreachable))")
    guest.forever(start)
    return guest.wasm()


def needs_memory() -> bytes:
    """Declares more memory than it may have."""
    return Guest(pages=2048).wasm()


def floods_bytes() -> bytes:
    guest = Guest(pages=32)
    guest.require(guest.open(RESULTS, "flood", oflags=CREATE, rights=WRITE))
    start = guest.mark()
    guest.do(guest.write(guest.opened(), 65_536, 1 << 20))
    guest.forever(start)
    return guest.wasm()


def floods_files() -> bytes:
    guest = Guest()
    start = guest.mark()
    guest.raw("(call $next_name)")
    name = (f"(i32.const {NAME})", f"(i32.const {NAME_SIZE})")
    guest.do(guest.call("path_create_directory", RESULTS, *name))
    guest.forever(start)
    return guest.wasm()


def writes_bad_name() -> bytes:
    guest = Guest()
    guest.require(guest.open(RESULTS, "a\\b", oflags=CREATE, rights=WRITE))
    guest.exit(0)
    return guest.wasm()


def wants_dataset() -> bytes:
    """Exits with 3 when /data/iris is not there."""
    guest = Guest()
    guest.raw(f"(if {guest.open(DATA, 'iris')} (then {guest.call('proc_exit', 3)}))")
    guest.exit(0)
    return guest.wasm()


CASES = [
    ("not_started", lambda: assemble('(module (func (export "main")))'), (), "workload.no_start"),
    ("foreign", lambda: assemble('(module (import "env" "f" (func)) (func (export "_start")))'),
     (), "workload.import"),
    ("truncated", lambda: exits_with(0)[:-9], (), "workload.not_wasm"),
    ("trap", traps, (), "workload.trap"),
    ("loop", loops, ("--wall-s", "1"), "workload.timeout"),
    ("fuel", loops, ("--fuel", "100000"), "workload.fuel"),
    ("memory", eats_memory, ("--memory-mib", "16"), "workload.trap"),
    ("declared", needs_memory, ("--memory-mib", "16"), "workload.memory"),
    ("bytes", floods_bytes, ("--output-mib", "1"), "workload.output_limit"),
    ("files", floods_files, ("--output-files", "8"), "workload.output_limit"),
    ("names", writes_bad_name, (), "workload.output_names"),
    ("seven", lambda: exits_with(7), (), "workload.exit_nonzero"),
    ("missing", wants_dataset, (), "workload.exit_nonzero"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "options", "code"), CASES, ids=[c[0] for c in CASES])
def test_a_bad_guest_fails_with_its_code(
    command_stack: Stack, name: str, make: Callable[[], bytes], options: tuple[str, ...], code: str
) -> None:
    module = command_stack.root / f"{name}.wasm"
    module.write_bytes(make())
    said = command_stack.run(module, *options)
    document = said.document()
    assert said.status == 1
    assert document["error"]["code"] == code, document["error"]
    assert (document["state"], document["reason"]["code"]) == ("failed", code)
    assert document["evidence"]["verdict"] == "pass"
    assert Path(document["receipt"]).is_file()
    assert command_stack.atoll("receipt", "verify", document["receipt"]).status == 0


def test_the_guests_exit_code_and_last_words_come_back(command_stack: Stack) -> None:
    (command_stack.root / "code.wasm").write_bytes(exits_with(7))
    assert command_stack.run(command_stack.root / "code.wasm").document()["exit_code"] == 7
    (command_stack.root / "words.wasm").write_bytes(traps())
    document = command_stack.run(command_stack.root / "words.wasm").document()
    assert document["exit_code"] is None
    assert Path(document["stdout"]).read_text() == "last words\n"


def test_what_is_not_wasm_is_refused_before_anything_is_sent(command_stack: Stack) -> None:
    before = command_stack.atoll("jobs", "list", "--json").document()
    text = command_stack.root / "text.wasm"
    for content in (b"", b"print('hello')\n", b"\0as"):
        text.write_bytes(content)
        said = command_stack.run(text)
        assert said.status == 1
        assert said.document()["error"]["code"] == "workload.not_wasm"
    assert command_stack.atoll("jobs", "list", "--json").document() == before


def test_a_receipt_that_does_not_hold_cannot_be_built_upon(command_stack: Stack) -> None:
    module = command_stack.root / "good.wasm"
    module.write_bytes(exits_with(0))
    receipt = Path(command_stack.run(module).document()["receipt"])
    raw = bytearray(receipt.read_bytes())
    raw[len(raw) // 2] ^= 1
    receipt.write_bytes(raw)
    said = command_stack.run(module, "--after", receipt)
    assert said.status == 1
    assert said.document()["error"]["code"].startswith("receipt.")


def test_evidence_that_the_policy_does_not_accept_gets_no_key(command_stack: Stack) -> None:
    """The client's own policy decides: with another measurement the job is cancelled."""
    module = command_stack.root / "fine.wasm"
    module.write_bytes(exits_with(0))
    profile = command_stack.home / "profile.json"
    good = profile.read_text()
    shown = command_stack.atoll("run", module, "--json").document()
    measurement = next(
        item["actual"] for item in shown["evidence"]["findings"] if item["id"] == "snp.measurement"
    )
    try:
        profile.write_text(good.replace(measurement, "00" * 48))
        said = command_stack.run(module)
    finally:
        profile.write_text(good)
    assert said.status == 1
    document = said.document()
    assert document["error"]["code"] == "evidence.refused"
    assert "snp.measurement" in document["error"]["message"]
    assert document["evidence"]["verdict"] == "fail"
    job = command_stack.atoll("jobs", "show", document["job_id"], "--json").document()
    assert job["state"] == "cancelled"
    events = command_stack.atoll("events", "--job", document["job_id"], "--json").document()
    assert "running" not in [event["data"]["type"] for event in events]


def test_the_stack_still_serves_after_all_of_it(command_stack: Stack) -> None:
    module = command_stack.root / "last.wasm"
    module.write_bytes(exits_with(0))
    assert command_stack.run(module).status == 0
    assert command_stack.atoll("status", "--json").document()["missing"] == []
