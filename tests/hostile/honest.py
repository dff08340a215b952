"""The job after: the same work in each kind, and a look at what it should not find.

Each copies /data/in to /results/out with " after" behind it and prints its environment and
whatever lies where a job before could have left something.
"""

import functools
from collections.abc import Mapping
from typing import Any, Final

from atoll.computation.steps import WorkloadKind
from hostile.case import ENDED, Case
from support.images import Build, File, docker_archive, program, tar
from support.programs import compiled
from support.wat import CREATE, DATA, RESULTS, STDOUT, WRITE, Guest

SOURCE: Final = "hostile/programs/hostile.c"
_SCRIPT: Final = b"""
import os
with open("/data/in") as file, open("/results/out", "w") as out:
    out.write(file.read() + " after")
for folder in ("/tmp", "/dev/shm"):
    for name in os.listdir(folder):
        print("left behind:", name)
for name, value in os.environ.items():
    print(f"{name}={value}")
"""
_BUFFER: Final = 4096


@functools.cache
def hostile_image() -> bytes:
    """The hostile program as an image of its own."""
    return image({"main": program(compiled(SOURCE))})


def image(files: Mapping[str, File], **more: Any) -> bytes:
    """A docker-archive of one layer that starts /main."""
    return docker_archive(Build(layers=(tar(files),), **{"entrypoint": ("/main",), **more}))


@functools.cache
def module() -> bytes:
    """The same in WebAssembly."""
    guest = Guest(pages=2)
    guest.require(guest.open(DATA, "in"))
    guest.raw(f"(i32.store (i32.const 0) (i32.const {_BUFFER}))")
    guest.raw("(i32.store (i32.const 4) (i32.const 4096))")
    guest.require(guest.call("fd_read", guest.opened(), 0, 1, 24))
    guest.require(guest.open(RESULTS, "out", oflags=CREATE, rights=WRITE))
    guest.require(guest.write(guest.opened(), _BUFFER, "(i32.load (i32.const 24))"))
    at, size = guest.text(" after")
    guest.require(guest.write(guest.opened(), at, size))
    guest.require(guest.call("environ_sizes_get", 40, 44))
    guest.require(guest.call("environ_get", 28672, 32768))
    guest.require(guest.write(STDOUT, 32768, "(i32.load (i32.const 44))"))
    guest.exit(0)
    return guest.wasm()


CASES: Final[Mapping[WorkloadKind, Case]] = {
    WorkloadKind.WASM: Case(name="honest", kind=WorkloadKind.WASM, algorithm=module, codes=ENDED),
    WorkloadKind.BINARY: Case(
        name="honest",
        kind=WorkloadKind.BINARY,
        algorithm=lambda: compiled(SOURCE),
        args=("honest", "after"),
        codes=ENDED,
    ),
    WorkloadKind.PYTHON: Case(
        name="honest", kind=WorkloadKind.PYTHON, algorithm=lambda: _SCRIPT, codes=ENDED
    ),
    WorkloadKind.DOCKER: Case(
        name="honest",
        kind=WorkloadKind.DOCKER,
        algorithm=hostile_image,
        args=("honest", "after"),
        codes=ENDED,
    ),
}
