"""The wall, tried from inside by a hostile program: what it gets, and that nothing stays."""

import asyncio
import dataclasses
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from atoll.errors import ConfigError
from atoll_agent.sandbox.limits import MIB, Limits
from atoll_agent.sandbox.runner import run_guest
from atoll_agent.sandbox.tree import Tree
from atoll_agent.sandbox.wall import native
from atoll_agent.sandbox.wall.bubblewrap import Wall, require_wall
from atoll_agent.sandbox.wall.guest import WalledGuest
from atoll_agent.sandbox.workspace import open_workspace
from integration.agent_sandbox.walled import compiled, guests, needs_wall, step, walled

pytestmark = needs_wall

REFUSED = {
    "ptrace": "EPERM", "inet": "EAFNOSUPPORT", "inet6": "EAFNOSUPPORT",
    "netlink": "EAFNOSUPPORT", "packet": "EAFNOSUPPORT", "vsock": "EAFNOSUPPORT", "unix": "OK",
    "unshare": "EPERM", "clone": "EPERM", "clone3": "ENOSYS", "mount": "EPERM", "umount": "EPERM",
    "keyctl": "EPERM", "add_key": "EPERM", "io_uring": "ENOSYS", "bpf": "EPERM",
    "userfaultfd": "EPERM", "shmget": "EPERM", "sti": "EPERM", "setuid": "EPERM",
    "init": "OK", "init_memory": "EACCES", "init_root": "EACCES", "shadow": "ENOENT",
    "home": "ENOENT", "sysfs": "ENOENT", "kcore": "ENOENT", "sysctl": "ENOENT",
    "sysrq": "ENOENT", "write_data": "EACCES", "make_data": "EROFS", "chmod_data": "EROFS",
    "unlink_data": "EROFS", "link_data": "EXDEV", "write_root": "EROFS",
    "write_algorithm": "EACCES", "device": "EPERM",
}  # fmt: skip
"""`init` is sent and ignored: process 1 takes no SIGKILL from its own namespace."""


@pytest.fixture(scope="session")
def escape(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return compiled("escape", tmp_path_factory.mktemp("programs"))


async def honest(escape: bytes) -> None:
    done = await walled(escape, "honest", "after", env={"K": "v"})
    assert done.outcome.succeeded, done
    assert done.results == {"out": b"honest after v"}


async def test_an_honest_program_reads_data_arguments_and_environment(escape: bytes) -> None:
    await honest(escape)


async def test_each_attempt_to_reach_out_gets_its_refusal(escape: bytes) -> None:
    done = await walled(escape, "calls")
    assert done.outcome.succeeded, done
    said = dict(line.split() for line in done.stdout.decode().splitlines())
    # A kernel without one of these files says so, and covering it would not.
    masked = {name: {"EACCES", "ENOENT"} for name in ("kcore", "sysrq", "sysctl")}
    for name, answer in said.items():
        assert answer in masked.get(name, {REFUSED[name]}), (name, answer)
    assert said.keys() == REFUSED.keys()
    assert done.results == {}


async def test_a_program_linked_dynamically_finds_its_libraries(tmp_path: Path) -> None:
    program = compiled("escape", tmp_path, target="gnu")
    done = await walled(program, "exit", "7")
    assert (done.code, done.outcome.exit_code) == ("workload.exit_nonzero", 7), done


@pytest.mark.parametrize("code", [0, 1, 125, 126, 255])
async def test_the_exit_code_is_the_programs(escape: bytes, code: int) -> None:
    assert (await walled(escape, "exit", str(code))).outcome.exit_code == code


@pytest.mark.parametrize("number", [6, 9, 11])
async def test_a_signal_is_an_exit_code_of_128_and_more(escape: bytes, number: int) -> None:
    assert (await walled(escape, "signal", str(number))).outcome.exit_code == 128 + number


async def test_a_foreign_architecture_is_killed_by_the_filter(escape: bytes) -> None:
    assert (await walled(escape, "int80")).outcome.exit_code == 128 + 31


async def test_a_fork_bomb_ends_at_the_limit_of_processes(escape: bytes) -> None:
    done = await walled(escape, "forks", limits=Limits(processes=20))
    assert done.outcome.succeeded, done
    assert done.stdout == b"19 EAGAIN\n"
    await honest(escape)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's guests become another user")
async def test_an_interpreter_that_only_root_can_reach_does_not_keep_its_guest_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atoll_agent.sandbox.wall.ownership.reachable", lambda _path: False)
    script = b"""
import os, numbers
print(open("/proc/self/uid_map").read().split()[1] != "0")
made = 0
try:
    while True:
        if os.fork() == 0:
            os.read(os.pipe()[0], 1)
        made += 1
except BlockingIOError:
    print(made)
"""
    done = await walled(script, limits=Limits(processes=20), prepare=native.python)
    assert done.stdout == b"True\n19\n", done


@pytest.mark.parametrize("kind", ["memory", "hidden"])
async def test_a_memory_bomb_is_killed_resident_or_not(escape: bytes, kind: str) -> None:
    done = await walled(escape, kind, limits=Limits(memory_bytes=64 * MIB))
    assert done.code == "workload.memory"
    await honest(escape)


async def test_tmp_is_full_at_its_limit(escape: bytes) -> None:
    done = await walled(escape, "fill", "/tmp", limits=Limits(scratch_bytes=4 * MIB))
    assert (done.outcome.exit_code, done.stdout) == (3, b"fill ENOSPC\n")


async def test_results_over_the_budget_end_the_run(escape: bytes) -> None:
    done = await walled(escape, "fill", "/results", limits=Limits(output_bytes=8 * MIB))
    assert done.code == "workload.output_limit"
    assert done.results == {}
    await honest(escape)


async def test_names_without_end_under_tmp_end_the_run(escape: bytes) -> None:
    assert (await walled(escape, "inodes")).code == "workload.scratch_limit"


async def test_descriptors_end_at_their_limit(escape: bytes) -> None:
    done = await walled(escape, "files", limits=Limits(open_files=40))
    assert done.stdout == b"37 EMFILE\n"


async def test_a_log_without_end_is_cut_and_ends_the_run(escape: bytes) -> None:
    done = await walled(escape, "log", limits=Limits(log_bytes=1000))
    assert done.code == "workload.output_limit"
    assert len(done.stdout) == 1000


async def test_a_program_that_ignores_every_signal_is_killed_in_time(escape: bytes) -> None:
    assert (await walled(escape, "ignore", limits=Limits(wall_s=1))).code == "workload.timeout"


async def test_cpu_time_has_a_limit_of_its_own(escape: bytes) -> None:
    done = await walled(escape, "spin", limits=Limits(wall_s=60, cpu_s=1))
    assert done.code == "workload.cpu"


async def test_a_daemon_that_was_left_behind_is_gone_with_the_run(escape: bytes) -> None:
    assert (await walled(escape, "daemon")).outcome.succeeded
    assert guests() == []


async def test_a_directory_that_nobody_can_look_into_ends_the_run(escape: bytes) -> None:
    assert (await walled(escape, "hide")).code == "workload.output_kind"


@pytest.mark.parametrize("raw", [b"", b"#!/bin/sh\nexit 0\n", b"\0asm\1\0\0\0"])
async def test_what_is_no_program_is_an_outcome_of_its_own(raw: bytes) -> None:
    assert (await walled(raw)).code == "workload.not_elf"


async def test_a_program_whose_loader_is_not_there_is_told(tmp_path: Path) -> None:
    program = compiled("escape", tmp_path, target="gnu")
    broken = program.replace(b"/lib64/ld-linux-x86-64.so.2", b"/lib64/ld-linux-x86-64.so.9")
    assert (await walled(broken)).code == "workload.not_startable"


async def test_python_runs_a_script_without_network_and_site_packages() -> None:
    script = b"""
import os, socket, sys
try:
    socket.socket()
except OSError as error:
    print(error.errno)
try:
    import pip
except ImportError:
    print("no pip")
print(sys.argv[1:], hash("x") != 0, sys.dont_write_bytecode, sys.flags.hash_randomization)
open("/results/out", "w").write(open("/data/in").read() + os.environ["K"])
sys.exit(3)
"""
    done = await walled(script, "a", "b", prepare=native.python, env={"K": "v"})
    assert done.stdout.decode().splitlines() == ["97", "no pip", "['a', 'b'] True True 0"]
    assert done.outcome.exit_code == 3
    assert done.results == {"out": b"honestv"}


async def test_python_starts_an_entry_point_of_its_bundle(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/__init__.py").write_text("")
    (tmp_path / "model/job.py").write_text("import sys\ndef main():\n    return len(sys.argv) + 40")
    done = await walled(b"", "x", prepare=native.python, entry="model.job:main", bundle=tmp_path)
    assert done.outcome.exit_code == 42, done


async def test_python_has_worker_processes() -> None:
    script = b"""
import multiprocessing
def square(x): return x * x
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        print(sum(pool.map(square, range(5))))
"""
    assert (await walled(script, prepare=native.python)).stdout == b"30\n"


async def test_a_cancelled_run_leaves_no_process(escape: bytes) -> None:
    with open_workspace("test-cancelled-wall", need_bytes=1) as workspace:
        workspace.module.write_bytes(escape)
        job = step(workspace.root, ["ignore"])
        async with asyncio.TaskGroup() as group:
            guest = WalledGuest(job, require_wall(), native.binary)
            task = group.create_task(run_guest(guest, job))
            end = time.monotonic() + 20
            while not guests():
                assert time.monotonic() < end, "no guest came up"
                await asyncio.sleep(0.01)
            task.cancel()
    assert guests() == []


def names(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def fake_bwrap(folder: Path, script: str) -> Wall:
    program = folder / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return dataclasses.replace(require_wall(), program=str(program), drop_to=None)


async def judged(wall: Wall, algorithm: bytes) -> str:
    with open_workspace("test-fake-wall", need_bytes=1) as workspace:
        workspace.module.write_bytes(algorithm)
        job = step(workspace.root, ["exit", "0"])
        return (await run_guest(WalledGuest(job, wall, native.binary), job)).code


async def test_a_wall_that_never_stands_is_given_up(
    escape: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atoll_agent.sandbox.wall.guest.SETUP_S", 0.2)
    with pytest.raises(ConfigError) as caught:
        await judged(fake_bwrap(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 1000"), escape)
    assert caught.value.code == "sandbox.stuck"
    assert (tmp_path / "pid").read_text().strip() not in names("/proc")


async def test_a_wall_that_falls_at_once_is_no_answer_of_the_guest(
    escape: bytes, tmp_path: Path
) -> None:
    before = len(names("/proc/self/fd"))
    assert await judged(fake_bwrap(tmp_path, "exit 0"), escape) == "workload.internal"
    assert len(names("/proc/self/fd")) == before


def test_a_tree_knows_its_processes_and_their_time() -> None:
    wall = require_wall()
    loop = shutil.which("sleep")
    assert loop
    options = ["--unshare-user", "--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/"]
    with subprocess.Popen([wall.program, *options, "--", loop, "1000"]) as process:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            end = time.monotonic() + 20
            tree = None
            while tree is None or len(tree.pids()) < 2:
                assert time.monotonic() < end, "the tree did not grow"
                if tree is None and (inside := children.read_text().split()):
                    tree = Tree(int(inside[0]))
            assert tree.tasks() == 2
            assert 0 < tree.memory_bytes() < 64 * MIB
            assert tree.memory_over(0)
            assert not tree.memory_over(64 * MIB)
            assert tree.cpu_ms() >= 0
        finally:
            process.kill()
    end = time.monotonic() + 20
    while tree.pids():
        assert time.monotonic() < end, "the tree outlived its first process"
