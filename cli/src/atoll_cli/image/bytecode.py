"""Compiles the Python of an image, with the image's own interpreter.

Another interpreter, even another patch release, makes other bytes. So the image's own is started,
through the image's own loader, on files of the tree written to a temporary folder; nothing of
this machine's libraries is used, and no privilege is needed. Source: PEP 552 (pycs that
name the hash of their source and are taken without looking at it: time plays no part).
"""

import platform
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError
from atoll_cli.image.contents import LIBRARIES, LOADER, PYTHON
from atoll_cli.image.refusal import refuse, shown
from atoll_cli.image.tree import File, Link, Tree

TIMEOUT_S: Final = 600
_PROGRAM: Final = """
import py_compile, sys
from importlib.util import cache_from_source
root = sys.argv[1]
for line in sys.stdin:
    path = line.rstrip("\\n")
    py_compile.compile(
        f"{root}/{path}", cfile=cache_from_source(f"{root}/{path}"), dfile=f"/{path}", doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
"""


def compile_tree(tree: Tree) -> None:
    """Add a compiled file beside each `*.py`.

    Raises:
        ConfigError: `image.host`: this machine cannot run the image's programs.
        InputError: `image.bytecode`: a source is no Python.
    """
    if platform.machine() != "x86_64":
        raise ConfigError(
            f"an image is built on x86_64, and this is {platform.machine()}", code="image.host"
        )
    sources = [path for path, entry in tree if path.endswith(".py") and isinstance(entry, File)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write(tree, root)
        _run(root, sources)
        for path in sources:
            base, _, name = path.rpartition("/")
            cached = f"{base}/__pycache__/{name.removesuffix('.py')}.cpython-313.pyc"
            tree.add(cached, File((root / cached).read_bytes()))


def _run(root: Path, sources: list[str]) -> None:
    command = [
        *(str(root / LOADER), "--library-path", str(root / LIBRARIES), f"{root}{PYTHON}"),
        *("-S", "-P", "-B", "-c", _PROGRAM, str(root)),
    ]
    # Order of sets, and so the order of constants in them, comes from the seed.
    environment = {"PYTHONHASHSEED": "0", "PYTHONHOME": f"{root}/usr", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(  # noqa: S603 - of packages that the lock names by their hash
            command,
            env=environment,
            input="".join(f"{path}\n" for path in sources).encode("ascii"),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(
            f"the image's interpreter does not run here: {shown(error)}", code="image.host"
        ) from error
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        raise refuse("bytecode", f"the image's interpreter says {shown(last)}")


def _write(tree: Tree, root: Path) -> None:
    for path, entry in tree:
        target = root / path
        if isinstance(entry, File):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(entry.content)
            target.chmod(0o755 if entry.runnable else 0o644)
        elif isinstance(entry, Link):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(entry.target)
