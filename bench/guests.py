"""Wasm guests, written as WebAssembly text and assembled by wasmtime."""

import wasmtime

HELLO = b"hello from a small guest\n"

_SMALL = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\19\\00\\00\\00")
  (data (i32.const 16) "hello from a small guest\\0a")
  (func (export "_start")
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
      (then unreachable))))
"""

_SUM = """
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 20)
  (data (i32.const 64) "big")
  (func $hex (param $value i64) (param $at i32)
    (local $digit i32) (local $left i32)
    (local.set $left (i32.const 16))
    (loop $next
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (local.set $digit (i32.wrap_i64 (i64.and (local.get $value) (i64.const 15))))
      (i32.store8 (i32.add (local.get $at) (local.get $left))
        (i32.add (local.get $digit)
          (select (i32.const 87) (i32.const 48) (i32.gt_u (local.get $digit) (i32.const 9)))))
      (local.set $value (i64.shr_u (local.get $value) (i64.const 4)))
      (br_if $next (local.get $left))))
  (func (export "_start")
    (local $got i32) (local $at i32) (local $sum i64) (local $count i64)
    ;; descriptor 3 is /data; 2 is the right to read
    (if (call $path_open (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 3) (i32.const 0)
          (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))
      (then unreachable))
    (block $end
      (loop $more
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (i32.const 1048576))
        (if (call $fd_read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8))
          (then unreachable))
        (local.set $got (i32.load (i32.const 8)))
        (br_if $end (i32.eqz (local.get $got)))
        (local.set $count (i64.add (local.get $count) (i64.extend_i32_u (local.get $got))))
        (local.set $at (i32.const 0))
        (loop $word
          (local.set $sum (i64.add (local.get $sum) (i64.load offset=65536 (local.get $at))))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $word (i32.lt_u (local.get $at) (local.get $got))))
        (br $more)))
    (call $hex (local.get $count) (i32.const 128))
    (i32.store8 (i32.const 144) (i32.const 32))
    (call $hex (local.get $sum) (i32.const 145))
    (i32.store8 (i32.const 161) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 128))
    (i32.store (i32.const 4) (i32.const 34))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
      (then unreachable))))
"""


def small() -> bytes:
    """Prints `HELLO` and ends."""
    return bytes(wasmtime.wat2wasm(_SMALL))


def sum_words() -> bytes:
    """Reads /data/big, whose reads must give multiples of 8 bytes, 1 MiB at a time; prints in
    hexadecimal how many bytes it read and the sum of their little-endian 64-bit words."""
    return bytes(wasmtime.wat2wasm(_SUM))


def answer_of_sum(size: int, total: int) -> bytes:
    """What `sum_words` prints for a dataset of `size` bytes whose words add up to `total`."""
    return f"{size:016x} {total % (1 << 64):016x}\n".encode()
