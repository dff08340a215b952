"""What is started, with what in view; and what bwrap says, read without trust."""

import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_agent.sandbox.limits import Limits
from atoll_agent.sandbox.step import Step, StepSpace
from atoll_agent.sandbox.wall import native
from atoll_agent.sandbox.wall.bubblewrap import Wall, find
from atoll_agent.sandbox.wall.guest import child_pid, exit_code
from atoll_agent.sandbox.wall.kernel import rlimits, tightened
from atoll_agent.sandbox.wall.root import Program, arguments
from atoll_agent.sandbox.wall.syscalls import X86_64


def step(folder: Path, **fields: object) -> Step:
    return Step(space=StepSpace(root=folder), limits=Limits(), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP", "GLIBC_TUNABLES"])
def test_variables_that_change_whose_code_runs_are_refused(tmp_path: Path, name: str) -> None:
    for prepare in (native.binary, native.python):
        with pytest.raises(InputError) as caught:
            prepare(step(tmp_path, env={name: "x"}), X86_64)
        assert caught.value.code == "workload.arguments"


def test_one_argument_ends_where_execve_does(tmp_path: Path) -> None:
    native.require_native(("x" * (native.MAX_STRING - 1),), {})
    native.require_native((), {"A": "x" * (native.MAX_STRING - 3)})
    for args, env in ((("x" * native.MAX_STRING,), {}), ((), {"A": "x" * (native.MAX_STRING - 2)})):
        with pytest.raises(InputError, match=str(native.MAX_STRING)):
            native.require_native(args, env)


@pytest.mark.parametrize(
    ("entry", "start"),
    [("", ["/algorithm"]), ("train", ["-m", "train"]), ("a.b", ["-m", "a.b"])],
)
def test_a_script_and_a_module_are_started_plainly(
    tmp_path: Path, entry: str, start: list[str]
) -> None:
    argv = native.python(step(tmp_path, entry=entry, args=("1",)), X86_64).argv
    assert list(argv[1:]) == ["-B", "-s", "-P", *start, "1"]


def test_a_function_is_named_by_an_argument_and_never_by_code(tmp_path: Path) -> None:
    argv = native.python(step(tmp_path, entry="a.b:c"), X86_64).argv
    assert argv[4] == "-c"
    assert "a.b:c" not in argv[5]
    assert argv[6] == "a.b:c"


@pytest.mark.parametrize("entry", ["-c", "a b", "a:", ":b", "a;b", "a:b:c", "../a", "a" * 257])
def test_other_entry_points_are_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(InputError) as caught:
        native.python(step(tmp_path, entry=entry), X86_64)
    assert caught.value.code == "workload.entry"


def built(folder: Path, scratch: int = 5000) -> list[str]:
    program = Program(argv=("/algorithm",), env={"A": "b"})
    return arguments(
        program, StepSpace(root=folder), scratch, opened=lambda _: 7, content=lambda _: 8
    )


def test_every_namespace_is_new_and_the_root_ends_read_only(tmp_path: Path) -> None:
    options = built(tmp_path)
    for name in ("user", "ipc", "pid", "net", "uts", "cgroup-try"):
        assert f"--unshare-{name}" in options
    assert "--disable-userns" in options
    assert options[-2:] == ["--remount-ro", "/"]
    assert options.count("--bind-fd") == 1
    assert options[options.index("--bind-fd") + 2] == "/results"
    assert "--share-net" not in options


def test_the_scratch_tmpfs_always_has_a_size(tmp_path: Path) -> None:
    for scratch, size in ((0, "4096"), (5000, "5000")):
        options = built(tmp_path, scratch)
        at = options.index("/tmp")
        assert options[at - 3 : at + 1] == ["--size", size, "--tmpfs", "/tmp"]


def test_the_kernel_holds_what_the_limits_say() -> None:
    limits = Limits(processes=9, open_files=33, output_bytes=5, log_bytes=6, scratch_bytes=7)
    held = {which: (soft, hard) for which, soft, hard in rlimits(limits, cores=2)}
    assert held[resource.RLIMIT_NPROC] == (10, 10)
    assert held[resource.RLIMIT_NOFILE] == (33, 33)
    assert held[resource.RLIMIT_FSIZE] == (8, 8)
    assert held[resource.RLIMIT_CPU] == (120, 121)
    assert held[resource.RLIMIT_MSGQUEUE] == (0, 0)


def test_a_limit_that_is_tighter_already_stays() -> None:
    assert tightened((5, 6), (1, resource.RLIM_INFINITY)) == (5, 6)
    assert tightened((5, 6), (1, 4)) == (4, 4)
    assert tightened((5, 6), (1, 100)) == (5, 6)


def test_bwraps_status_is_read_line_by_line() -> None:
    raw = b'{ "child-pid": 12, "ns": 1 }\n{ "exit-code": 137 }\n'
    assert child_pid(raw) == 12
    assert exit_code(raw) == 137
    assert exit_code(b'{"child-pid": 12}\n') is None
    for bad in (b'{"exit-code": 256}', b'{"exit-code": true}', b'{"exit-code": -1}', b"[1]", b"{"):
        assert exit_code(bad) is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_status_is_a_number_or_nothing(raw: bytes) -> None:
    assert child_pid(raw) is None or isinstance(child_pid(raw), int)


def test_what_is_missing_is_named_with_what_to_install(tmp_path: Path) -> None:
    assert "apt-get install bubblewrap" in str(find(path=str(tmp_path)))
    assert "no system call filter for 'mips'" in str(find(machine="mips"))


def test_a_bwrap_without_the_options_is_refused_with_their_names(tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho '--args --size --seccomp'\n")
    fake.chmod(0o755)
    said = str(find(path=str(tmp_path), machine="x86_64"))
    assert "lacks --bind-fd" in said
    fake.write_text("#!/bin/sh\nexit 1\n")
    assert not isinstance(find(path=str(tmp_path), machine="x86_64"), Wall)
