"""Command components for tests, written as component text and assembled by wasmtime.

    guest = Component()
    guest.report(guest.open(RESULTS, "x", oflags=CREATE, flags=WRITE))
    wasm = guest.wasm()

One core module with its memory beside it, wired by hand to the few interfaces of WASI 0.2 that
the tests need; no tool from outside. In the memory: addresses below 1024 are scratch (what a
call returned from 0 on, preopened directories' handles at 512 and 516, digits at 520), constants
follow, and from 65536 on is what the host allocates.
"""

from typing import Final

from support.wat import assemble

DATA: Final = "(i32.load (i32.const 512))"
RESULTS: Final = "(i32.load (i32.const 516))"
STDOUT: Final = "(call $stdout)"
STDERR: Final = "(call $stderr)"
CREATE: Final = 1
TRUNCATE: Final = 8
READ: Final = 1
WRITE: Final = 2
MUTATE: Final = 32
VERSION: Final = "0.2.0"

_ERRORS: Final = """
 access would-block already bad-descriptor busy deadlock quota exist file-too-large
 illegal-byte-sequence in-progress interrupted invalid io is-directory loop too-many-links
 message-size name-too-long no-device no-entry no-lock insufficient-memory insufficient-space
 not-directory not-empty not-recoverable unsupported no-tty no-such-device overflow
 not-permitted pipe read-only invalid-seek text-file-busy cross-device"""
_DONE: Final = "(result (result (error $error_code)))"
_SELF: Final = '(param "self" (borrow $descriptor))'
_METHODS: Final = {
    # name: (parameters and result, core parameters with the place for the result)
    "open-at": (
        (
            '(param "path-flags" $path_flags) (param "path" string)'
            ' (param "open-flags" $open_flags) (param "flags" $descriptor_flags)'
            " (result (result (own $descriptor) (error $error_code)))"
        ),
        "i32 i32 i32 i32 i32 i32 i32",
    ),
    "read": (
        (
            '(param "length" u64) (param "offset" u64)'
            " (result (result (tuple (list u8) bool) (error $error_code)))"
        ),
        "i32 i64 i64 i32",
    ),
    "write": (
        (
            '(param "buffer" (list u8)) (param "offset" u64)'
            " (result (result u64 (error $error_code)))"
        ),
        "i32 i32 i32 i64 i32",
    ),
    "set-size": (f'(param "size" u64) {_DONE}', "i32 i64 i32"),
    "set-times-at": (
        (
            '(param "path-flags" $path_flags) (param "path" string)'
            ' (param "data-access-timestamp" $new_timestamp)'
            f' (param "data-modification-timestamp" $new_timestamp) {_DONE}'
        ),
        "i32 i32 i32 i32 i32 i64 i32 i32 i64 i32 i32",
    ),
    "create-directory-at": (f'(param "path" string) {_DONE}', "i32 i32 i32 i32"),
    "unlink-file-at": (f'(param "path" string) {_DONE}', "i32 i32 i32 i32"),
    "symlink-at": (
        f'(param "old-path" string) (param "new-path" string) {_DONE}',
        "i32 i32 i32 i32 i32 i32",
    ),
    "rename-at": (
        (
            '(param "old-path" string) (param "new-descriptor" (borrow $descriptor))'
            f' (param "new-path" string) {_DONE}'
        ),
        "i32 i32 i32 i32 i32 i32 i32",
    ),
    "link-at": (
        (
            '(param "old-path-flags" $path_flags) (param "old-path" string)'
            ' (param "new-descriptor" (borrow $descriptor))'
            f' (param "new-path" string) {_DONE}'
        ),
        "i32 i32 i32 i32 i32 i32 i32 i32",
    ),
}
_ERROR_AT: Final = {"open-at": 4, "read": 4, "write": 8}


def _imports() -> str:
    errors = " ".join(f'"{name}"' for name in _ERRORS.split())
    methods = "".join(
        f'(export "[method]descriptor.{name}" (func {_SELF} {signature}))'
        for name, (signature, _) in _METHODS.items()
    )

    def streams(which: str) -> str:
        return f"""(import "wasi:cli/{which}@{VERSION}" (instance ${which}
    (alias outer 1 $output (type $o)) (export "output-stream" (type $s (eq $o)))
    (export "get-{which}" (func (result (own $s))))))"""

    return f"""
  (import "wasi:io/error@{VERSION}" (instance $io_error
    (export "error" (type (sub resource)))))
  (alias export $io_error "error" (type $io_error_type))
  (import "wasi:io/streams@{VERSION}" (instance $streams
    (export "output-stream" (type $out (sub resource)))
    (alias outer 1 $io_error_type (type $e)) (export "error" (type $error (eq $e)))
    (type $v (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream_error (eq $v)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $out)) (param "contents" (list u8))
      (result (result (error $stream_error)))))))
  (alias export $streams "output-stream" (type $output))
  {streams("stdout")} {streams("stderr")}
  (import "wasi:cli/exit@{VERSION}" (instance $exit
    (export "exit" (func (param "status" (result))))))
  (import "wasi:cli/environment@{VERSION}" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:clocks/wall-clock@{VERSION}" (instance $clock
    (type $d (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type (eq $d)))))
  (alias export $clock "datetime" (type $datetime_type))
  (import "wasi:filesystem/types@{VERSION}" (instance $files
    (export "descriptor" (type $descriptor (sub resource)))
    (alias outer 1 $datetime_type (type $d)) (export "datetime" (type $datetime (eq $d)))
    (type $e (enum {errors})) (export "error-code" (type $error_code (eq $e)))
    (type $p (flags "symlink-follow")) (export "path-flags" (type $path_flags (eq $p)))
    (type $o (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open_flags (eq $o)))
    (type $f (flags "read" "write" "file-integrity-sync" "data-integrity-sync"
      "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $descriptor_flags (eq $f)))
    (type $t (variant (case "no-change") (case "now") (case "timestamp" $datetime)))
    (export "new-timestamp" (type $new_timestamp (eq $t)))
    {methods}))
  (alias export $files "descriptor" (type $descriptor_type))
  (import "wasi:filesystem/preopens@{VERSION}" (instance $preopens
    (alias outer 1 $descriptor_type (type $d)) (export "descriptor" (type $descriptor (eq $d)))
    (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))"""


_LIBC: Final = """
  (core module $libc_module (memory (export "memory") 4)
    (global $top (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc_module))"""
_OPTIONS: Final = '(memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))'
_HOST: Final = {
    # core name: (instance, function, core type)
    "stdout": ("stdout", "get-stdout", "(result i32)"),
    "stderr": ("stderr", "get-stderr", "(result i32)"),
    "exit": ("exit", "exit", "(param i32)"),
    "arguments": ("environment", "get-arguments", "(param i32)"),
    "environment": ("environment", "get-environment", "(param i32)"),
    "directories": ("preopens", "get-directories", "(param i32)"),
    "put": (
        "streams",
        "[method]output-stream.blocking-write-and-flush",
        "(param i32 i32 i32 i32)",
    ),
} | {
    name: ("files", f"[method]descriptor.{name}", f"(param {core})")
    for name, (_, core) in _METHODS.items()
}
_HELPERS: Final = """
  (func $report (param $errno i32)
    (i32.store8 (i32.const 520) (i32.add (i32.const 48)
      (i32.div_u (local.get $errno) (i32.const 10))))
    (i32.store8 (i32.const 521) (i32.add (i32.const 48)
      (i32.rem_u (local.get $errno) (i32.const 10))))
    (i32.store8 (i32.const 522) (i32.const 10))
    (call $put (call $stdout) (i32.const 520) (i32.const 3) (i32.const 0)))
  (func $texts (param $count i32) (local $at i32)
    ;; counted texts from the list at 0, each with a NUL behind it
    (local.set $at (i32.load (i32.const 0)))
    (loop $next
      (if (local.get $count) (then
        (call $put (call $stdout) (i32.load (local.get $at)) (i32.load offset=4 (local.get $at))
          (i32.const 8))
        (call $put (call $stdout) (i32.const 524) (i32.const 1) (i32.const 8))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))))
  (func $errno (param $payload i32) (result i32)
    (if (result i32) (i32.load8_u (i32.const 0))
      (then (i32.add (i32.load8_u (local.get $payload)) (i32.const 1)))
      (else (i32.const 0))))"""


class Component:
    """Builds one command: each method adds to `run` or gives an expression for it."""

    def __init__(self) -> None:
        self._body: list[str] = []
        self._segments: list[str] = []
        self._end = 1024

    def text(self, value: str) -> str:
        """Place a constant; its address and size, as two expressions."""
        raw = value.encode()
        at = self._end
        self._end += len(raw) + (-len(raw)) % 8
        escaped = "".join(f"\\{byte:02x}" for byte in raw)
        self._segments.append(f'(data (i32.const {at}) "{escaped}")')
        return f"(i32.const {at}) (i32.const {len(raw)})"

    def method(self, name: str, directory: str, *rest: int | str) -> str:
        """Call one of a descriptor's methods; 0, or the error's number and one.

        Text stands for address and size, a `(...)` for an expression.
        """
        pushed: list[str] = [directory]
        kinds = iter(_METHODS[name][1].split()[1:])
        for value in rest:
            kind = next(kinds)
            if isinstance(value, int):
                pushed.append(f"({kind}.const {value})")
            elif value.startswith("("):
                pushed.append(value)
            else:
                pushed.append(self.text(value))
                next(kinds)
        done = f"(call ${name} {' '.join(pushed)} (i32.const 0))"
        return f"(block (result i32) {done} (call $errno (i32.const {_ERROR_AT.get(name, 1)})))"

    def open(self, directory: str, path: str, *, oflags: int = 0, flags: int = READ) -> str:
        """open-at, following links; see `opened`."""
        return self.method("open-at", directory, 1, path, oflags, flags)

    def opened(self, local: int = 0) -> str:
        """Keep the descriptor that `open` just gave; the expression that names it from here."""
        place = 528 + 4 * local
        self.raw(f"(i32.store (i32.const {place}) (i32.load (i32.const 4)))")
        return f"(i32.load (i32.const {place}))"

    def say(self, stream: str, text: str) -> None:
        """Write to standard output or error."""
        self.raw(f"(call $put {stream} {self.text(text)} (i32.const 8))")

    def do(self, expression: str) -> None:
        """Evaluate and forget."""
        self.raw(f"(drop {expression})")

    def require(self, expression: str) -> None:
        """Trap when it is not 0: the test would prove nothing."""
        self.raw(f"(if {expression} (then unreachable))")

    def report(self, expression: str) -> None:
        """Print it as two digits and a line end."""
        self.raw(f"(call $report {expression})")

    def raw(self, text: str) -> None:
        """Anything else, as it is."""
        self._body.append(text)

    def arguments(self) -> None:
        """Print arguments and environment, each with a NUL behind it."""
        self.raw("(call $arguments (i32.const 0)) (call $texts (i32.load (i32.const 4)))")
        self.raw("(call $environment (i32.const 0))")
        self.raw("(call $texts (i32.mul (i32.load (i32.const 4)) (i32.const 2)))")

    def wasm(
        self, *, returns: int = 0, imports: str = "", world: str = "", core: str = ""
    ) -> bytes:
        """The assembled component.

        Args:
            returns: 0 for `ok`, 1 for `err`.
            imports: further imports.
            world: other text in the place of the export of `wasi:cli/run`.
            core: more of the core module.
        """
        lowered = "".join(
            f'(core func ${name} (canon lower (func ${instance} "{function}") {_OPTIONS}))'
            for name, (instance, function, _) in _HOST.items()
        )
        given = "".join(f'(export "{name}" (func ${name}))' for name in _HOST)
        taken = "".join(
            f'(import "host" "{name}" (func ${name} {kind}))'
            for name, (_, _, kind) in _HOST.items()
        )
        preopened = """(call $directories (i32.const 0))
          (i32.store (i32.const 512) (i32.load (i32.load (i32.const 0))))
          (i32.store (i32.const 516) (i32.load offset=12 (i32.load (i32.const 0))))"""
        exported = world or (
            f'(instance $command (export "run" (func $run)))'
            f'(export "wasi:cli/run@{VERSION}" (instance $command))'
        )
        return assemble(
            f"""(component {_imports()} {imports} {_LIBC} {lowered}
  (core module $module (import "libc" "memory" (memory 1)) {taken}
    {"".join(self._segments)} {_HELPERS} {core}
    (func (export "run") (result i32)
      {preopened} {"".join(self._body)} (i32.const {returns})))
  (core instance $guest (instantiate $module (with "libc" (instance $libc))
    (with "host" (instance {given}))))
  (func $run (result (result)) (canon lift (core func $guest "run")))
  {exported})"""
        )


def echo() -> bytes:
    """Does what `wat.echo` does."""
    guest = Component()
    guest.arguments()
    guest.require(guest.open(DATA, "in"))
    source = guest.opened()
    guest.require(guest.method("read", source, 4096, 0))
    guest.raw("(i32.store (i32.const 536) (i32.load (i32.const 4)))")
    guest.raw("(i32.store (i32.const 540) (i32.load (i32.const 8)))")
    guest.require(guest.open(RESULTS, "out", oflags=CREATE, flags=WRITE))
    target = guest.opened(1)
    content = ("(i32.load (i32.const 536))", "(i32.load (i32.const 540))")
    guest.require(guest.method("write", target, *content, 0))
    guest.say(STDERR, "copied\n")
    return guest.wasm()
