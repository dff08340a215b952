"""Fixtures for the command."""

from pathlib import Path

import pytest

from unit.cli.attest import Files
from unit.cli.console import Console


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Console:
    """The command with an empty ATOLL_HOME."""
    return Console(home=tmp_path / "home", capture=capsys)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A folder for evidence and what goes with it."""
    return Files(folder=tmp_path)
