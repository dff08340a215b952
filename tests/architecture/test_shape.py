"""The shape of the repository: small modules, and nothing about where it was made."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("shared", "services", "cli")
    for path in (ROOT / folder).rglob("src/**/*.py")
)
MAX_LINES = 400
LONG_WITH_A_REASON = {
    "shared/src/atoll/wire/schema.py",  # one reader and one schema writer per type of field
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_small_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    name = str(path.relative_to(ROOT))

    assert text.lstrip().startswith(('"""', 'r"""')), "a module begins with its docstring"
    assert len(text.splitlines()) <= MAX_LINES or name in LONG_WITH_A_REASON


def files() -> list[Path]:
    """Every file of the checkout that is not made by a command; of a worktree `.git` is a file."""
    made = {".git", ".venv", "build", "dist", "__pycache__"}
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in made and "cache" not in name and name != ".hypothesis"
        ]
        # `.git` is a file in a linked work tree.
        found += [Path(folder) / name for name in names if name not in {".coverage", ".git"}]
    return found


def test_no_file_names_a_package_registry_or_a_path_of_a_machine() -> None:
    hosts = re.compile(
        rb"(?:files\.pythonhosted|pypi|registry\.npmjs|deb\.debian|crates)\.(?:org|io)"
        rb"|/(?:root|work)/"
    )
    this = Path(__file__)
    found = [path for path in files() if path != this and hosts.search(path.read_bytes())]

    assert found == []
