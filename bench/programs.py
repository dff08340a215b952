"""One piece of work as a program of each kind, to be run behind its wall and without it.

Each steps a 32-bit xorshift generator and prints the state in decimal, so that nothing can be left
out and both runs must print the same.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import wasmtime

from bench.report import BenchError
from examples.container import make_image

SEED: Final = 2463534242

_WASM: Final = """
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $x i32) (local $left i32) (local $at i32)
    (local.set $x (i32.const {seed}))
    (local.set $left (i32.const {steps}))
    (loop $next
      (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 13))))
      (local.set $x (i32.xor (local.get $x) (i32.shr_u (local.get $x) (i32.const 17))))
      (local.set $x (i32.xor (local.get $x) (i32.shl (local.get $x) (i32.const 5))))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $next (local.get $left)))
    (local.set $at (i32.const 63))
    (i32.store8 (i32.const 63) (i32.const 10))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.rem_u (local.get $x) (i32.const 10))))
      (local.set $x (i32.div_u (local.get $x) (i32.const 10)))
      (br_if $digit (local.get $x)))
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (i32.sub (i32.const 64) (local.get $at)))
    (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
      (then unreachable))))
"""
_C: Final = """
#include <stdint.h>
#include <stdio.h>
int main(void) {{
    uint32_t x = {seed}u;
    for (uint32_t left = {steps}u; left; left--) {{
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }}
    printf("%u\\n", x);
    return 0;
}}
"""
_PYTHON: Final = """
x = {seed}
for _ in range({steps}):
    x ^= x << 13 & 0xFFFFFFFF
    x ^= x >> 17
    x ^= x << 5 & 0xFFFFFFFF
print(x)
"""
BARE_WASM: Final = """
import sys, wasmtime
engine = wasmtime.Engine()
module = wasmtime.Module(engine, open(sys.argv[1], "rb").read())
store = wasmtime.Store(engine)
wasi = wasmtime.WasiConfig()
wasi.inherit_stdout()
store.set_wasi(wasi)
linker = wasmtime.Linker(engine)
linker.define_wasi()
linker.instantiate(store, module).exports(store)["_start"](store)
"""
"""The embedding that wasmtime's own documentation shows: no limits, no deadline, no wall."""


def wasm(steps: int) -> bytes:
    """As a core module."""
    return bytes(wasmtime.wat2wasm(_WASM.format(seed=SEED, steps=steps)))


def python(steps: int) -> bytes:
    """As a script."""
    return _PYTHON.format(seed=SEED, steps=steps).encode()


def binary(steps: int, scratch: Path) -> bytes:
    """As a static program for this machine.

    Raises:
        BenchError: it does not compile.
    """
    source, made = scratch / f"work-{steps}.c", scratch / f"work-{steps}"
    source.write_text(_C.format(seed=SEED, steps=steps))
    target = f"{os.uname().machine}-linux-musl"
    compiler = [sys.executable, "-m", "ziglang", "cc", "-O2", "-target", target]
    done = subprocess.run([*compiler, "-o", made, source], check=False, capture_output=True)
    if done.returncode:
        raise BenchError(f"the C compiler: {done.stderr.decode(errors='replace')[-500:]}")
    return made.read_bytes()


def image(program: bytes) -> bytes:
    """A program as an image of one file, a docker-archive."""
    return make_image.image(program, make_image.ARCHITECTURES[os.uname().machine])


def large_wasm(functions: int) -> bytes:
    """A module of so many functions whose start does nothing: all of it is compiling."""
    body = "".join(
        f"(func $f{index} (param i32) (result i32) (local i32)"
        f"(local.set 1 (i32.mul (local.get 0) (i32.const {index + 3})))"
        "(loop $l (local.set 1 (i32.add (i32.rotl (local.get 1) (i32.const 7)) (local.get 0)))"
        "(local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if $l (local.get 0)))"
        "(if (result i32) (i32.lt_u (local.get 1) (i32.const 9)) (then (i32.const 1))"
        f"(else (call $f{(index + 1) % functions} (i32.const 1)))))"
        for index in range(functions)
    )
    return bytes(wasmtime.wat2wasm(f'(module {body} (func (export "_start")))'))
