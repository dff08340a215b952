"""Judge published vectors of one kind through the `judge_*` functions."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from atoll.evidence.judged import Judged
from support import vectors

Judge = Callable[..., Judged]


def judge(function: Judge, case: dict[str, Any]) -> Judged:
    """The verdict from the case's inputs alone, never from what is expected."""
    vectors.require()
    files = {
        role: vectors.read(path) if isinstance(path, str) else [vectors.read(one) for one in path]
        for role, path in case["files"].items()
    }
    moment = case.get("verify_time")
    return function(
        vectors.read(case["path"]),
        files=files,
        params=case.get("params", {}),
        policy=case["policy"],
        verify_time=datetime.fromisoformat(moment) if moment else None,
    )


def agrees(function: Judge, case: dict[str, Any]) -> None:
    """Assert verdict and, where the vector names one, reason."""
    got, expected = judge(function, case), case["expected"]
    assert got.verdict == expected["verdict"], got
    if "reason" in expected:
        assert got.reason == expected["reason"]
    assert (got.reason == "") == (got.verdict != "invalid")


def name(case: dict[str, Any]) -> str:
    """For `ids=`."""
    return str(case["id"])
