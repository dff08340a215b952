"""Machine code for tests: small C programs, compiled once per process and program."""

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


@functools.cache
def compiled(source: str, *, target: str = "musl") -> bytes:
    """The program of a C file below `tests`, for this machine: static (musl) or dynamic (gnu)."""
    path = TESTS / source
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "program"
        compiler = [sys.executable, "-m", "ziglang", "cc", "-O1"]
        triple = f"{os.uname().machine}-linux-{target}"
        subprocess.run(
            [*compiler, "-target", triple, "-o", made, path], check=True, capture_output=True
        )
        return made.read_bytes()
