"""`make examples`: every example on a fresh stack, a line for each, one JSON line at the end.

    python examples/run.py [NAME]...

Exit status 0 only if all of them gave the right numbers. What a case needs and this machine
lacks fails the case and is named; it is never left out.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.container.job import CASE as CONTAINER
from examples.harness import engine, stack
from examples.harness.case import Case, Place
from examples.hospitals.job import CASE as HOSPITALS
from examples.iris.job import CASE as IRIS
from examples.logistic.job import CASE as LOGISTIC
from examples.pipeline.job import CASE as PIPELINE

CASES = (IRIS, LOGISTIC, HOSPITALS, CONTAINER, PIPELINE)
CASE_S = 180


async def attempt(case: Case, place: Place) -> list[str]:
    """Run one case; what was wrong."""
    if why := case.missing():
        return [f"missing: {why}"]
    try:
        async with asyncio.timeout(CASE_S):
            found = await case.run(place)
    except TimeoutError:
        return [f"did not end within {CASE_S} s"]
    except Exception as error:  # noqa: BLE001 - one case must not hide the others
        return [f"{type(error).__name__}: {error}"]
    return case.faults(found)


async def run_all(cases: Sequence[Case], place: Place) -> int:
    """How many passed."""
    passed = 0
    for case in cases:
        began = time.monotonic()
        faults = await attempt(case, place)
        seconds = time.monotonic() - began
        passed += not faults
        print(f"{'FAILED' if faults else 'passed'} {case.name}: {seconds:.1f} s", flush=True)
        for fault in faults:
            print(f"       {fault}", flush=True)
        for key, value in case.expected.items() if not faults else ():
            print(f"       {key}: {value}", flush=True)
    return passed


def _engine(cases: Sequence[Case], around: ExitStack) -> str | None:
    """The address of a container engine if a case needs one and there can be one."""
    if engine.missing() or not any(case.docker for case in cases):
        return None
    try:
        return around.enter_context(engine.running())
    except engine.EngineError as error:
        # The case fails by itself; the others do not need it.
        print(f"no container engine: {error}", file=sys.stderr)
        return None


def main(names: list[str]) -> int:
    """Run the cases of these names, or all."""
    known = {case.name: case for case in CASES}
    if unknown := sorted(set(names) - known.keys()):
        print(f"error: {unknown[0]} is none of {', '.join(known)}", file=sys.stderr)
        return 2
    cases = [known[name] for name in names] or list(CASES)
    passed = 0
    with (
        tempfile.TemporaryDirectory(prefix="atoll-examples-", ignore_cleanup_errors=True) as folder,
        ExitStack() as around,
    ):
        try:
            docker = _engine(cases, around)
            profile = around.enter_context(stack.running(Path(folder), docker=docker))
        except stack.StackError as error:
            print(f"error: {error}", file=sys.stderr)
        else:
            place = Place(profile=profile, folder=Path(folder))
            passed = asyncio.run(run_all(cases, place))
    print(json.dumps({"examples": len(cases), "passed": passed}))
    return 0 if passed == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
