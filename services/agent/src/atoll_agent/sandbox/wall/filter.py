"""Which system calls a guest may make, as a seccomp program. Pure.

An allow-list: what C libraries, Python and numerical code use. What is dangerous is answered
with EPERM and what is unknown or new with ENOSYS, so that a library takes its older way. Only a
foreign architecture and the x32 numbers kill.

A guest with a way out (`internet`) may make Internet sockets too: TCP over IPv4, with the options
that such sockets usually have, in a network namespace where there is one proxy and nothing else.
For all others the program is the same, byte for byte, as if that did not exist.

Arguments are looked at where the kernel reads them from registers: the flags of `clone`, the
family of `socket`, the request of `ioctl`, the mode of `chmod` and its like. `clone3` and
`openat2` keep theirs in memory, where a filter cannot see them: ENOSYS.

What this does not do: it holds no path and no amount. Mounts, namespaces and limits do.
"""

import errno
import functools
from collections.abc import Mapping
from typing import Final

from atoll_agent.sandbox.wall import bpf
from atoll_agent.sandbox.wall.bpf import Block
from atoll_agent.sandbox.wall.syscalls import X86_64, Architecture


def _names(*groups: str) -> frozenset[str]:
    return frozenset(name for group in groups for name in group.split())


ALLOWED: Final = _names(
    # files
    """
    read write open openat creat close close_range lseek pread64 pwrite64 readv writev preadv
    pwritev preadv2 pwritev2 stat fstat lstat newfstatat statx statfs fstatfs access faccessat
    faccessat2 getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir rename renameat
    renameat2 link linkat unlink unlinkat symlink symlinkat readlink readlinkat chmod fchmod
    fchmodat chown fchown lchown fchownat umask utime utimes futimesat utimensat truncate
    ftruncate fallocate fadvise64 readahead sync_file_range fsync fdatasync flock fcntl dup dup2
    dup3 pipe pipe2 splice tee vmsplice sendfile copy_file_range memfd_create ioctl getxattr
    lgetxattr fgetxattr listxattr llistxattr flistxattr cachestat
    """,
    # waiting
    """
    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime
    timerfd_gettime inotify_init inotify_init1 inotify_add_watch inotify_rm_watch nanosleep
    clock_nanosleep pause alarm getitimer setitimer timer_create timer_settime timer_gettime
    timer_getoverrun timer_delete futex futex_waitv futex_wake futex_wait futex_requeue
    """,
    # memory
    """
    mmap munmap mprotect mremap msync mincore madvise brk mlock mlock2 munlock mlockall
    munlockall get_mempolicy membarrier map_shadow_stack riscv_flush_icache
    """,
    # processes
    """
    clone fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill pidfd_open
    pidfd_send_signal getpid getppid gettid getpgid getpgrp setpgid getsid setsid getuid geteuid
    getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid setresuid
    setresgid setfsuid setfsgid setgroups capget capset prctl arch_prctl personality
    set_tid_address set_robust_list get_robust_list rseq restart_syscall rt_sigaction
    rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend rt_sigqueueinfo
    rt_tgsigqueueinfo sigaltstack getrlimit setrlimit prlimit64 getrusage times getpriority
    setpriority ioprio_get sched_yield sched_getaffinity sched_setaffinity sched_getparam
    sched_getscheduler sched_getattr sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval
    """,
    # the machine
    """
    uname sysinfo getcpu getrandom time gettimeofday clock_gettime clock_getres riscv_hwprobe
    """,
    # Unix sockets, within the guest
    """
    socket socketpair bind listen accept accept4 connect shutdown getsockname getpeername
    getsockopt setsockopt sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg
    """,
)

REFUSED: Final = _names(
    # other processes' memory, and the kernel's own programs
    """
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd
    userfaultfd bpf perf_event_open seccomp
    """,
    # keys
    "add_key request_key keyctl",
    # namespaces, mounts, and handles that go round them
    """
    unshare setns mount umount2 mount_setattr move_mount open_tree open_tree_attr fsopen fsconfig
    fsmount fspick statmount listmount listns pivot_root chroot name_to_handle_at
    open_by_handle_at quotactl quotactl_fd fanotify_init fanotify_mark
    """,
    # the machine
    """
    reboot kexec_load kexec_file_load init_module finit_module delete_module swapon swapoff acct
    syslog vhangup iopl ioperm modify_ldt settimeofday clock_settime adjtimex clock_adjtime
    sethostname setdomainname sync syncfs lookup_dcookie _sysctl
    """,
    # memory that no process is seen to hold
    """
    shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open
    mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr memfd_secret setxattr
    lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat
    """,
    # devices, and scheduling beyond its own share
    """
    mknod mknodat migrate_pages move_pages mbind set_mempolicy sched_setscheduler sched_setparam
    sched_setattr ioprio_set
    """,
)

X32_BIT: Final = 0x40000000
"""__X32_SYSCALL_BIT: the same architecture word, other structures (Linux, asm/unistd.h)."""
NEW_NAMESPACES: Final = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; CLONE_NEWTIME is no flag of clone(2)."""
SET_ID_BITS: Final = 0o6000
AF_UNIX: Final = 1
AF_INET: Final = 2
STREAM_TYPES: Final = (1, 1 | 0o4000, 1 | 0o2000000, 1 | 0o4000 | 0o2000000)
"""SOCK_STREAM, with and without SOCK_NONBLOCK and SOCK_CLOEXEC."""
TCP_PROTOCOLS: Final = (0, 6)
"""What is usual for the type, and IPPROTO_TCP."""
SOL_SOCKET: Final = 1
IPPROTO_TCP: Final = 6
TCP_OPTIONS: Final = (
    1, 2, 3, 4, 5, 6, 7, 8,  # TCP_{NODELAY,MAXSEG,CORK,KEEPIDLE,KEEPINTVL,KEEPCNT,SYNCNT,LINGER2}
    9, 10, 12,  # TCP_{DEFER_ACCEPT,WINDOW_CLAMP,QUICKACK}
    18, 25,  # TCP_{USER_TIMEOUT,NOTSENT_LOWAT}
)  # fmt: skip
"""None that loads code into the kernel's path (TCP_ULP, TCP_CONGESTION) or rewrites it."""
FORBIDDEN_IOCTLS: Final = (0x5412, 0x541C)
"""TIOCSTI types into a terminal, TIOCLINUX pastes into one."""
PERSONALITIES: Final = (0, 0xFFFFFFFF)
"""PER_LINUX, and asking which it is."""
PRCTLS: Final = (
    1, 2,  # PR_SET_PDEATHSIG, PR_GET_PDEATHSIG
    3, 4,  # PR_GET_DUMPABLE, PR_SET_DUMPABLE
    7, 8,  # PR_GET_KEEPCAPS, PR_SET_KEEPCAPS
    15, 16,  # PR_SET_NAME, PR_GET_NAME
    21,  # PR_GET_SECCOMP
    23,  # PR_CAPBSET_READ
    29, 30,  # PR_SET_TIMERSLACK, PR_GET_TIMERSLACK
    36, 37,  # PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER
    38, 39,  # PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS
    40,  # PR_GET_TID_ADDRESS
    41, 42,  # PR_SET_THP_DISABLE, PR_GET_THP_DISABLE
    50, 51, 63, 64,  # PR_{SVE,SME}_{SET,GET}_VL
    0x53564D41,  # PR_SET_VMA: names for anonymous memory
)  # fmt: skip

_ALLOW: Final = bpf.returns(bpf.ALLOW)
_KILL: Final = bpf.returns(bpf.KILL)
_EPERM: Final = bpf.returns(bpf.refuses(errno.EPERM))
_ENOSYS: Final = bpf.returns(bpf.refuses(errno.ENOSYS))
_NO_FAMILY: Final = bpf.returns(bpf.refuses(errno.EAFNOSUPPORT))
_NO_PROTOCOL: Final = bpf.returns(bpf.refuses(errno.EPROTONOSUPPORT))
_NO_OPTION: Final = bpf.returns(bpf.refuses(errno.ENOPROTOOPT))


@functools.cache
def program(architecture: Architecture, *, internet: bool = False) -> bytes:
    """The filter for guests of `architecture`, as `bwrap --seccomp` reads it.

    Args:
        architecture: the guest's.
        internet: whether it has a way out.
    """
    rules = _RULES | _INTERNET if internet else _RULES
    cases = sorted((number, _rule(name, rules)) for name, number in architecture.numbers.items())
    tree = _number_tree(cases)
    if architecture is X86_64:
        tree = bpf.choose(bpf.AT_LEAST, X32_BIT, _KILL, tree)
    checked = (bpf.Instruction(bpf.LOAD, bpf.NUMBER), *tree)
    # The same numbers mean other calls to another architecture (int 0x80 on x86_64).
    whole = bpf.choose(bpf.EQUAL, architecture.audit, checked, _KILL)
    return bpf.assemble((bpf.Instruction(bpf.LOAD, bpf.ARCHITECTURE), *whole))


def _number_tree(cases: list[tuple[int, Block]]) -> Block:
    """A search over ranges of numbers that are treated alike; gaps are ENOSYS."""
    ranges: list[tuple[int, Block]] = [(0, _ENOSYS)]

    def begin(number: int, block: Block) -> None:
        if ranges[-1][1] != block:
            if ranges[-1][0] == number:
                ranges.pop()
            ranges.append((number, block))

    after = 0
    for number, block in cases:
        if number > after:
            begin(after, _ENOSYS)
        begin(number, block)
        after = number + 1
    begin(after, _ENOSYS)
    return bpf.search(ranges)


def _rule(name: str, rules: Mapping[str, Block]) -> Block:
    if name in rules:
        return rules[name]
    if name in ALLOWED:
        return _ALLOW
    return _EPERM if name in REFUSED else _ENOSYS


def _unless_bits(index: int, bits: int) -> Block:
    """EPERM if the argument has one of `bits`."""
    return (bpf.low_argument(index), *bpf.choose(bpf.ANY_BIT, bits, _EPERM, _ALLOW))


def _only(index: int, values: tuple[int, ...], otherwise: Block) -> Block:
    return (bpf.low_argument(index), *bpf.one_of(values, _ALLOW, otherwise))


_RULES: Final = {
    "clone": _unless_bits(0, NEW_NAMESPACES),
    "socket": _only(0, (AF_UNIX,), _NO_FAMILY),
    "socketpair": _only(0, (AF_UNIX,), _NO_FAMILY),
    "ioctl": (bpf.low_argument(1), *bpf.one_of(FORBIDDEN_IOCTLS, _EPERM, _ALLOW)),
    "personality": _only(0, PERSONALITIES, _EPERM),
    "prctl": _only(0, PRCTLS, _EPERM),
    # The mode of an `open` that makes no file is whatever the register holds: not looked at.
    # With set-id bits it can make nothing more than the guest's own user either way, and
    # /results and /tmp are nosuid; refusing `chmod` is a second line.
    "chmod": _unless_bits(1, SET_ID_BITS),
    "fchmod": _unless_bits(1, SET_ID_BITS),
    "fchmodat": _unless_bits(2, SET_ID_BITS),
    "mkdir": _unless_bits(1, SET_ID_BITS),
    "mkdirat": _unless_bits(2, SET_ID_BITS),
    "creat": _unless_bits(1, SET_ID_BITS),
}

_TCP: Final = (
    bpf.low_argument(1),
    *bpf.one_of(STREAM_TYPES, _only(2, TCP_PROTOCOLS, _NO_PROTOCOL), _NO_PROTOCOL),
)
_INTERNET: Final = {
    "socket": (
        bpf.low_argument(0),
        *bpf.one_of((AF_UNIX,), _ALLOW, bpf.choose(bpf.EQUAL, AF_INET, _TCP, _NO_FAMILY)),
    ),
    "setsockopt": (
        bpf.low_argument(1),
        *bpf.one_of(
            (SOL_SOCKET,),
            _ALLOW,
            bpf.choose(bpf.EQUAL, IPPROTO_TCP, _only(2, TCP_OPTIONS, _NO_OPTION), _NO_OPTION),
        ),
    ),
}
