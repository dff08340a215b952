"""Build what the examples need: `python examples/build.py [NAME | NAME/build/FILE]...`.

    iris             all that this example needs
    iris/train.wasm  one of its programs
    (nothing)        all examples

C programs become Wasm for wasm32-wasi (WASI preview 1) or static ELF programs for this machine's
architecture, with the C compiler and libcs of the `ziglang` package. A program is compiled again
only when its source, a header, the flags or the compiler's version changed. The bytes depend on
nothing else: paths are relative and names are stripped. Data sets, the bundle of wheels and the
image are made by scripts of the examples, which also leave alone what is up to date.

Exit status: 0 built or up to date, 1 the compiler or a script refused something (the rest was
built), 2 usage or no compiler.
"""

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

EXAMPLES: Final = Path(__file__).resolve().parent
WASM: Final = ("-target", "wasm32-wasi")
NATIVE: Final = ("-target", f"{os.uname().machine}-linux-musl", "-static")
FLAGS: Final = (
    *("-std=c11", "-O2", "-s", "-g0"),
    # A program need not use all of a header that it shares with others.
    *("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused-function"),
)


class BuildError(Exception):
    """Why something was not built; the message is for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One C file of an example, and what becomes of it."""

    example: str
    source: str
    target: tuple[str, ...]
    name: str

    @property
    def path(self) -> Path:
        """Of the source."""
        return EXAMPLES / self.example / self.source

    @property
    def out(self) -> Path:
        return EXAMPLES / self.example / "build" / self.name


PROGRAMS: Final = (
    Program(example="iris", source="train.c", target=WASM, name="train.wasm"),
    Program(example="iris", source="infer.c", target=WASM, name="infer.wasm"),
    Program(example="iris", source="train.c", target=NATIVE, name="train"),
    Program(example="container", source="summary.c", target=NATIVE, name="summary"),
    Program(example="pipeline", source="clean.c", target=WASM, name="clean.wasm"),
    Program(example="pipeline", source="evaluate.c", target=NATIVE, name="evaluate"),
)
SCRIPTS: Final = {
    "iris": (),
    "logistic": ("logistic/make_bundle.py",),
    # The data of this one lies in a wheel of that one's bundle.
    "hospitals": ("logistic/make_bundle.py", "hospitals/make_dataset.py"),
    "container": ("container/make_image.py",),
    "pipeline": ("pipeline/make_dataset.py",),
}
"""By example: what is run for it, after its programs were compiled."""


def fingerprint(program: Program, compiler: str) -> str:
    """A digest of all that decides the output's bytes."""
    digest = hashlib.sha256(repr((compiler, program.target, FLAGS)).encode())
    for path in (program.path, *sorted(EXAMPLES.glob("*/*.h"))):
        content = path.read_bytes()
        digest.update(f"\n{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def build(program: Program, compiler: str) -> bool:
    """Compile one program unless it is up to date; whether it had to be.

    Raises:
        BuildError: the compiler refused, or could not be started.
    """
    out = program.out
    stamp = out.with_name(f"{out.name}.stamp")
    wanted = fingerprint(program, compiler)
    if out.exists() and stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        out.touch()  # for make, which compares times
        return False
    out.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".tmp-") as scratch:
        made = Path(scratch) / out.name
        _compile(program, made)
        made.replace(out)
        note = Path(scratch) / stamp.name
        note.write_text(wanted, encoding="ascii")
        note.replace(stamp)
    return True


def _compile(program: Program, out: Path) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", *program.target, *FLAGS]
    # Both caches inside the checkout: a home directory may be missing or read-only.
    cache = str(EXAMPLES / "iris" / "build" / ".cache")
    environment = {
        **os.environ,  # noqa: TID251 - PATH and the like, for the compiler
        "ZIG_GLOBAL_CACHE_DIR": cache,
        "ZIG_LOCAL_CACHE_DIR": cache,
    }
    done = subprocess.run(
        [*command, program.source, "-lm", "-o", str(out)],
        cwd=program.path.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"the compiler refused {program.source}:\n{done.stderr.strip()}")


def build_named(name: str, compiler: str) -> None:
    """Build an example, or one program of it, and say so.

    Raises:
        BuildError: it could not be built; the message says why.
    """
    for program in PROGRAMS:
        if name in (program.example, f"{program.example}/{program.name}"):
            fresh = build(program, compiler)
            shown = program.out.relative_to(EXAMPLES.parent)
            size = program.out.stat().st_size
            print(f"{shown}: {'built' if fresh else 'up to date'}, {size} bytes", flush=True)
    for script in SCRIPTS.get(name, ()):
        if subprocess.run([sys.executable, str(EXAMPLES / script)], check=False).returncode:
            raise BuildError(f"examples/{script} did not make what {name} needs")


def main(arguments: list[str]) -> int:
    """Build what is named, or everything."""
    known = {*SCRIPTS, *(f"{program.example}/{program.name}" for program in PROGRAMS)}
    names = [argument.replace("/build/", "/") for argument in arguments] or list(SCRIPTS)
    if unknown := sorted(set(names) - known):
        print(f"error: {unknown[0]!r} is nothing that can be built", file=sys.stderr)
        print(f"usage: python examples/build.py [{'|'.join(sorted(known))}]...", file=sys.stderr)
        return 2
    try:
        compiler = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        print("error: the package ziglang is not installed in this Python", file=sys.stderr)
        print("hint: run `make setup`, then use .venv/bin/python", file=sys.stderr)
        return 2
    status = 0
    for name in names:
        try:
            build_named(name, compiler)
        except BuildError as error:
            # One that cannot be built, say for want of a network, must not hold up the others.
            print(f"error: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
