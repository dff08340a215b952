"""The filter, run by an interpreter over every number of every architecture."""

import errno
import hashlib
import importlib.util
import re
from pathlib import Path

import pytest

from atoll_agent.sandbox.wall import bpf
from atoll_agent.sandbox.wall.bpf import ALLOW, KILL, refuses
from atoll_agent.sandbox.wall.filter import ALLOWED, PRCTLS, REFUSED, TCP_OPTIONS, program
from atoll_agent.sandbox.wall.syscalls import AARCH64, ARCHITECTURES, RISCV64, X86_64, Architecture
from unit.agent.sandbox.wall.machine import decide

EPERM = refuses(errno.EPERM)
ENOSYS = refuses(errno.ENOSYS)
LOOKED_AT = {
    "clone", "socket", "socketpair", "ioctl", "personality", "prctl", "chmod", "fchmod",
    "fchmodat", "mkdir", "mkdirat", "creat",
}  # fmt: skip
HEADERS = {
    X86_64: "x86-linux-any",
    AARCH64: "aarch64-linux-any",
    RISCV64: "riscv-linux-any",
}
each = pytest.mark.parametrize("machine", ARCHITECTURES.values(), ids=list(ARCHITECTURES))


def said(machine: Architecture, name: str, *args: int) -> int:
    return decide(program(machine), number=machine.numbers[name], arch=machine.audit, args=args)


@each
def test_every_number_is_decided_by_the_lists(machine: Architecture) -> None:
    names = {number: name for name, number in machine.numbers.items()}
    for number in range(max(names) + 300):
        name = names.get(number, "unknown")
        if name in LOOKED_AT:
            continue
        wanted = ALLOW if name in ALLOWED else EPERM if name in REFUSED else ENOSYS
        assert decide(program(machine), number=number, arch=machine.audit) == wanted, name


def test_the_lists_name_system_calls_that_exist_and_none_twice() -> None:
    known = {name for machine in ARCHITECTURES.values() for name in machine.numbers}
    assert known >= ALLOWED | REFUSED | LOOKED_AT
    assert not ALLOWED & REFUSED


@each
def test_what_attacks_the_kernel_or_others_is_refused(machine: Architecture) -> None:
    for name in (
        "ptrace", "process_vm_readv", "process_vm_writev", "keyctl", "add_key", "request_key",
        "bpf", "perf_event_open", "userfaultfd", "mount", "umount2", "unshare", "setns",
        "pivot_root", "kexec_load", "init_module", "finit_module", "delete_module", "swapon",
        "reboot", "quotactl", "acct", "open_by_handle_at", "name_to_handle_at", "vhangup",
        "syslog", "clock_settime", "chroot", "fsopen", "move_mount", "pidfd_getfd", "seccomp",
        "shmget", "mq_open", "memfd_secret", "setxattr",
    ):  # fmt: skip
        assert said(machine, name) == EPERM, name


@each
def test_calls_whose_arguments_lie_in_memory_do_not_exist(machine: Architecture) -> None:
    for name in ("clone3", "openat2", "io_uring_setup", "io_uring_enter", "landlock_add_rule"):
        assert said(machine, name) == ENOSYS, name


@each
@pytest.mark.parametrize(
    "audit", [0, 0x40000003, 0x40000028, 0xC0000032, 0xC000003E, 0xC00000B7, 0xC00000F3]
)
def test_another_architecture_is_killed(machine: Architecture, audit: int) -> None:
    if audit == machine.audit:
        return
    for number in (0, 1, 59, 101, 117, 1 << 31):
        assert decide(program(machine), number=number, arch=audit) == KILL


def test_x32_numbers_are_killed() -> None:
    for number in (0x40000000, 0x40000000 | 59, 0x7FFFFFFF, 0xFFFFFFFF):
        assert decide(program(X86_64), number=number, arch=X86_64.audit) == KILL


@each
def test_clone_makes_threads_and_processes_but_no_namespace(machine: Architecture) -> None:
    for flags in (0x11, 0x3D0F00, 0x1200011):
        assert said(machine, "clone", flags) == ALLOW
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert said(machine, "clone", bit | 0x11) == EPERM


@each
def test_only_unix_sockets_can_be_made(machine: Architecture) -> None:
    for call in ("socket", "socketpair"):
        for family in range(64):
            wanted = ALLOW if family == 1 else refuses(errno.EAFNOSUPPORT)
            assert said(machine, call, family) == wanted


AS_EVER = {
    "x86_64": "d0dc1494a137039fca7aaaf57d3f59d424de318f13c0967ec2b05b58c65bd0c5",
    "aarch64": "7f1272f45e03a08ebfcee50ddac1714908410bed0d7c2912e2a3bb00e87ed1e0",
    "riscv64": "2c7cc59090ecbace54904e70bae242aa4308ee55ad98cbea97816a4686a978ce",
}
"""SHA-256 of the filters of the time when no guest had a way out."""


@each
def test_without_a_way_out_the_filter_is_what_it_was_before_there_was_one(
    machine: Architecture,
) -> None:
    assert hashlib.sha256(program(machine)).hexdigest() == AS_EVER[machine.machine]


@each
def test_with_a_way_out_tcp_sockets_can_be_made_and_nothing_else_is_different(
    machine: Architecture,
) -> None:
    def out(name: str, *args: int) -> int:
        raw = program(machine, internet=True)
        return decide(raw, number=machine.numbers[name], arch=machine.audit, args=args)

    no_protocol = refuses(errno.EPROTONOSUPPORT)
    for family in range(64):
        if family != 2:
            assert out("socket", family, 1) == said(machine, "socket", family, 1)
        assert out("socketpair", family) == said(machine, "socketpair", family)
    for kind in range(16):
        for flags in (0, 0o4000, 0o2000000, 0o2004000):
            wanted = ALLOW if kind == 1 else no_protocol
            assert out("socket", 2, kind | flags) == wanted
    assert out("socket", 2, 1 | 0o10) == no_protocol
    allowed = {number for number in range(300) if out("socket", 2, 1, number) == ALLOW}
    assert allowed == {0, 6}
    assert out("socket", 2, 1, (1 << 32) | 6) == ALLOW  # an int has no high bits
    options = {number for number in range(64) if out("setsockopt", 3, 6, number) == ALLOW}
    assert options == set(TCP_OPTIONS)
    levels = {level for level in range(300) if out("setsockopt", 3, level, 1) == ALLOW}
    assert levels == {1, 6}
    for name, number in machine.numbers.items():
        if name not in {"socket", "setsockopt"}:
            for args in ((), (1, 2, 3), (0x10000000, 0x5412, 0o4755)):
                same = decide(program(machine), number=number, arch=machine.audit, args=args)
                assert out(name, *args) == same, name


@each
def test_high_bits_do_not_hide_an_int_from_the_filter(machine: Architecture) -> None:
    high = 0xDEADBEEF << 32
    assert said(machine, "socket", high | 2) == refuses(errno.EAFNOSUPPORT)
    assert said(machine, "ioctl", 0, high | 0x5412) == EPERM
    assert said(machine, "clone", high | 0x10000000) == EPERM
    assert said(machine, "fchmod", 3, high | 0o4755) == EPERM


@each
def test_arguments_of_the_rest(machine: Architecture) -> None:
    assert said(machine, "ioctl", 0, 0x5401) == ALLOW
    assert said(machine, "ioctl", 0, 0x541C) == EPERM
    assert said(machine, "personality", 0xFFFFFFFF) == ALLOW
    assert said(machine, "personality", 0x0040000) == EPERM
    assert {option for option in range(200) if said(machine, "prctl", option) == ALLOW} == {
        option for option in PRCTLS if option < 200
    }
    assert said(machine, "fchmodat", 3, 0, 0o755) == ALLOW
    assert said(machine, "fchmodat", 3, 0, 0o2755) == EPERM
    assert said(machine, "mkdirat", 3, 0, 0o4755) == EPERM


@each
def test_the_numbers_are_those_of_the_kernels_headers(machine: Architecture) -> None:
    spec = importlib.util.find_spec("ziglang")
    assert spec is not None, "ziglang is one of the development requirements"
    assert spec.origin is not None
    include = Path(spec.origin).parent / "lib/libc/include" / HEADERS[machine]
    text = (include / "asm/unistd_64.h").read_text()
    headers = {name: int(n) for name, n in re.findall(r"#define\s+__NR_(\w+)\s+(\d+)\s", text)}
    assert headers
    common = machine.numbers.keys() & headers.keys()
    assert {name: machine.numbers[name] for name in common} == {n: headers[n] for n in common}
    # A kernel older than the table knows fewer; none of these is lost by renaming.
    assert ALLOWED & headers.keys() <= machine.numbers.keys()


def test_a_far_jump_goes_where_a_near_one_would() -> None:
    long = tuple(bpf.Instruction(bpf.LOAD, 0) for _ in range(300))
    for size in (0, 253, 254, 255, 256, 299):
        then = (*long[:size], *bpf.returns(1))
        block = bpf.assemble(bpf.choose(bpf.EQUAL, 0, then, bpf.returns(2)))
        assert decide(block, number=0, arch=0) == 1
        block = bpf.assemble(bpf.choose(bpf.EQUAL, 9, then, bpf.returns(2)))
        assert decide(block, number=0, arch=0) == 2


def test_a_program_longer_than_the_kernel_takes_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="4096"):
        bpf.assemble((bpf.Instruction(bpf.LOAD, 0),) * 4097)
