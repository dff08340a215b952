"""Compile an example's C programs to Wasm: `python examples/build.py iris`.

Every `examples/<name>/*.c` becomes `examples/<name>/build/*.wasm` for wasm32-wasi (WASI
preview 1), with the C compiler and libc of the `ziglang` package. A program is compiled
again only when its source, a header, the flags or the compiler's version changed. The
bytes depend on nothing else: paths are relative and names are stripped.

Exit status: 0 built or up to date, 1 the compiler refused, 2 usage or no compiler.
"""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

EXAMPLES: Final = Path(__file__).resolve().parent
FLAGS: Final = (
    *("-target", "wasm32-wasi", "-std=c11", "-O2", "-s", "-g0"),
    *("-Wall", "-Wextra", "-Wpedantic", "-Werror"),
)


class BuildError(Exception):
    """Why there is no Wasm; the message is for people."""


def fingerprint(source: Path, compiler: str) -> str:
    """A digest of all that decides the output's bytes."""
    digest = hashlib.sha256(repr((compiler, FLAGS)).encode())
    for path in (source, *sorted(source.parent.glob("*.h"))):
        content = path.read_bytes()
        digest.update(f"\n{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def build(source: Path, out: Path, compiler: str, cache: Path) -> bool:
    """Compile one program unless it is up to date; whether it had to be.

    Raises:
        BuildError: the compiler refused, or could not be started.
    """
    stamp = out.with_suffix(".stamp")
    wanted = fingerprint(source, compiler)
    if out.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        out.touch()  # for make, which compares times
        return False
    out.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".tmp-") as scratch:
        made = Path(scratch) / out.name
        _compile(source, made, cache)
        made.replace(out)
        note = Path(scratch) / stamp.name
        note.write_text(wanted, encoding="ascii")
        note.replace(stamp)
    return True


def _compile(source: Path, out: Path, cache: Path) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, source.name, "-lm", "-o", str(out)]
    # Both caches inside the checkout: a home directory may be missing or read-only.
    environment = {
        **os.environ,  # noqa: TID251 - PATH and the like, for the compiler
        "ZIG_GLOBAL_CACHE_DIR": str(cache),
        "ZIG_LOCAL_CACHE_DIR": str(cache),
    }
    done = subprocess.run(
        command, cwd=source.parent, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"the compiler refused {source.name}:\n{done.stderr.strip()}")


def main(arguments: list[str]) -> int:
    """Build every program of the named example."""
    known = sorted(path.parent.name for path in EXAMPLES.glob("*/*.c"))
    if len(arguments) != 1 or arguments[0] not in known:
        print(f"usage: python examples/build.py {'|'.join(sorted(set(known)))}", file=sys.stderr)
        return 2
    try:
        compiler = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        print("error: the package ziglang is not installed in this Python", file=sys.stderr)
        print("hint: run `make setup`, then use .venv/bin/python", file=sys.stderr)
        return 2
    folder = EXAMPLES / arguments[0]
    for source in sorted(folder.glob("*.c")):
        out = folder / "build" / f"{source.stem}.wasm"
        try:
            fresh = build(source, out, compiler, folder / "build" / ".cache")
        except BuildError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        shown = out.relative_to(EXAMPLES.parent)
        print(f"{shown}: {'built' if fresh else 'up to date'}, {out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
