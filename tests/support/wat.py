"""Guests for tests, written as WebAssembly text and assembled by wasmtime.

    guest = Guest()
    guest.report(guest.open(RESULTS, "x", oflags=CREATE))
    wasm = guest.wasm()

Addresses below 1024 are scratch: an iovec at 0, a count at 8, a descriptor at 16, digits
at 32, a counted name at 64. Everything that the test names stands from 1024 on.
"""

from typing import Final

import wasmtime

DATA: Final = 3
RESULTS: Final = 4
STDOUT: Final = 1
STDERR: Final = 2
CREATE: Final = 1
DIRECTORY: Final = 2
TRUNCATE: Final = 8
READ: Final = 1 << 1
WRITE: Final = 1 << 6
ALL_RIGHTS: Final = (1 << 29) - 1
FD_OUT: Final = 16
NAME: Final = 64
NAME_SIZE: Final = 8

_SIGNATURES: Final = {
    "args_get": "i32 i32",
    "args_sizes_get": "i32 i32",
    "environ_get": "i32 i32",
    "environ_sizes_get": "i32 i32",
    "fd_allocate": "i32 i64 i64",
    "fd_close": "i32",
    "fd_filestat_set_size": "i32 i64",
    "fd_filestat_set_times": "i32 i64 i64 i32",
    "fd_read": "i32 i32 i32 i32",
    "fd_write": "i32 i32 i32 i32",
    "path_create_directory": "i32 i32 i32",
    "path_filestat_set_times": "i32 i32 i32 i32 i64 i64 i32",
    "path_link": "i32 i32 i32 i32 i32 i32 i32",
    "path_open": "i32 i32 i32 i32 i32 i64 i64 i32 i32",
    "path_remove_directory": "i32 i32 i32",
    "path_rename": "i32 i32 i32 i32 i32 i32",
    "path_symlink": "i32 i32 i32 i32 i32",
    "path_unlink_file": "i32 i32 i32",
    "poll_oneoff": "i32 i32 i32 i32",
    "proc_exit": "i32",
    "sock_accept": "i32 i32 i32",
}

_REPORT: Final = """
  (func $report (param $errno i32)
    (i32.store8 (i32.const 32) (i32.add (i32.const 48)
      (i32.div_u (local.get $errno) (i32.const 10))))
    (i32.store8 (i32.const 33) (i32.add (i32.const 48)
      (i32.rem_u (local.get $errno) (i32.const 10))))
    (i32.store8 (i32.const 34) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 32))
    (i32.store (i32.const 4) (i32.const 3))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $next_name (local $at i32) (local $rest i32)
    (global.set $names (i32.add (global.get $names) (i32.const 1)))
    (local.set $rest (global.get $names))
    (loop $digit
      (i32.store8 offset=64 (local.get $at)
        (i32.add (i32.const 97) (i32.and (local.get $rest) (i32.const 15))))
      (local.set $rest (i32.shr_u (local.get $rest) (i32.const 4)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $digit (i32.lt_u (local.get $at) (i32.const 8)))))
"""


class Guest:
    """Builds one guest: each method adds to `_start` or gives an expression for it."""

    def __init__(self, *, pages: int = 1) -> None:
        self._pages = pages
        self._body: list[str] = []
        self._segments: list[str] = []
        self._end = 1024

    def text(self, value: str | bytes) -> tuple[int, int]:
        """Place a constant; its address and size."""
        raw = value.encode() if isinstance(value, str) else value
        at = self._end
        self._end += len(raw) + (-len(raw)) % 8
        escaped = "".join(f"\\{byte:02x}" for byte in raw)
        self._segments.append(f'(data (i32.const {at}) "{escaped}")')
        return at, len(raw)

    def call(self, name: str, *arguments: int | str | bytes) -> str:
        """A call; text stands for an address and a size, a `(...)` for an expression."""
        values: list[str | int] = []
        for argument in arguments:
            if isinstance(argument, bytes) or (
                isinstance(argument, str) and not argument.startswith("(")
            ):
                values.extend(self.text(argument))
            else:
                values.append(argument)
        kinds = _SIGNATURES[name].split()
        pushed = (
            value if isinstance(value, str) else f"({kind}.const {value})"
            for kind, value in zip(kinds, values, strict=True)
        )
        return f"(call ${name} {' '.join(pushed)})"

    def open(self, directory: int, path: str | bytes, *, oflags: int = 0, rights: int = 0) -> str:
        """path_open, following links; the descriptor lands at FD_OUT."""
        return self.call(
            "path_open", directory, 1, path, oflags, rights or READ, ALL_RIGHTS, 0, FD_OUT
        )

    def opened(self) -> str:
        """The descriptor that `open` gave last."""
        return f"(i32.load (i32.const {FD_OUT}))"

    def write(self, descriptor: int | str, at: int, size: int | str) -> str:
        """fd_write of memory that is already there."""
        fill = f"(i32.store (i32.const 0) (i32.const {at}))"
        count = size if isinstance(size, str) else f"(i32.const {size})"
        self._body.append(f"{fill}(i32.store (i32.const 4) {count})")
        return self.call("fd_write", descriptor, 0, 1, 8)

    def do(self, expression: str) -> None:
        """Evaluate and forget the errno."""
        self._body.append(f"(drop {expression})")

    def require(self, expression: str) -> None:
        """Trap when the errno is not 0: the test would prove nothing."""
        self._body.append(f"(if {expression} (then unreachable))")

    def raw(self, text: str) -> None:
        """Anything else, as it is."""
        self._body.append(text)

    def report(self, expression: str) -> None:
        """Print the errno as two digits and a line end."""
        self._body.append(f"(call $report {expression})")

    def exit(self, code: int) -> None:
        """proc_exit."""
        self._body.append(self.call("proc_exit", code))

    def forever(self, start: int) -> None:
        """Put everything added since `mark()` into an endless loop."""
        inner = "".join(self._body[start:])
        self._body[start:] = [f"(loop $again {inner} (br $again))"]

    def mark(self) -> int:
        """Where the body now ends."""
        return len(self._body)

    def wasm(self) -> bytes:
        """The assembled module."""
        imports = "".join(
            f'(import "wasi_snapshot_preview1" "{name}" (func ${name} '
            f"(param {kinds}){'' if name == 'proc_exit' else ' (result i32)'}))"
            for name, kinds in _SIGNATURES.items()
        )
        return assemble(
            f'(module {imports} (memory (export "memory") {self._pages})'
            f"(global $names (mut i32) (i32.const 0)) {''.join(self._segments)} {_REPORT}"
            f'(func (export "_start") {"".join(self._body)}))'
        )


def assemble(text: str) -> bytes:
    """The binary form of a module in text form."""
    return bytes(wasmtime.wat2wasm(text))


def echo() -> bytes:
    """Prints argv and environment to stdout, copies /data/in to /results/out, says so on
    stderr, and exits with 0."""
    guest = Guest()
    for name in ("args", "environ"):
        # Counts at 40 and 44; pointers from 8192 and text from 16384 on.
        guest.do(guest.call(f"{name}_sizes_get", 40, 44))
        guest.do(guest.call(f"{name}_get", 8192, 16384))
        guest.do(guest.write(STDOUT, 16384, "(i32.load (i32.const 44))"))
    guest.do(guest.open(DATA, "in"))
    guest.raw("(i32.store (i32.const 0) (i32.const 32768))(i32.store (i32.const 4)")
    guest.raw("(i32.const 4096))")
    guest.do(guest.call("fd_read", guest.opened(), 0, 1, 48))
    guest.do(guest.open(RESULTS, "out", oflags=CREATE, rights=WRITE))
    guest.do(guest.write(guest.opened(), 32768, "(i32.load (i32.const 48))"))
    at, size = guest.text("copied\n")
    guest.do(guest.write(STDERR, at, size))
    guest.exit(0)
    return guest.wasm()
