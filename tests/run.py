"""Everything `make test` does, in order; the first failure ends it.

python tests/run.py [--lint-only] [pytest arguments]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
BIN: Final = Path(sys.executable).parent

LINT: Final = (
    ("ruff check", [BIN / "ruff", "check", "--quiet"]),
    ("ruff format", [BIN / "ruff", "format", "--check", "--quiet"]),
    ("import contracts", [BIN / "lint-imports", "--no-cache"]),
    ("types of the sources", [BIN / "mypy"]),
    ("types of the tests", [BIN / "mypy", "tests", "bench", "examples", "fuzz"]),
)
UNIT: Final = (
    "tests/unit",
    "tests/architecture",
    "tests/independent",
    "tests/simulation",
    "tests/vectors",
)
EVIDENCE: Final = "tests/unit/evidence"
VECTORS: Final = Path(os.environ.get("ATOLL_VECTORS", ROOT.parent / "shared" / "vectors"))
SIDE_BY_SIDE: Final = ("-n", "2", "--dist", "loadfile")
"""A file's tests in one process, files in two."""
TESTS: Final = (
    ("unit tests", [*UNIT, *SIDE_BY_SIDE]),
    ("integration and end-to-end tests", ["tests/e2e", "tests/integration", *SIDE_BY_SIDE]),
)
CHAOS: Final = ("chaos: 500 jobs, 100 kills", [sys.executable, "tests/chaos/run.py", "--seed", "5"])


def main(arguments: list[str]) -> int:
    """The exit status of the first step that failed, or 0."""
    lint_only = "--lint-only" in arguments
    extra = [argument for argument in arguments if argument != "--lint-only"]
    for name, command in LINT:
        if status := step(name, [*map(str, command)]):
            return status
    if lint_only:
        return 0
    if extra:
        return step("pytest", [sys.executable, "-m", "pytest", *extra])
    measured = (VECTORS / "manifest.json").exists() or os.environ.get("CI") == "true"
    if not measured:
        print(f"== evidence under coverage: left out, no vectors at {VECTORS}", flush=True)
    elif status := coverage():
        return status
    for name, options in TESTS:
        # Once is enough.
        left_out = ["--ignore", EVIDENCE] if measured else []
        if status := step(name, [sys.executable, "-m", "pytest", "-q", *options, *left_out]):
            return status
    return step(*CHAOS)


def coverage() -> int:
    """Whether its own tests take every branch of `atoll.evidence`, the published vectors
    included; without those there is nothing to measure."""
    tool = [sys.executable, "-m", "coverage"]
    tests = ["-m", "pytest", "-q", EVIDENCE, *SIDE_BY_SIDE]
    with tempfile.TemporaryDirectory() as folder:
        data = f"--data-file={folder}/coverage"
        return (
            step("evidence under coverage", [*tool, "run", data, *tests])
            or step("data of all processes", [*tool, "combine", data, "--quiet", folder])
            or step("every branch of evidence", [*tool, "report", data])
        )


def step(name: str, command: list[str]) -> int:
    """Run one step in the root folder and say how long it took."""
    print(f"== {name}", flush=True)
    began = time.monotonic()
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    verdict = "ok" if status == 0 else f"FAILED with status {status}"
    print(f"== {name}: {verdict} after {time.monotonic() - began:.0f} s", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
