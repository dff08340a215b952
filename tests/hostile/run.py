"""`make hostile`: every hostile workload, one line for each, one JSON line at the end.

Exit status 0 only if all of them were contained. A sandbox that this machine lacks fails the
cases of its kinds; it never leaves them out.
"""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hostile.arena import arena
from hostile.case import Case
from hostile.corpus import corpus
from support import dockerd


async def fight(cases: tuple[Case, ...], docker_host: str) -> int:
    """How many were contained."""
    contained = 0
    with arena(docker_host) as around:
        for case in cases:
            try:
                verdict = await around.fight(case)
            except Exception as error:  # noqa: BLE001 - one case must not hide the others
                print(f"FAILED     {case.id}: {type(error).__name__}: {error}", flush=True)
                continue
            contained += not verdict.faults
            word = "FAILED    " if verdict.faults else "contained "
            print(f"{word} {case.id}: {verdict.code}, {verdict.seconds:.1f} s", flush=True)
            for fault in verdict.faults:
                print(f"           {fault}", flush=True)
    return contained


def main(words: list[str]) -> int:
    """Run the cases in whose names all the words stand."""
    cases = tuple(case for case in corpus() if all(word in case.id for word in words))
    why = dockerd.missing()
    if why:
        print(f"no container engine: {why}", file=sys.stderr)
        contained = asyncio.run(fight(cases, "unix:///nonexistent"))
    else:
        with dockerd.running() as engine:
            contained = asyncio.run(fight(cases, engine.host))
    print(json.dumps({"workloads": len(cases), "contained": contained}))
    return 0 if contained == len(cases) > 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
