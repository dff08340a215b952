"""Run native guests behind the real wall, and prove that nothing of them stayed."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from atoll_agent.sandbox.guest import Egress
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.runner import run_guest
from atoll_agent.sandbox.step import Step, StepSpace
from atoll_agent.sandbox.wall import native
from atoll_agent.sandbox.wall.bubblewrap import missing, require_wall
from atoll_agent.sandbox.wall.guest import Prepare, WalledGuest
from atoll_agent.sandbox.workspace import open_workspace
from integration.agent_sandbox.rig import Ran

PROGRAMS = Path(__file__).parent / "programs"

needs_wall = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def compiled(name: str, folder: Path, *, target: str = "musl") -> bytes:
    """The machine code of one of `programs`, static (musl) or dynamic (gnu)."""
    made = folder / f"{name}-{target}"
    command = [sys.executable, "-m", "ziglang", "cc", "-O1", "-target", f"{os.uname().machine}-linux-{target}"]  # fmt: skip  # noqa: E501
    subprocess.run([*command, "-o", made, PROGRAMS / f"{name}.c"], check=True, capture_output=True)
    return made.read_bytes()


def step(
    root: Path, args: Sequence[str] = (), limits: Limits | None = None, **fields: object
) -> Step:
    return Step(
        space=StepSpace(root=root),
        args=tuple(args),
        limits=limits or Limits(),
        **fields,  # type: ignore[arg-type]
    )


async def walled(
    algorithm: bytes,
    *args: str,
    limits: Limits | None = None,
    prepare: Prepare = native.binary,
    env: Mapping[str, str] | None = None,
    entry: str = "",
    bundle: Path | None = None,
    egress: Egress | None = None,
) -> Ran:
    """Run once; then check that no process, mount or changed input is left."""
    with open_workspace(f"test-{secrets.token_hex(8)}", need_bytes=1 << 20) as workspace:
        with workspace.create_data("in") as file:
            file.write(b"honest")
        with workspace.create_module() as file:
            file.write(algorithm)
        if bundle is not None:
            shutil.copytree(bundle, workspace.root / "bundle")
        job = step(workspace.root, args, limits, env=dict(env or {}), entry=entry)
        outcome = await run_guest(WalledGuest(job, require_wall(), prepare, egress), job)
        assert (workspace.data / "in").read_bytes() == b"honest"
        assert [path.name for path in workspace.data.iterdir()] == ["in"]
        found = Ran(
            outcome=outcome,
            stdout=workspace.stdout.read_bytes(),
            stderr=workspace.stderr.read_bytes(),
            data={},
            results={
                item.name: (workspace.results / item.name).read_bytes() for item in outcome.results
            },
        )
    assert guests() == []
    return found


def guests() -> list[int]:
    """Living processes whose command is a guest's; they have the file's name. Not those of another
    process of the tests, whose guests are another user."""
    found = []
    own = require_wall().drop_to
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if own is not None and entry.stat().st_uid != own:
                    continue
                name = (entry / "comm").read_text().strip()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                parent = str((entry / "ns/pid").readlink())
            except OSError:
                continue
            foreign = parent != str(Path("/proc/self/ns/pid").readlink())
            if name == "algorithm" and state != "Z" and foreign:
                found.append(int(entry.name))
    return found
