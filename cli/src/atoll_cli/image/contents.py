"""What the image takes of Debian's packages, and what it has of its own. Pure.

Taken is what is named here and nothing else: libraries, the interpreter with its standard
library, two programs. So there is no shell, no package manager, no login, no documentation,
because no rule takes them.
"""

import re
from collections.abc import Iterable
from typing import Final

from atoll_cli.image.kernel import ORDER_FILE, Kernel
from atoll_cli.image.tree import Device, File, Folder, Link, Tree
from atoll_cli.image.wheels import FOLDER as OUR_FOLDER

PYTHON: Final = "/usr/bin/python3.13"
STDLIB: Final = "usr/lib/python3.13"
LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"
LOADER: Final = "usr/lib64/ld-linux-x86-64.so.2"
INIT: Final = f"""#!{PYTHON} -I
from atoll_agent.boot.main import main

main()
""".encode("ascii")

PROGRAMS: Final = (
    "usr/bin/python3.13",
    "usr/bin/bwrap",
    LOADER,
    f"{LIBRARIES}/ld-linux-x86-64.so.2",
)
"""What may be run; of the rest of Debian's files, none."""
_LIBRARY: Final = re.compile(rf"{LIBRARIES}/[A-Za-z0-9_+.-]+\.so(?:\.[0-9.]+)?")
_LIBRARIES_LEFT_OUT: Final = re.compile(
    r".*/lib(?:memusage|pcprofile|BrokenLocale|nsl|nss_compat|nss_hesiod|thread_db|c_malloc_debug)\W.*"
)
"""For debugging, and for naming services that nobody asks."""

_STDLIB_LEFT_OUT: Final = frozenset({
    "__phello__", "curses", "dbm", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "sqlite3",
    "test", "tests", "tkinter", "turtledemo",
})  # fmt: skip
_FILES_LEFT_OUT: Final = re.compile(
    r"(?:sitecustomize|turtle|antigravity|this)\.py|(?:readline|_curses|_curses_panel|_sqlite3|_dbm"
    r"|_gdbm|_tkinter|_test\w+|xxlimited\w*|_ctypes_test|_xxtestfuzz)\.cpython-\S+\.so|.*\.(?:txt|rst|exe)"
)
"""Windows for people, tests, jokes; and extensions whose libraries are not taken."""

_USERS: Final = "root:x:0:0::/:/nowhere\nnobody:x:65534:65534::/:/nowhere\n"
_GROUPS: Final = "root:x:0:\nnogroup:x:65534:\n"
_FOLDERS: Final = ("dev", "etc", "mnt", "proc", "run", "sys", "usr/bin", "usr/sbin", "var")


def is_taken(path: str) -> bool:
    """Whether the image takes this file of a package."""
    if path in PROGRAMS:
        return True
    if _LIBRARY.fullmatch(path):
        return _LIBRARIES_LEFT_OUT.fullmatch(path) is None
    if not path.startswith(f"{STDLIB}/"):
        return False
    parts = path.removeprefix(f"{STDLIB}/").split("/")
    if parts[0].startswith("config-") or _STDLIB_LEFT_OUT & set(parts[:-1]):
        return False
    return _FILES_LEFT_OUT.fullmatch(parts[-1]) is None


def add_own(tree: Tree, agent: Iterable[tuple[str, bytes]]) -> None:
    """Put in what is the same in a guest and in a container.

    Args:
        tree: gets it.
        agent: (path, content) of the packages `atoll` and `atoll_agent`.
    """
    for name in _FOLDERS:
        tree.add(name, Folder())
    tree.add("tmp", Folder(shared=True))
    for name in ("bin", "lib", "lib64", "sbin"):
        tree.add(name, Link(f"usr/{name}"))
    tree.add("etc/passwd", File(_USERS.encode("ascii")))
    tree.add("etc/group", File(_GROUPS.encode("ascii")))
    tree.add("etc/nsswitch.conf", File(b"passwd: files\ngroup: files\nhosts: files\n"))
    tree.add("etc/hosts", File(b"127.0.0.1 localhost\n"))
    for path, content in agent:
        tree.add(f"{OUR_FOLDER}/{path}", File(content))


def add_boot(tree: Tree, kernel: Kernel) -> None:
    """Put in what only a guest has: its first process, the console, modules and their order."""
    tree.add("init", File(INIT, runnable=True))
    tree.add("dev/console", Device(5, 1))
    for path, module in kernel.modules.items():
        tree.add(path, module)
    tree.add(ORDER_FILE, File(kernel.order))
