"""Hostile WebAssembly: the limits of the runtime, and what WASI could be talked into."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from atoll.computation.steps import WorkloadKind
from hostile.case import ENDED, SMALL, Case, codes
from support import component, wat
from support.component import Component
from support.wat import CREATE, DATA, DIRECTORY, RESULTS, STDERR, STDOUT, TRUNCATE, WRITE, Guest

WASM: Final = WorkloadKind.WASM
_MEMORY: Final = '(memory (export "memory") 1)'
_GROW: Final = """(loop $more
  (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))
  (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable"""


def start(body: str, around: str = "") -> bytes:
    """A module that is nothing but its start."""
    return wat.assemble(f'(module {around} (func (export "_start") {body}))')


def cases() -> Iterator[Case]:
    """Those that loop and grow, then those that ask for what is not theirs."""
    for name, make, ends in _MODULES:
        yield Case(name=name, kind=WASM, algorithm=make, codes=ends)
    for name, work in _ATTEMPTS:
        yield Case(name=name, kind=WASM, algorithm=_tried(work), codes=ENDED, said=b"tried\n")
    for name, make, ends in _COMPONENTS:
        yield Case(name=f"a component: {name}", kind=WASM, algorithm=make, codes=ends)
    yield Case(
        name="a component: what is not its own",
        kind=WASM,
        algorithm=_component_tries,
        codes=ENDED,
        said=b"tried\n",
    )
    fuel = replace(SMALL, fuel=100_000)
    yield Case(name="fuel", kind=WASM, algorithm=_loop, codes=codes("fuel"), limits=fuel)


def _loop() -> bytes:
    return start("(loop (br 0))")


def _forever(write: Callable[[Guest], None]) -> bytes:
    guest = Guest(pages=2)
    begin = guest.mark()
    write(guest)
    guest.forever(begin)
    return guest.wasm()


def _sleeping() -> bytes:
    guest = Guest()
    guest.raw("(i32.store (i32.const 4112) (i32.const 1))")
    guest.raw("(i64.store (i32.const 4120) (i64.const 1152921504606846976))")
    guest.do(guest.call("poll_oneoff", 4096, 8192, 1, 48))
    guest.exit(0)
    return guest.wasm()


def _new_name(guest: Guest, call: str) -> None:
    guest.raw("(call $next_name)")
    name = (f"(i32.const {wat.NAME})", f"(i32.const {wat.NAME_SIZE})")
    if call == "path_open":
        rest = (CREATE, WRITE, WRITE, 0, wat.FD_OUT)
        guest.do(guest.call(call, RESULTS, 0, *name, *rest))
    else:
        guest.do(guest.call(call, RESULTS, *name))


def _one_file(build: Callable[[Guest], None]) -> Callable[[], bytes]:
    def make() -> bytes:
        guest = Guest()
        build(guest)
        guest.exit(0)
        return guest.wasm()

    return make


def _hole(guest: Guest) -> None:
    guest.require(guest.open(RESULTS, "x", oflags=CREATE, rights=WRITE | 1 << 22))
    guest.do(guest.call("fd_filestat_set_size", guest.opened(), (4 << 20) + 1))


def _deep(guest: Guest) -> None:
    for depth in range(1, 20):
        guest.do(guest.call("path_create_directory", RESULTS, "/".join("d" * depth)))


def _large_function() -> bytes:
    body = "(drop (i32.add (i32.const 1) (i32.const 2)))" * 60_000
    return start(body)


_MODULES: Final[tuple[tuple[str, Callable[[], bytes], frozenset[str]], ...]] = (
    ("a loop", _loop, codes("timeout")),
    ("a loop in the start section",
     lambda: start("", "(func $f (loop (br 0))) (start $f)"), codes("timeout")),
    ("sleep", _sleeping, codes("timeout")),
    ("memory that grows", lambda: start(_GROW, _MEMORY), codes("trap", "memory")),
    ("memory from the start", lambda: start("", "(memory 65536)"), codes("memory")),
    ("tables", lambda: start("", "(table 4000000 funcref)"), codes("memory")),
    ("a stack without end", lambda: wat.assemble('(module (func $f (export "_start") call $f))'),
     codes("trap")),
    ("a function of a megabyte", _large_function, ENDED),
    ("64-bit memory", lambda: start("", "(memory i64 1)"), codes("not_wasm")),
    ("shared memory", lambda: start("", "(memory 1 1 shared)"), codes("not_wasm")),
    ("an import of the host's", lambda: start("", '(import "env" "system" (func))'),
     codes("import")),
    ("a log without end", lambda: _forever(lambda g: g.do(g.write(STDOUT, 0, 65536))),
     codes("output_limit")),
    ("an error log without end", lambda: _forever(lambda g: g.do(g.write(STDERR, 0, 65536))),
     codes("output_limit")),
    ("names without end", lambda: _forever(lambda g: _new_name(g, "path_create_directory")),
     codes("output_limit")),
    ("descriptors without end", lambda: _forever(lambda g: _new_name(g, "path_open")),
     codes("output_limit", "timeout", "trap")),
    ("a hole", _one_file(_hole), codes("output_limit")),
    ("directories in directories", _one_file(_deep), codes("output_names")),
    ("a link out", _one_file(lambda g: g.do(g.call("path_symlink", "../x", RESULTS, "l"))),
     codes("output_kind") | ENDED),
    ("a name with a line end",
     _one_file(lambda g: g.do(g.open(RESULTS, "a\nb", oflags=CREATE, rights=WRITE))),
     codes("output_names")),
    ("an exit code of two bytes", _one_file(lambda g: g.exit(70_000)), codes("trap")),
    ("garbage", lambda: b"\0asm\1\0\0\0" + b"\xff" * 4096, codes("not_wasm")),
    ("half a module", lambda: _loop()[:-3], codes("not_wasm")),
)  # fmt: skip

_ATTEMPTS: Final[tuple[tuple[str, tuple[Callable[[Guest], str], ...]], ...]] = (
    ("paths that lead out", tuple(
        (lambda g, at=at, path=path: g.open(at, path))  # type: ignore[misc]
        for at in (DATA, RESULTS)
        for path in ("../algorithm", "/etc/passwd", "../../../../etc/shadow", "x/../../algorithm")
    )),
    ("writing to /data", (
        lambda g: g.open(DATA, "in", rights=WRITE),
        lambda g: g.open(DATA, "in", oflags=TRUNCATE, rights=WRITE),
        lambda g: g.open(DATA, "new", oflags=CREATE, rights=WRITE),
        lambda g: g.call("path_unlink_file", DATA, "in"),
        lambda g: g.call("path_rename", DATA, "in", RESULTS, "in"),
        lambda g: g.call("path_link", DATA, 0, "in", RESULTS, "in"),
        lambda g: g.call("path_create_directory", DATA, "d"),
        lambda g: g.call("path_symlink", "in", DATA, "l"),
        lambda g: g.call("path_filestat_set_times", DATA, 0, "in", 0, 0, 8),
    )),
    ("descriptors that are not there", tuple(
        (lambda g, fd=fd: g.write(fd, 0, 8)) for fd in (0, 5, 6, 7, 100, 2**31)  # type: ignore[misc]
    )),
    ("a socket", (lambda g: g.call("sock_accept", 3, 0, wat.FD_OUT),)),
    ("a name of wrong bytes", (
        lambda g: g.open(RESULTS, b"\xff\xfe", oflags=CREATE, rights=WRITE),
        lambda g: g.open(RESULTS, b"..", oflags=DIRECTORY),
    )),
)  # fmt: skip


def _tried(work: tuple[Callable[[Guest], str], ...]) -> Callable[[], bytes]:
    """A guest that says ESCAPED for each attempt whose errno is 0."""

    def make() -> bytes:
        guest = Guest()
        escaped = guest.text("ESCAPED\n")
        said = guest.text("tried\n")
        for attempt in work:
            expression = attempt(guest)
            guest.raw(f"(if (i32.eqz {expression}) (then ")
            guest.do(guest.write(STDOUT, *escaped))
            guest.raw("))")
        guest.do(guest.write(STDOUT, *said))
        guest.exit(0)
        return guest.wasm()

    return make


def _component(body: str, *, core: str = "", imports: str = "") -> Callable[[], bytes]:
    def make() -> bytes:
        guest = Component()
        guest.raw(body)
        return guest.wasm(core=core, imports=imports)

    return make


def _component_log() -> bytes:
    guest = Component()
    put = "(call $put (call $stdout) (i32.const 4096) (i32.const 4096) (i32.const 0))"
    guest.raw(f"(loop $again {put} (br $again))")
    return guest.wasm()


def _component_hole() -> bytes:
    guest = Component()
    made = guest.open(component.RESULTS, "x", oflags=component.CREATE, flags=component.WRITE)
    guest.require(made)
    guest.do(guest.method("set-size", guest.opened(), (4 << 20) + 1))
    return guest.wasm()


def _component_link() -> bytes:
    guest = Component()
    guest.do(guest.method("symlink-at", component.RESULTS, "../x", "l"))
    return guest.wasm()


def _component_tries() -> bytes:
    """Says ESCAPED for each attempt that succeeds."""
    guest = Component()
    data, results = component.DATA, component.RESULTS
    create, write = component.CREATE, component.WRITE
    attempts = [
        guest.open(at, path)
        for at in (data, results)
        for path in ("../algorithm", "/etc/passwd", "../../../../etc/shadow", "x/../../algorithm")
    ]
    attempts += [
        guest.open(data, "in", flags=write),
        guest.open(data, "in", oflags=component.TRUNCATE, flags=write),
        guest.open(data, "new", oflags=create, flags=write),
        guest.method("unlink-file-at", data, "in"),
        guest.method("rename-at", data, "in", results, "in"),
        guest.method("link-at", data, 0, "in", results, "in"),
        guest.method("create-directory-at", data, "d"),
        guest.method("symlink-at", data, "in", "l"),
    ]
    escaped = guest.text("ESCAPED\n")
    for attempt in attempts:
        said = f"(call $put (call $stdout) {escaped} (i32.const 8))"
        guest.raw(f"(if (i32.eqz {attempt}) (then {said}))")
    guest.say(component.STDOUT, "tried\n")
    return guest.wasm()


_GROW_COMPONENT: Final = """(loop $more
  (memory.fill (i32.const 65536) (i32.const 1)
    (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 65536)))
  (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable"""
_SOCKET: Final = """(import "wasi:sockets/instance-network@0.2.0" (instance
  (export "network" (type $n (sub resource)))
  (export "instance-network" (func (result (own $n))))))"""
_MEMORIES: Final = "(core module $m (memory 1000))" + "(core instance (instantiate $m))" * 60

_COMPONENTS: Final[tuple[tuple[str, Callable[[], bytes], frozenset[str]], ...]] = (
    ("a loop", _component("(loop (br 0))"), codes("timeout")),
    ("a loop in a start section", _component("", core="(func $f (loop (br 0))) (start $f)"),
     codes("timeout")),
    ("memory that grows", _component(_GROW_COMPONENT), codes("trap", "memory")),
    ("many memories", _component("", imports=_MEMORIES), codes("memory")),
    ("many instances",
     _component("", imports="(core module $m)" + "(core instance (instantiate $m))" * 900),
     codes("memory")),
    ("a socket", _component("", imports=_SOCKET), codes("import")),
    ("the web", _component("", imports="""(import "wasi:http/outgoing-handler@0.2.0"
      (instance (export "handle" (func))))"""), codes("import")),
    ("a log without end", _component_log, codes("output_limit")),
    ("a hole", _component_hole, codes("output_limit")),
    ("a link out", _component_link, codes("output_kind")),
    ("half of one", lambda: _component("")()[:-3], codes("not_wasm")),
)  # fmt: skip
