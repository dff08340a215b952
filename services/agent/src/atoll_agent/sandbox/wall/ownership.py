"""Whose files a guest finds and leaves.

An agent that is root gives its guests another user, so that limits per user hold and nothing
that root may do is a guest's: what the guest reads and writes is made that user's first. What
a guest left is made readable before anybody looks, for it can take its own rights away.
"""

import os
import shutil
import stat
from pathlib import Path

from atoll_agent.sandbox.limits import MAX_DEPTH
from atoll_agent.sandbox.step import StepSpace

_NOT_COPIED = shutil.ignore_patterns(
    "site-packages", "dist-packages", "test", "tests", "__pycache__", "ensurepip", "idlelib",
    "tkinter", "turtledemo", "lib2to3", "pydoc_data", "config-3*",
)  # fmt: skip


def give(space: StepSpace, user: int) -> None:
    """Make everything of a step the guest's: who owns it, not where it can be reached from."""
    for top in (space.data, space.bundle, space.results):
        if top.is_dir():
            _chown(top, user)
            for folder, folders, files in os.walk(top, followlinks=False):
                for name in (*folders, *files):
                    _chown(Path(folder, name), user)
    for path in (space.algorithm, space.stdout, space.stderr):
        _chown(path, user)


def open_way(folder: Path) -> None:
    """Let other users pass through to `folder`, not list: as far up as its file system is ours."""
    device = folder.stat().st_dev
    for path in (folder, *folder.parents):
        status = path.stat()
        if status.st_dev != device or status.st_uid != os.geteuid():
            return
        path.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)


def reachable(path: Path) -> bool:
    """Whether a user that owns nothing may read what `path` names."""
    real = Path(os.path.realpath(path))
    passable = all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    return passable and bool(real.stat().st_mode & stat.S_IROTH)


def brought_near(path: Path, folder: Path) -> Path:
    """A copy of what only root can reach, in `folder`, that every user may read.

    Of an interpreter's library it leaves out what no workload needs. Blocks.
    """
    folder.mkdir(mode=0o755, exist_ok=True)
    target = folder / str(len(list(folder.iterdir())))
    if path.is_dir():
        shutil.copytree(path, target, ignore=_NOT_COPIED, ignore_dangling_symlinks=True)
        for name in ("site-packages", "dist-packages"):  # the wall covers them
            if (path / name).is_dir():
                (target / name).mkdir()
    else:
        shutil.copy(path, target)
    for top, folders, files in os.walk(target):
        for name in (*folders, *files):
            item = Path(top, name)
            if not item.is_symlink():
                item.chmod(item.stat().st_mode | (0o555 if item.is_dir() else 0o444))
    target.chmod(0o755)
    return target


def take_back(space: StepSpace) -> None:
    """Make files and logs readable for the agent. The guest must be gone.

    Does not follow links and does not descend deeper than a result may be.
    """
    for path in (space.stdout, space.stderr):
        path.chmod(0o600)
    _open_up(str(space.results), 0)


def _open_up(folder: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        return
    with os.scandir(folder) as listing:
        for entry in listing:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISREG(mode) and mode & 0o7777 != 0o600:  # noqa: PLR2004 - the mode it gets
                os.chmod(entry.path, 0o600)  # noqa: PTH101 - a name of any bytes
            elif stat.S_ISDIR(mode):
                os.chmod(entry.path, 0o700)  # noqa: PTH101
                _open_up(entry.path, depth + 1)


def _chown(path: Path, user: int) -> None:
    if path.lstat().st_uid != user:
        os.chown(path, user, user, follow_symlinks=False)
