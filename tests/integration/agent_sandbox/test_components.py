"""WASI preview 2: a component gets what a module gets, and reaches no more."""

import pytest

from atoll_agent.sandbox.limits import COMPONENT_TABLES, Limits
from integration.agent_sandbox.rig import ran
from support import component
from support.component import (
    CREATE,
    DATA,
    MUTATE,
    READ,
    RESULTS,
    STDERR,
    STDOUT,
    TRUNCATE,
    WRITE,
    Component,
)
from support.wat import assemble

SOCKET_TYPE = """(import "wasi:sockets/tcp@0.2.0" (instance
  (export "tcp-socket" (type (sub resource)))))"""


def doing(body: str, core: str = "", *, returns: int = 0, imports: str = "") -> bytes:
    guest = Component()
    guest.say(STDOUT, "so far")
    guest.raw(body)
    return guest.wasm(core=core, returns=returns, imports=imports)


def with_world(world: str) -> bytes:
    return Component().wasm(world=world)


async def test_a_component_gets_its_data_arguments_and_environment_and_its_outputs_come_back() -> (
    None
):
    done = await ran(
        component.echo(),
        data={"in": b"\x00data\xff"},
        args=["", "two words", "\u20ac"],
        env={"A": "b c"},
    )
    assert done.outcome.succeeded
    assert done.stdout == "algorithm\0\0two words\0\u20ac\0A\0b c\0".encode()
    assert done.stderr == b"copied\n"
    assert done.results == {"out": b"\x00data\xff"}
    # A component keeps its memory to itself: nobody can tell its size.
    assert done.outcome.used.memory_bytes is None


async def test_a_component_has_nothing_of_the_agents_environment() -> None:
    assert (await ran(component.echo())).stdout == b"algorithm\0"


@pytest.mark.parametrize(
    ("wasm", "code"),
    [
        (doing(""), 0),
        (doing("", returns=1), 1),
        (doing("(call $exit (i32.const 0))", returns=1), 0),
        (doing("(call $exit (i32.const 1))"), 1),
        (doing("", imports=SOCKET_TYPE), 0),
    ],
)
async def test_a_component_ends_with_zero_or_one(wasm: bytes, code: int) -> None:
    done = await ran(wasm)
    assert done.code == ("workload.exited", "workload.exit_nonzero")[code], done.outcome.detail
    assert done.outcome.exit_code == code
    assert done.stdout == b"so far"


@pytest.mark.parametrize(
    ("wasm", "code"),
    [
        (b"\0asm\x0d\0\x01\0", "workload.no_start"),
        (b"\0asm\x0e\0\x01\0", "workload.not_wasm"),
        (assemble("(component)") + b"\x0b", "workload.not_wasm"),
        (assemble("(component (core module (memory i64 1)))"), "workload.not_wasm"),
        (with_world('(export "run" (func $run))'), "workload.no_start"),
        (with_world('(instance $i (export "go" (func $run)))'
                    '(export "wasi:cli/run@0.2.0" (instance $i))'), "workload.no_start"),
        (with_world('(instance $i (export "run" (func $run)))'
                    '(export "wasi:cli/run@0.3.0" (instance $i))'), "workload.no_start"),
        (with_world('(func $f (result u32) (canon lift (core func $guest "run")))'
                    '(instance $i (export "run" (func $f)))'
                    '(export "wasi:cli/run@0.2.0" (instance $i))'), "workload.no_start"),
        (doing("", imports='(import "host" (func))'), "workload.import"),
        (doing("", imports='(import "wasi:http/types@0.2.0" (instance (export "f" (func))))'),
         "workload.import"),
        (doing("", imports='(import "wasi:cli/nothing@0.2.0" (instance (export "f" (func))))'),
         "workload.import"),
        (doing("", imports='(import "wasi:cli/stdin@0.2.0" (instance (export "f" (func))))'),
         "workload.import"),
        (doing("", imports='(import "wasi:random/random@0.2.0" (instance '
                           '(export "get-random-u64" (func (result string)))))'),
         "workload.import"),
        (doing("unreachable"), "workload.trap"),
        (doing("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), "workload.trap"),
        (doing("(call $deep)", "(func $deep call $deep)"), "workload.trap"),
        (doing("", "(func $f unreachable) (start $f)"), "workload.trap"),
        (doing("", "(table 9 funcref) (elem (i32.const 9) func 0)"), "workload.trap"),
        (doing("", "(memory 1)"), "workload.not_wasm"),
        (doing("", "(table 1 funcref)" * (COMPONENT_TABLES + 1)), "workload.memory"),
        (doing("", "(table 262145 funcref)"), "workload.memory"),
        (doing("", imports="(core module $m (memory 1)) (core instance (instantiate $m))"),
         "workload.memory"),
        (doing("", imports="(core module $m)" + "(core instance (instantiate $m))" * 63),
         "workload.memory"),
    ],
)  # fmt: skip
async def test_a_component_that_cannot_run_or_traps_has_its_own_code(
    wasm: bytes, code: str
) -> None:
    done = await ran(wasm)
    assert done.code == code, done.outcome.detail
    assert done.results == {}


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("tcp-create-socket", "create-tcp-socket"),
        ("udp-create-socket", "create-udp-socket"),
        ("ip-name-lookup", "resolve-addresses"),
        ("instance-network", "instance-network"),
        ("tcp", "[method]tcp-socket.start-connect"),
    ],
)
async def test_a_component_that_imports_a_function_of_sockets_is_refused(
    name: str, function: str
) -> None:
    types = ""
    parameters = ""
    if name == "tcp":
        types = '(export "tcp-socket" (type $t (sub resource)))'
        parameters = '(param "self" (borrow $t))'
    wanted = f"""(import "wasi:sockets/{name}@0.2.0" (instance {types}
        (export "{function}" (func {parameters}))))"""
    done = await ran(doing("", imports=wanted))
    assert done.code == "workload.import"
    assert f"wasi:sockets/{name}" in done.outcome.detail
    assert done.stdout == b""


async def test_a_component_is_interrupted_counted_and_held_to_its_memory() -> None:
    loop = doing("(loop (br 0))")
    done = await ran(loop, limits=Limits(wall_s=1))
    assert (done.code, done.stdout) == ("workload.timeout", b"so far")
    started = doing("", "(func $f (loop (br 0))) (start $f)")
    assert (await ran(started, limits=Limits(wall_s=1))).code == "workload.timeout"
    assert (await ran(loop, limits=Limits(fuel=100_000))).code == "workload.fuel"
    assert (await ran(loop, limits=Limits(memory_bytes=3 << 16))).code == "workload.memory"
    grown = "(if (i32.ne (memory.grow (i32.const 1)) (i32.const {})) (then unreachable))"
    for pages, answer in ((4, -1), (5, 4)):
        wasm = doing(grown.format(answer))
        assert (await ran(wasm, limits=Limits(memory_bytes=pages << 16))).outcome.succeeded


async def test_no_host_file_can_be_opened_by_a_component() -> None:
    guest = Component()
    for directory in (DATA, RESULTS):
        for path in ("/etc/passwd", "../stdout", "../../../etc/passwd", "..", "x/../../stdout"):
            guest.report(guest.open(directory, path))
        guest.report(guest.open(directory, "../made", oflags=CREATE, flags=WRITE))
    await _require_all_refused(guest)


async def test_data_cannot_be_changed_by_a_component() -> None:
    guest = Component()
    now = (1, 0, 0, 1, 0, 0)
    guest.report(guest.open(DATA, "in", flags=WRITE))
    guest.report(guest.open(DATA, "in", flags=READ | WRITE))
    guest.report(guest.open(DATA, "in", oflags=TRUNCATE, flags=WRITE))
    guest.report(guest.open(DATA, "in", oflags=TRUNCATE))
    guest.report(guest.open(DATA, "new", oflags=CREATE, flags=WRITE))
    guest.report(guest.open(DATA, "new", oflags=CREATE))
    # A directory can be opened as one to change, but nothing can be changed through it.
    guest.require(guest.open(DATA, ".", flags=READ | MUTATE))
    again = guest.opened(1)
    guest.report(guest.method("unlink-file-at", again, "in"))
    guest.report(guest.method("create-directory-at", again, "new"))
    guest.report(guest.method("rename-at", again, "in", RESULTS, "other"))
    guest.report(guest.method("set-times-at", again, 1, "in", *now))
    guest.report(guest.open(again, "in", flags=READ | WRITE))
    guest.report(guest.open(again, "new", oflags=CREATE, flags=WRITE))
    guest.report(guest.method("create-directory-at", DATA, "new"))
    guest.report(guest.method("unlink-file-at", DATA, "in"))
    guest.report(guest.method("rename-at", DATA, "in", DATA, "other"))
    guest.report(guest.method("rename-at", DATA, "in", RESULTS, "other"))
    guest.require(guest.open(RESULTS, "mine", oflags=CREATE, flags=WRITE))
    guest.report(guest.method("rename-at", RESULTS, "mine", DATA, "in"))
    guest.report(guest.method("symlink-at", DATA, "in", "link"))
    guest.report(guest.method("link-at", DATA, 0, "in", DATA, "link"))
    guest.report(guest.method("link-at", DATA, 0, "in", RESULTS, "link"))
    guest.report(guest.method("link-at", RESULTS, 0, "mine", DATA, "link"))
    guest.report(guest.method("set-times-at", DATA, 1, "in", *now))
    guest.report(guest.method("set-times-at", DATA, 1, ".", *now))
    guest.require(guest.open(DATA, "in"))
    opened = guest.opened()
    guest.report(guest.method("write", opened, "lies", 0))
    guest.report(guest.method("set-size", opened, 0))
    await _require_all_refused(guest)


async def _require_all_refused(guest: Component) -> None:
    guest.say(STDERR, "tried\n")
    done = await ran(guest.wasm())
    assert done.outcome.succeeded, done.outcome.detail
    assert done.stderr == b"tried\n"
    errors = done.stdout.split()
    assert errors
    assert [index for index, errno in enumerate(errors) if errno == b"00"] == []
    assert done.data == {"in": b"honest"}
    assert set(done.results) <= {"mine"}
