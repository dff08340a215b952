"""Which system calls a container may make: an allow-list in the engine's format (seccomp(2)).

Stricter than what engines bring along, and the same whatever the engine's version is: no
socket but those between processes of the container (AF_VSOCK would reach the host, and
older engines allow it), no io_uring, no keyring, no new namespaces, no tracing, no other
instruction sets than the machine's own. `clone3` answers "not implemented", for its flags
lie in memory where a filter cannot look; libraries then use `clone`, whose flags it sees.

Names that a machine does not have are passed over by the engine.
"""

import json
from typing import Any, Final

ARCHITECTURES: Final = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "riscv64": "SCMP_ARCH_RISCV64",
}
_ENOSYS: Final = 38
_EAFNOSUPPORT: Final = 97
_AF_UNIX: Final = 1
_NEW_NAMESPACES: Final = 0x7E020000
"""CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET (clone(2))."""
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux and its two harmless variants, and the question which one it is (personality(2))."""

_FILES: Final = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat
    faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl
    fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync ftruncate
    futimesat getcwd getdents getdents64 getxattr ioctl lchown lgetxattr link linkat listxattr
    llistxattr lremovexattr lseek lsetxattr lstat memfd_create mkdir mkdirat mknod mknodat
    newfstatat open openat openat2 pipe pipe2 poll ppoll pread64 preadv preadv2 pselect6
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr rename
    renameat renameat2 rmdir select sendfile setxattr splice stat statfs statx symlink
    symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat
    utimes vmsplice write writev inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2
    signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime cachestat
""".split()  # noqa: SIM905 - a list of 90 quoted words is harder to review
_MEMORY: Final = """
    brk madvise membarrier mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock
    munlockall munmap pkey_alloc pkey_free pkey_mprotect map_shadow_stack get_mempolicy
    set_mempolicy mbind memfd_secret
    shmat shmctl shmdt shmget semctl semget semop semtimedop msgctl msgget msgrcv msgsnd
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink
""".split()  # noqa: SIM905
_PROCESSES: Final = """
    alarm arch_prctl capget capset clock_getres clock_gettime clock_nanosleep execve execveat
    exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake
    get_robust_list get_thread_area getcpu getegid geteuid getgid
    getgroups getitimer getpgid getpgrp getpid getppid getpriority getrandom getresgid
    getresuid getrlimit getrusage getsid gettid gettimeofday getuid ioprio_get ioprio_set kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self nanosleep pause
    pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall riscv_flush_icache
    riscv_hwprobe rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler
    sched_yield seccomp set_robust_list set_thread_area set_tid_address setfsgid setfsuid
    setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid
    setrlimit setsid setuid sigaltstack sysinfo tgkill time timer_create timer_delete
    timer_getoverrun timer_gettime timer_settime times tkill uname vfork wait4 waitid
""".split()  # noqa: SIM905
_BETWEEN_PROCESSES: Final = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg
    recvmsg sendmmsg sendmsg sendto setsockopt shutdown
""".split()  # noqa: SIM905


def profile(machine: str) -> str:
    """The profile for a machine as the kernel names it, as JSON.

    Raises:
        KeyError: a machine that is not in `ARCHITECTURES`.
    """
    always = sorted({*_FILES, *_MEMORY, *_PROCESSES, *_BETWEEN_PROCESSES})
    rules: list[dict[str, Any]] = [
        _allow(always),
        _allow(["socket", "socketpair"], _argument(0, _AF_UNIX, "SCMP_CMP_EQ")),
        {
            **_allow(["socket", "socketpair"], _argument(0, _AF_UNIX, "SCMP_CMP_NE")),
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": _EAFNOSUPPORT,
        },
        _allow(["clone"], {**_argument(0, _NEW_NAMESPACES, "SCMP_CMP_MASKED_EQ"), "valueTwo": 0}),
        {**_allow(["clone3"]), "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
    ]
    rules += [
        _allow(["personality"], _argument(0, value, "SCMP_CMP_EQ")) for value in _PERSONALITIES
    ]
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": [ARCHITECTURES[machine]],
            "syscalls": rules,
        }
    )


def _allow(names: list[str], *args: dict[str, Any]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(args)}


def _argument(index: int, value: int, comparison: str) -> dict[str, Any]:
    return {"index": index, "value": value, "op": comparison}
