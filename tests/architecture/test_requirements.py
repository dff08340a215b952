"""The lock and the members' own declarations say the same."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = sorted(path for pattern in ("shared", "cli", "services/*") for path in ROOT.glob(pattern))


# Needs libvirt's own development files, so it has a lock of its own, and setup does without.
APART = "libvirt"


def declared(path: Path) -> set[str]:
    project = tomllib.loads((path / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {})
    lists = [
        project.get("dependencies", []),
        *(items for name, items in extras.items() if name != APART),
    ]
    return {item for items in lists for item in items if not item.startswith("atoll")}


def listed() -> set[str]:
    lines = (ROOT / "requirements" / "dev.in").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def test_every_member_is_found() -> None:
    assert len(MEMBERS) == 6


def test_every_dependency_of_a_member_is_in_the_input_of_the_lock() -> None:
    wanted = {requirement for member in MEMBERS for requirement in declared(member)}

    assert wanted <= listed()


def test_the_workspace_lists_the_same_tools() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    wanted = {requirement for member in MEMBERS for requirement in declared(member)}

    assert set(group) | wanted == listed()


@pytest.mark.parametrize(("lock", "least"), [("dev.txt", 20), ("infra.txt", 3)])
def test_every_requirement_is_pinned_with_hashes_and_names_no_host(lock: str, least: int) -> None:
    text = (ROOT / "requirements" / lock).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())

    assert len(entries) > least
    assert "://" not in text
    assert all(re.match(r"[\w.-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


def test_the_locks_agree_on_what_is_in_both() -> None:
    texts = [(ROOT / "requirements" / lock).read_text() for lock in ("dev.txt", "infra.txt")]
    pins = [dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE)) for text in texts]

    assert {name: pins[1][name] for name in pins[0].keys() & pins[1].keys()} == {
        name: pins[0][name] for name in pins[0].keys() & pins[1].keys()
    }


def test_the_extra_that_is_built_has_a_lock_of_its_own() -> None:
    manager = tomllib.loads((ROOT / "services/manager/pyproject.toml").read_text())["project"]
    wanted = manager["optional-dependencies"][APART]
    lines = (ROOT / "requirements" / "libvirt.in").read_text().splitlines()
    text = (ROOT / "requirements" / "libvirt.txt").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())

    assert {line for line in lines if not line.startswith("#")} == {*wanted, "setuptools>=80"}
    assert "://" not in text
    assert all(re.match(r"[\w.-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


def test_siblings_are_pinned_exactly() -> None:
    for member in MEMBERS:
        project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
        siblings = [item for item in project["dependencies"] if item.startswith("atoll")]

        assert all(item.endswith(f"=={project['version']}") for item in siblings), member
