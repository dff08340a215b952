# ruff: noqa: ISC004, E501 - scripts in a table, one below the other
"""Hostile scripts, and bundles that want to be more than dependencies."""

import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from atoll.computation.steps import WorkloadKind
from hostile.case import ENDED, SMALL, Case, codes
from support import wheels
from support.images import File, tar

PYTHON: Final = WorkloadKind.PYTHON
_BOMBED: Final = codes("timeout", "process_limit", "memory", "exit_nonzero", "cpu")
_TRY: Final = """
import ctypes, os, signal, socket, sys
def attempt(what, work):
    try:
        work()
    except (Exception, SystemExit) as error:
        print("refused", what, type(error).__name__)
    else:
        print("ESCAPED", what)
libc = ctypes.CDLL(None, use_errno=True)
def call(*args):
    if libc.syscall(*args) < 0:
        raise OSError(ctypes.get_errno())
"""

_SCRIPTS: Final = (
    ("forks", "import os\nwhile True:\n    os.fork()", _BOMBED | codes("output_limit"), ""),
    ("threads", "import threading, time\n"
     "for _ in range(1000):\n    threading.Thread(target=time.sleep, args=(9,)).start()",
     _BOMBED, ""),
    ("a list without end", "x = []\nwhile True:\n    x.append(bytes(1 << 20))",
     codes("memory", "exit_nonzero"), ""),
    ("a string of ten gigabytes", "x = 'x' * 10 ** 10", codes("memory", "exit_nonzero"), ""),
    ("a recursion without end", "def f(): return f()\nimport sys\n"
     "sys.setrecursionlimit(10 ** 9)\nf()", codes("memory", "exit_nonzero", "timeout"), ""),
    ("a log without end", "while True:\n    print('x' * 10000)", codes("output_limit"), ""),
    ("a traceback of ten megabytes", "raise SystemExit('x' * 10 ** 7)",
     codes("output_limit"), ""),
    ("an archive of zeros", "import zipfile\nwith zipfile.ZipFile('/results/z', 'w', 8) as z:\n"
     "    for n in range(1000):\n        z.writestr(str(n), bytes(1 << 20))\n"
     "with zipfile.ZipFile('/results/z') as z:\n    z.extractall('/results/out')",
     codes("output_limit", "timeout"), ""),
    ("shell", _TRY + "import subprocess\n"
     "for name in ('/bin/sh', '/usr/bin/env', '/usr/bin/python3-config'):\n"
     "    attempt(name, lambda: subprocess.run([name], check=True))\nprint('tried')",
     ENDED, "tried"),
    ("network", _TRY + "for family in (2, 10, 16, 17, 38, 40):\n"
     "    attempt(family, lambda: socket.socket(family))\n"
     "attempt('name', lambda: socket.create_connection(('localhost', 4222)))\n"
     "attempt('abstract', lambda: socket.socket(1).connect(chr(0) + sys.argv[1]))\n"
     "print('tried')", ENDED, "tried"),
    ("calls", _TRY + "for number in (101, 155, 165, 166, 175, 246, 248, 250, 272, 298, 304, 308,"
     " 310, 321, 323, 425, 426, 428, 429, 430, 432, 442):\n"
     "    attempt(number, lambda: call(number, 0, 0, 0, 0, 0))\nprint('tried')", ENDED, "tried"),
    ("files of the host", _TRY + "for name in ('/etc/shadow', '/root' + '/.ssh', '/home', '/proc/1/environ',"
     " '/proc/1/root', '/sys', '/run', '/var', sys.argv[1], '/proc/kcore'):\n"
     "    attempt(name, lambda: os.listdir(name) if os.path.isdir(name) else open(name).read(1))\n"
     "print('tried')", ENDED, "tried"),
    ("the agent's own code", _TRY + "for name in ('atoll', 'atoll_agent', 'cryptography', 'pip',"
     " 'nats', 'wasmtime', 'docker'):\n    attempt(name, lambda: __import__(name))\n"
     "print('tried')", ENDED, "tried"),
    ("the standard library", _TRY + "attempt('os', lambda: open(os.__file__, 'a'))\n"
     "attempt('cache', lambda: os.mkdir(os.path.dirname(os.__file__) + '/__pycache__/x'))\n"
     "attempt('interpreter', lambda: open(sys.executable, 'ab'))\n"
     "attempt('bundle', lambda: open('/bundle/x', 'w'))\nprint('tried')", ENDED, "tried"),
    ("signals", "import os, signal\nfor pid in range(2, 70000):\n    try:\n"
     "        pid != os.getpid() and os.kill(pid, signal.SIGKILL)\n"
     "    except OSError:\n        pass\nprint('tried')", ENDED, "tried"),
    ("a daemon", "import os, signal, time\nif os.fork() == 0:\n    os.setsid()\n"
     "    if os.fork() == 0:\n        for n in range(1, 32):\n            try:\n"
     "                signal.signal(n, signal.SIG_IGN)\n            except OSError:\n"
     "                pass\n        time.sleep(10 ** 6)\nprint('tried')", ENDED, "tried"),
    ("deaf", "import signal, time\nfor n in set(range(1, 32)) - {9, 19}:\n"
     "    signal.signal(n, signal.SIG_IGN)\nwhile True:\n    try:\n        time.sleep(1000)\n"
     "    except BaseException:\n        pass", codes("timeout"), ""),
    ("names of wrong bytes", "open(b'/results/\\xff', 'w')", codes("output_names"), ""),
    ("a link out", "import os\nos.symlink('/', '/results/root')", codes("output_kind"), ""),
    ("a hole", "import os\nopen('/results/x', 'w').truncate(1 << 22)\n"
     "open('/results/y', 'w').truncate(1 << 20)", codes("output_limit", "exit_nonzero"), ""),
    ("limits lifted", _TRY + "import resource\n"
     "for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE):\n"
     "    attempt(which, lambda: resource.setrlimit(which, (1 << 30, 1 << 30)))\n"
     "print('tried')", ENDED, "tried"),
)  # fmt: skip


def cases() -> Iterator[Case]:
    """Scripts, then bundles."""
    for name, source, ends, said in _SCRIPTS:
        bait = "{socket}" if name == "network" else "{file}"
        yield Case(
            name=name,
            kind=PYTHON,
            algorithm=_constant(source.encode()),
            codes=ends,
            said=said.encode(),
            args=(bait,),
            limits=replace(SMALL, memory_bytes=128 << 20),
        )
    for name, bundle, ends in _BUNDLES:
        yield Case(
            name=f"bundle: {name}",
            kind=PYTHON,
            algorithm=_constant(b"print('started')"),
            bundle=bundle,
            codes=ends,
        )


def _constant(raw: bytes) -> Callable[[], bytes]:
    return lambda: raw


def _packed(wheel: bytes, name: str = "evil") -> bytes:
    lock = wheels.locked(name, wheel).encode()
    return wheels.zipped({"requirements.txt": lock, f"{name}-1.0-py3-none-any.whl": wheel})


def _with_link() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("evil/passwd")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("evil-1.0.dist-info/WHEEL", wheels.WHEEL_FILE)
    return _packed(out.getvalue())


def _bomb() -> bytes:
    return _packed(wheels.wheel("evil", {f"evil/{n}": bytes(8 << 20) for n in range(40)}))


def _twice() -> bytes:
    one, other = (wheels.wheel(name, {"same.py": b""}) for name in ("one", "two"))
    lock = (wheels.locked("one", one) + wheels.locked("two", other)).encode()
    return wheels.zipped({
        "requirements.txt": lock,
        "one-1.0-py3-none-any.whl": one,
        "two-1.0-py3-none-any.whl": other,
    })  # fmt: skip


def _changed() -> bytes:
    lock = wheels.locked("evil", b"another").encode()
    wheel = wheels.wheel("evil", {"evil.py": b""})
    return wheels.zipped({"requirements.txt": lock, "evil-1.0-py3-none-any.whl": wheel})


def _linked_tar() -> bytes:
    link = File(kind=b"2", link="/etc/passwd")
    return tar({"requirements.txt": File(content=b""), "evil-1.0-py3-none-any.whl": link})


_BUNDLES: Final = (
    ("a wheel that leads out", lambda: _packed(wheels.wheel("evil", {"../../escaped": b"x"})),
     frozenset({"bundle.wheel"})),
    ("a wheel with an absolute name", lambda: _packed(wheels.wheel("evil", {"/tmp/x": b"x"})),
     frozenset({"bundle.wheel"})),
    ("a wheel with a link", _with_link, frozenset({"bundle.wheel"})),
    ("320 megabytes of zeros", _bomb, frozenset({"bundle.too_large"})),
    ("two wheels with the same file", _twice, frozenset({"bundle.wheel"})),
    ("a wheel other than the lock's", _changed, frozenset({"bundle.hash"})),
    ("a tar with a link for a wheel", _linked_tar, frozenset({"bundle.archive"})),
    ("a path file that runs code",
     lambda: _packed(wheels.wheel("evil", {"evil.pth": b"import sys; print('ESCAPED pth')\n"})),
     ENDED),
)  # fmt: skip
