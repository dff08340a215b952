"""Rules for every test: in CI a skip is a failure, for a missing component hides what it tests."""

import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from atoll.wire import level

LONGEST_NAME = 16
IN_CI = os.environ.get("CI") == "true"  # noqa: TID251


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, Any, None]:
    """Turn a skip into a failure where nothing may be missing."""
    outcome = yield
    report = outcome.get_result()
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI: {report.longrepr}"


@pytest.hookimpl
def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a blob by its parameter and place: keys are fresh in each process, names must not be."""
    return argname if isinstance(val, bytes) and len(val) > LONGEST_NAME else None


@pytest.fixture(autouse=True)
def newest_level() -> Iterator[None]:
    """What a process speaks is one value: no test leaves it to the next."""
    yield
    level.limit(level.NEWEST)
    level.write(level.NEWEST)
