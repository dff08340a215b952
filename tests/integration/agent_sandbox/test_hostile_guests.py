"""Each of these guests wants to do harm. Each is contained, and the next run is right.

`ran` checks after every guest that an honest one works, that the workspace is gone and that
no process stayed.
"""

import pytest

from atoll_agent.sandbox.limits import MAX_DEPTH, MAX_MODULE, MIB, TABLE_ELEMENTS, Limits
from integration.agent_sandbox.rig import ran
from support import wat
from support.wat import (
    ALL_RIGHTS,
    CREATE,
    DIRECTORY,
    FD_OUT,
    NAME,
    NAME_SIZE,
    READ,
    RESULTS,
    WRITE,
    Guest,
)

EXPORTED = '(memory (export "memory") 1)'


def start(body: str, *, around: str = "") -> bytes:
    return wat.assemble(f'(module {around} (func (export "_start") {body}))')


@pytest.mark.parametrize(
    ("wasm", "code"),
    [
        (b"", "workload.not_wasm"),
        (b"\0asm", "workload.not_wasm"),
        (b"\0asm\x02\0\0\0", "workload.not_wasm"),
        (b"\x7fELF" + bytes(100), "workload.not_wasm"),
        (b'(module (func (export "_start")))', "workload.not_wasm"),
        (start("")[:-1], "workload.not_wasm"),
        (start("") + b"\x0b", "workload.not_wasm"),
        (start("", around="(memory i64 1)"), "workload.not_wasm"),
        (start("", around="(memory 1 1 shared)"), "workload.not_wasm"),
        (start("", around="(memory 1) (memory 1)"), "workload.not_wasm"),
        (wat.assemble("(component)"), "workload.no_start"),
        (wat.assemble("(module)"), "workload.no_start"),
        (wat.assemble('(module (memory (export "_start") 1))'), "workload.no_start"),
        (wat.assemble('(module (func (export "_start") (param i32)))'), "workload.no_start"),
        (wat.assemble('(module (func (export "_start") (result i32) i32.const 0))'),
         "workload.no_start"),
        (start("", around='(import "env" "secret" (func))'), "workload.import"),
        (start("", around='(import "wasi_unstable" "fd_close" (func (param i32) (result i32)))'),
         "workload.import"),
        (start("", around='(import "wasi_snapshot_preview1" "no_such" (func))'),
         "workload.import"),
        (start("", around='(import "wasi_snapshot_preview1" "proc_exit" (func))'),
         "workload.import"),
        (start("", around='(import "wasi_snapshot_preview1" "m" (memory 1))'), "workload.import"),
        (start("unreachable"), "workload.trap"),
        (start("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), "workload.trap"),
        (start("(drop (i32.load (i32.const 65536)))", around=EXPORTED), "workload.trap"),
        (wat.assemble('(module (func $f (export "_start") call $f))'), "workload.trap"),
        (start("", around="(func $f unreachable) (start $f)"), "workload.trap"),
        (start("", around=f'{EXPORTED} (data (i32.const 65536) "x")'), "workload.trap"),
        (start("", around=f"(table {TABLE_ELEMENTS + 1} funcref)"), "workload.memory"),
        (start("", around="(table 1 funcref)" * 9), "workload.memory"),
    ],
)  # fmt: skip
async def test_a_module_that_cannot_run_or_traps_has_its_own_code(wasm: bytes, code: str) -> None:
    done = await ran(wasm)
    assert done.code == code
    assert done.outcome.exit_code is None
    assert (done.stdout, done.stderr, done.results) == (b"", b"", {})


async def test_a_module_larger_than_the_largest_is_not_compiled() -> None:
    done = await ran(b"\0asm\x01\0\0\0" + bytes(MAX_MODULE))
    assert done.code == "workload.not_wasm"


@pytest.mark.parametrize("code", [126, 255, 256, -1])
async def test_an_exit_code_that_the_interface_does_not_know_is_a_trap(code: int) -> None:
    guest = Guest()
    guest.exit(code)
    assert (await ran(guest.wasm())).code == "workload.trap"


@pytest.mark.parametrize(
    "wasm",
    [start("(loop (br 0))"), start("", around="(func $f (loop (br 0))) (start $f)")],
    ids=["in _start", "in the start section"],
)
async def test_an_endless_loop_ends_at_the_wall_clock(wasm: bytes) -> None:
    done = await ran(wasm, limits=Limits(wall_s=1))
    assert done.code == "workload.timeout"
    assert done.outcome.used.wall_ms >= 1000


async def test_sleeping_in_a_host_call_does_not_outlast_the_wall_clock() -> None:
    guest = Guest()
    # One subscription: clock 1 (monotonic), relative, 2^60 ns.
    guest.raw("(i32.store (i32.const 4112) (i32.const 1))")
    guest.raw("(i64.store (i32.const 4120) (i64.const 1152921504606846976))")
    guest.do(guest.call("poll_oneoff", 4096, 8192, 1, 48))
    guest.exit(0)
    done = await ran(guest.wasm(), limits=Limits(wall_s=1))
    assert done.code == "workload.timeout"
    assert done.outcome.used.memory_bytes is None


async def test_fuel_runs_out() -> None:
    done = await ran(start("(loop (br 0))"), limits=Limits(fuel=100_000))
    assert done.code == "workload.fuel"


async def test_fuel_that_suffices_changes_nothing() -> None:
    assert (await ran(wat.echo(), limits=Limits(fuel=1_000_000))).outcome.succeeded


async def test_a_module_that_begins_with_more_memory_than_allowed_is_refused() -> None:
    done = await ran(start("", around="(memory 17)"), limits=Limits(memory_bytes=MIB))
    assert done.code == "workload.memory"


async def test_growing_stops_at_the_limit_and_the_guest_is_told() -> None:
    body = """(loop $more
      (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))
      (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable"""
    done = await ran(start(body, around=EXPORTED), limits=Limits(memory_bytes=4 * MIB))
    assert done.code == "workload.trap"
    assert done.outcome.used.memory_bytes == 4 * MIB


def _fill(*, log: int | None = None, unlink: bool = False, new_names: bool = False) -> bytes:
    """Write 32 KiB again and again: to a log, to one file, to many, or to unlinked ones."""
    guest = Guest()
    guest.raw("(call $next_name)")
    name = (f"(i32.const {NAME})", f"(i32.const {NAME_SIZE})")
    opening = guest.call("path_open", RESULTS, 0, *name, CREATE, WRITE, WRITE, 0, wat.FD_OUT)
    if log is None and not new_names:
        guest.do(opening)
    begin = guest.mark()
    if new_names:
        guest.raw("(call $next_name)")
        guest.do(opening)
    if unlink:
        guest.do(guest.call("path_unlink_file", RESULTS, *name))
    guest.do(guest.write(guest.opened() if log is None else log, 0, 32768))
    if new_names and not unlink:
        guest.do(guest.call("fd_close", guest.opened()))
    guest.forever(begin)
    return guest.wasm()


@pytest.mark.parametrize(
    "wasm",
    [
        _fill(),
        _fill(new_names=True),
        _fill(new_names=True, unlink=True),
        _fill(log=wat.STDOUT),
        _fill(log=wat.STDERR),
    ],
    ids=["one file", "many files", "unlinked files", "stdout", "stderr"],
)
async def test_an_output_bomb_is_stopped_before_the_wall_clock(wasm: bytes) -> None:
    limits = Limits(wall_s=60, output_bytes=2 * MIB, output_files=100, log_bytes=MIB)
    done = await ran(wasm, limits=limits)
    assert done.code == "workload.output_limit"
    assert done.outcome.used.wall_ms < 30_000
    assert max(len(done.stdout), len(done.stderr)) <= MIB
    assert done.results == {}


async def test_a_bomb_of_empty_files_is_stopped() -> None:
    guest = Guest()
    begin = guest.mark()
    guest.raw("(call $next_name)")
    name = (f"(i32.const {NAME})", f"(i32.const {NAME_SIZE})")
    guest.do(guest.call("path_create_directory", RESULTS, *name))
    guest.forever(begin)
    done = await ran(guest.wasm(), limits=Limits(output_files=50))
    assert done.code == "workload.output_limit"


async def test_output_over_the_limit_is_refused_also_when_the_guest_ends_at_once() -> None:
    guest = Guest()
    guest.do(guest.open(RESULTS, "x", oflags=CREATE, rights=WRITE))
    guest.do(guest.write(guest.opened(), 0, 1001))
    assert (await ran(guest.wasm(), limits=Limits(output_bytes=1001))).outcome.succeeded
    assert (await ran(guest.wasm(), limits=Limits(output_bytes=1000))).code == (
        "workload.output_limit"
    )


async def test_a_hole_counts_like_bytes() -> None:
    guest = Guest()
    guest.do(guest.open(RESULTS, "a", oflags=CREATE, rights=WRITE))
    guest.do(guest.call("fd_filestat_set_size", guest.opened(), 800))
    guest.do(guest.open(RESULTS, "b", oflags=CREATE, rights=WRITE))
    guest.do(guest.call("fd_filestat_set_size", guest.opened(), 800))
    assert (await ran(guest.wasm(), limits=Limits(output_bytes=1000))).code == (
        "workload.output_limit"
    )


@pytest.mark.parametrize(
    "name", ["new\nline", "esc\x1b[2J", "del\x7f", "back\\slash", "rtl\u202egpj.exe", "nbsp\u00a0"]
)
async def test_a_name_that_could_fool_a_reader_is_refused(name: str) -> None:
    guest = Guest()
    guest.require(guest.open(RESULTS, name, oflags=CREATE, rights=WRITE))
    done = await ran(guest.wasm())
    assert done.code == "workload.output_names"
    assert done.results == {}


@pytest.mark.parametrize("name", [b"\xff\xfe", b"nul\0nul", b"n" * 256, b"..", b"."])
async def test_a_name_that_is_none_does_not_reach_the_file_system(name: bytes) -> None:
    guest = Guest()
    guest.report(guest.open(RESULTS, name, oflags=CREATE, rights=WRITE))
    done = await ran(guest.wasm())
    assert done.stdout != b"00\n"
    assert done.results == {}


@pytest.mark.parametrize(
    ("depth", "code"),
    [(MAX_DEPTH, "workload.exited"), (MAX_DEPTH + 1, "workload.output_names")],
)
async def test_directories_may_only_be_so_deep(depth: int, code: str) -> None:
    guest = Guest()
    for level in range(1, depth + 1):
        guest.require(guest.call("path_create_directory", RESULTS, "/".join("d" * level)))
    assert (await ran(guest.wasm())).code == code


async def test_directories_deeper_than_any_path_are_stopped_and_erased() -> None:
    guest = Guest()
    guest.require(guest.open(RESULTS, ".", oflags=DIRECTORY))
    begin = guest.mark()
    guest.require(guest.call("path_create_directory", guest.opened(), "deeper"))
    guest.raw(f"(i32.store (i32.const 20) {guest.opened()})")
    guest.require(
        guest.call("path_open", guest.opened(), 0, "deeper", DIRECTORY, READ, ALL_RIGHTS, 0, FD_OUT)
    )
    guest.do(guest.call("fd_close", "(i32.load (i32.const 20))"))
    guest.forever(begin)
    done = await ran(guest.wasm(), limits=Limits(output_files=4096))
    assert done.code == "workload.output_names"


async def test_a_link_loop_is_refused_and_erased() -> None:
    guest = Guest()
    guest.require(guest.call("path_symlink", "loop", RESULTS, "loop"))
    guest.report(guest.open(RESULTS, "loop"))
    done = await ran(guest.wasm())
    assert done.code == "workload.output_kind"
    assert done.stdout != b"00\n"


async def test_a_guest_that_overlooks_a_write_cut_short_does_not_succeed() -> None:
    guest = Guest()
    guest.do(guest.open(RESULTS, "x", oflags=CREATE, rights=WRITE))
    for _ in range(3):
        guest.do(guest.write(guest.opened(), 0, 65536))
    guest.exit(0)
    done = await ran(guest.wasm(), limits=Limits(output_bytes=70_000, log_bytes=0))
    assert done.code == "workload.output_limit"
