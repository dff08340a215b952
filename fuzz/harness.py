"""What one input may do to a parser: be accepted, or be refused with its documented error.

Anything else that escapes is a finding. `one_input` needs nothing but the project; `main`
runs a target under atheris, which is not among the project's requirements.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parser, and the errors that its docstring names."""

    parse: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    roles: tuple[str, ...]
    """Beginnings of file names in `tests/vectors/files` that are good seeds."""


def one_input(target: Target, data: bytes) -> bool:
    """Whether the parser accepted; every error but the documented ones goes through."""
    try:
        target.parse(data)
    except target.refusals:
        return False
    return True


def main(name: str) -> None:
    """Fuzz the target of this name until libFuzzer's options end it."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["atoll"]):
        targets = importlib.import_module("fuzz.targets")
    target = targets.TARGETS[name]

    def test_one_input(data: bytes) -> None:
        one_input(target, data)

    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
