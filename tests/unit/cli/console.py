"""The command in this process, without a stack."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from atoll_cli import main


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command line gave."""

    status: int
    out: str
    err: str

    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Console:
    """Runs command lines as `main` does, with an ATOLL_HOME of its own."""

    home: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Said:
        status = main.execute(
            [str(argument) for argument in arguments], {"ATOLL_HOME": str(self.home), **(env or {})}
        )
        out, err = self.capture.readouterr()
        return Said(status=status, out=out, err=err)
