"""What to start for a binary and for a python step, and what of this host they may read.

A dynamic binary and the interpreter see the C library and its like from where the distribution
keeps them: the guest image's, which is measured with it. They see no other program, no
site-packages and nothing of the agent.
"""

import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from atoll.errors import InputError
from atoll_agent.sandbox.outcome import Kind
from atoll_agent.sandbox.step import Step
from atoll_agent.sandbox.wall.elf import MAX_HEAD, parse_program
from atoll_agent.sandbox.wall.root import ALGORITHM, BUNDLE, Mount, Program
from atoll_agent.sandbox.wall.syscalls import Architecture

MAX_STRING: Final = 128 << 10
"""MAX_ARG_STRLEN: what execve takes for one argument or one NAME=value, its NUL included."""
_OBEYED: Final = re.compile(r"(?:LD_|PYTHON|GLIBC_|MALLOC_|NLSPATH|LOCPATH|GCONV_PATH).*")
"""What a loader, a C library or an interpreter obeys before the algorithm has a say."""
_ENTRY: Final = re.compile(
    r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)?", re.ASCII
)
MAX_ENTRY: Final = 256
_HOME: Final = {"HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108 - the guest's own
_CALL: Final = """\
import sys
from functools import reduce
from importlib import import_module
module, _, name = sys.argv.pop(1).partition(":")
sys.argv[0] = name
sys.exit(reduce(getattr, name.split("."), import_module(module))())
"""


def binary(step: Step, architecture: Architecture) -> Program:
    """The step's own file, and the libraries if it wants a loader.

    Raises:
        InputError: `workload.not_elf`, `workload.wrong_architecture`, `workload.arguments`.
    """
    require_native(step.args, step.env)
    with step.space.algorithm.open("rb") as file:
        parsed = parse_program(file.read(MAX_HEAD), machine=architecture.elf)
    mounts, links = libraries(architecture) if parsed.loader else ((), ())
    return Program(
        argv=(ALGORITHM, *step.args), env=_HOME | dict(step.env), mounts=mounts, links=links
    )


def python(step: Step, architecture: Architecture) -> Program:
    """This agent's interpreter with the script, or the entry point of a wheel.

    No user site, no site-packages, no current directory on the path; the bundle, and the
    algorithm itself if it is an archive of modules, are. Hashes are not randomised, so that a
    run can be repeated.

    Raises:
        InputError: `workload.entry`, `workload.arguments`.
    """
    require_native(step.args, step.env)
    start = [interpreter(), "-B", "-s", "-P"]
    if not step.entry:
        start += [ALGORITHM]
    elif len(step.entry) > MAX_ENTRY or not _ENTRY.fullmatch(step.entry):
        raise InputError(
            "the entry point is not `module` or `module:function`", code="workload.entry"
        )
    else:
        start += ["-c", _CALL, step.entry] if ":" in step.entry else ["-m", step.entry]
    mounts, links = libraries(architecture)
    mounts += _interpreter_mounts()
    if step.space.bundle.is_dir():
        mounts += (Mount(source=step.space.bundle, target=BUNDLE),)
    own = {"PYTHONPATH": f"{BUNDLE}:{ALGORITHM}", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
    return Program(
        argv=(*start, *step.args),
        env=_HOME | own | dict(step.env),
        mounts=mounts,
        links=links,
        covered=_site_packages(),
    )


def require_native(args: tuple[str, ...], env: Mapping[str, str]) -> None:
    """Refuse what execve does not take, and names that would change whose code runs.

    Raises:
        InputError: `workload.arguments`.
    """
    for index, value in enumerate(args):
        _require_length(value, f"argument {index + 1}")
    for index, (name, value) in enumerate(env.items()):
        if _OBEYED.fullmatch(name):
            raise InputError(
                f"environment variable {index + 1} is one that the loader or the interpreter obeys",
                code="workload.arguments",
            )
        _require_length(f"{name}={value}", f"environment variable {index + 1}")


def _require_length(value: str, what: str) -> None:
    size = len(value.encode("utf-8")) + 1
    if size > MAX_STRING:
        raise InputError(
            f"{what} takes {size} bytes, a program can get at most {MAX_STRING}",
            code="workload.arguments",
        )


def libraries(architecture: Architecture) -> tuple[tuple[Mount, ...], tuple[tuple[str, str], ...]]:
    """Mounts and links for shared libraries: the multiarch directory, or lib64, and the loaders."""
    folders = (f"/usr/lib/{architecture.machine}-linux-gnu", "/usr/lib64")
    mounts = [Mount(source=Path(name), target=name) for name in folders if Path(name).is_dir()]
    links: list[tuple[str, str]] = []
    for name in ("/lib", "/lib64"):
        path = Path(name)
        if path.is_symlink():
            links.append((str(path.readlink()), name))
        elif path.is_dir():
            target = path if name == "/lib64" else path / f"{architecture.machine}-linux-gnu"
            if target.is_dir():
                mounts.append(Mount(source=target, target=str(target)))
    for loader in Path("/lib").glob("ld-*"):
        target = loader if not Path("/lib").is_symlink() else Path("/usr/lib") / loader.name
        mounts.append(Mount(source=loader.resolve(), target=str(target)))
    cache = Path("/etc/ld.so.cache")
    if cache.is_file():
        mounts.append(Mount(source=cache, target=str(cache)))
    return tuple(mounts), tuple(links)


def interpreter() -> str:
    """The real file of the interpreter, not a virtual environment's link to it."""
    return os.path.realpath(sys.executable)


def _stdlib() -> Path:
    return Path(os.path.realpath(sysconfig.get_path("stdlib")))


def _interpreter_mounts() -> tuple[Mount, ...]:
    """The interpreter, its library and its standard library, where they are here."""
    paths = [Path(interpreter()), _stdlib()]
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    if folder and name and (library := Path(folder) / name).is_file():
        paths.append(library)
    return tuple(Mount(source=path, target=str(path)) for path in paths)


def _site_packages() -> tuple[str, ...]:
    return tuple(
        str(path)
        for name in ("site-packages", "dist-packages")
        if (path := _stdlib() / name).is_dir()
    )


def refusal(error: InputError) -> Kind | None:
    """The way to end that stands for an error of these functions; None for wrong arguments."""
    try:
        return Kind(error.code)
    except ValueError:
        return None
