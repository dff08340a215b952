"""The child process in which a guest is compiled and run: `python -I -m atoll_agent.worker`.

Standard input is a memory file with one `Job`; standard output is a memory file for one
`Answer`. Both are moved away from 0 and 1 before anything is compiled. The process limits
itself, runs the guest once and ends. It has no keys, no environment and no socket.

What it cannot do: interrupt a compilation, or a guest that waits inside a host call. The
runner's SIGKILL does both. Nothing it says is trusted by the runner.

Exit status: 0 when an answer was written, anything else when not.
"""

import ctypes
import os
import resource
import signal
import sys
from typing import Final

from atoll.wire import schema
from atoll_agent.sandbox.exchange import MAX_ANSWER, Answer, Job
from atoll_agent.sandbox.outcome import Kind

PR_SET_PDEATHSIG: Final = 1
PR_SET_NO_NEW_PRIVS: Final = 38
OPEN_FILES: Final = 256
CPU_SLACK_S: Final = 5


def main() -> int:
    """Read the job, run it, write the answer."""
    job, answer_fd = _take_over_streams()
    _confine(job)
    # After `_confine`: loading 30 MB of compiler is under the limits, too.
    from atoll_agent.sandbox.engine import execute  # noqa: PLC0415

    try:
        answer = execute(job)
    except MemoryError:
        answer = Answer(kind=Kind.OUT_OF_MEMORY, exit_code=None, memory_bytes=None, detail="")
    os.write(answer_fd, schema.encode(answer))
    return 0


def _take_over_streams() -> tuple[Job, int]:
    """Read the job, keep the answer's descriptor, and leave nothing at 0, 1 and 2."""
    raw = bytearray()
    while chunk := os.read(0, 1 << 16):
        raw += chunk
    answer_fd = os.dup(1)  # not inheritable (PEP 446)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return schema.decode(Job, bytes(raw)), answer_fd


def _confine(job: Job) -> None:
    """Die with the agent, gain nothing, and let the kernel hold the coarse limits.

    RLIMIT_NPROC is not set: it counts all processes of the user, and a guest cannot start
    any. RLIMIT_AS is not set: wasmtime reserves gigabytes of addresses that it never
    touches; the runner watches resident memory instead.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((PR_SET_PDEATHSIG, int(signal.SIGKILL)), (PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")
    if os.getppid() != job.parent:  # the agent died before prctl could arrange for it
        sys.exit(1)
    cpu_s = (job.limits.wall_s + CPU_SLACK_S) * (os.cpu_count() or 1)
    # One byte more than allowed: a file that was cut short is then seen to be too large, also
    # when the guest overlooks the failed write.
    largest = max(job.limits.output_bytes, job.limits.log_bytes, MAX_ANSWER) + 1
    # 1, not 0: a core_pattern that is a pipe ignores 0 and takes 1 as "never" (core(5)).
    _limit(resource.RLIMIT_CORE, 1, 1)
    _limit(resource.RLIMIT_FSIZE, largest, largest)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)
    _limit(resource.RLIMIT_CPU, cpu_s, cpu_s + CPU_SLACK_S)
    # Beyond RLIMIT_FSIZE a write then fails with EFBIG, which the guest sees.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _limit(which: int, soft: int, hard: int) -> None:
    """Set a limit; one that is already tighter stays."""
    _, highest = resource.getrlimit(which)
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    resource.setrlimit(which, (soft, hard))


if __name__ == "__main__":
    sys.exit(main())
