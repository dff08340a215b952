"""Published attestation vectors, read from where `ATOLL_VECTORS` says.

They are other people's data and not part of this repository. Without them the tests
that need them are skipped at a desk and fail in CI.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def folder() -> Path:
    """Where the vectors are, whether or not they are there."""
    named = os.environ.get("ATOLL_VECTORS")  # noqa: TID251
    return Path(named) if named else PROJECT / ".." / "shared" / "vectors"


@cache
def of_kind(kind: str) -> tuple[dict[str, Any], ...]:
    """The cases of one kind; none if the vectors are not there."""
    manifest = folder() / "manifest.json"
    if not manifest.is_file():
        return ()
    cases = json.loads(manifest.read_text("utf-8"))["vectors"]
    return tuple(case for case in cases if case["kind"] == kind)


def all_kinds() -> set[str]:
    """The kinds that the manifest has cases of; none if the vectors are not there."""
    manifest = folder() / "manifest.json"
    if not manifest.is_file():
        return set()
    return {case["kind"] for case in json.loads(manifest.read_text("utf-8"))["vectors"]}


def require() -> None:
    """Skip, or fail in CI, if the vectors are not there."""
    if not (folder() / "manifest.json").is_file():
        reason = f"no vectors in {folder()}; set ATOLL_VECTORS"
        if os.environ.get("CI") == "true":  # noqa: TID251
            pytest.fail(reason)
        pytest.skip(reason)


def read(path: str) -> bytes:
    """A file of the vectors."""
    return (folder() / path).read_bytes()


def find(kind: str, **wanted: Any) -> dict[str, Any]:
    """The first case of a kind with these values, in the case itself or in what is expected."""
    require()
    return next(
        case
        for case in of_kind(kind)
        if all(case.get(key, case["expected"].get(key)) == value for key, value in wanted.items())
    )
