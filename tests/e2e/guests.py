"""Guests for jobs: each says in its name what it does."""

import struct

from support.wat import CREATE, RESULTS, STDERR, STDOUT, WRITE, Guest

_EVENTS = 8192


def sleeping(milliseconds: int) -> bytes:
    """Sleeps, then writes `done` to /results/answer."""
    guest = Guest()
    sleep(guest, milliseconds)
    write_file(guest, "answer", "done")
    guest.exit(0)
    return guest.wasm()


def talking(
    *, stdout: str, stderr: str, files: dict[str, str], exit_code: int, sleep_ms: int = 0
) -> bytes:
    """Says and writes what it was made to, waits, and exits."""
    guest = Guest(pages=2)
    for descriptor, text in ((STDOUT, stdout), (STDERR, stderr)):
        at, size = guest.text(text)
        guest.do(guest.write(descriptor, at, size))
    for name, content in files.items():
        write_file(guest, name, content)
    if sleep_ms:
        sleep(guest, sleep_ms)
    guest.exit(exit_code)
    return guest.wasm()


def writing(size: int) -> bytes:
    """Writes `size` bytes, which must be whole pieces of 64 KiB, to /results/answer."""
    piece = 64 << 10
    guest = Guest(pages=2)
    guest.require(guest.open(RESULTS, "answer", oflags=CREATE, rights=WRITE))
    count = "(global.get $names)"
    write = guest.write(guest.opened(), 0, piece)
    start = guest.mark() - 1
    guest.raw(f"(if {write} (then unreachable))(global.set $names (i32.add {count} (i32.const 1)))")
    guest.raw(
        f"(if (i32.eq {count} (i32.const {size // piece})) (then (call $proc_exit (i32.const 0))))"
    )
    guest.forever(start)
    return guest.wasm()


def sleep(guest: Guest, milliseconds: int) -> None:
    """poll_oneoff on the monotonic clock."""
    subscription = struct.pack("<QB7xI4xQQH6x", 0, 0, 1, milliseconds * 1_000_000, 0, 0)
    at, _ = guest.text(subscription)
    guest.require(guest.call("poll_oneoff", at, _EVENTS, 1, 48))


def write_file(guest: Guest, name: str, content: str) -> None:
    """Create a file below /results."""
    guest.require(guest.open(RESULTS, name, oflags=CREATE, rights=WRITE))
    at, size = guest.text(content)
    guest.require(guest.write(guest.opened(), at, size))


def custom_section(module: bytes, name: str, content: bytes) -> bytes:
    """The module with a custom section at its end, which no runtime looks at."""
    label = _counted(name.encode())
    return module + b"\0" + _counted(label + content)


def _counted(raw: bytes) -> bytes:
    count, rest = b"", len(raw)
    while True:
        rest, low = rest >> 7, rest & 0x7F
        count += bytes([low | (0x80 if rest else 0)])
        if not rest:
            return count + raw
