"""What a metrics page says, for tests."""

import urllib.request
from dataclasses import dataclass

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from atoll.telemetry.metrics.metric import Metric
from atoll.telemetry.metrics.prometheus import PrometheusMeter


@dataclass(frozen=True)
class Page:
    """One scrape, parsed by Prometheus's own client library."""

    text: str

    @classmethod
    def of(cls, meter: PrometheusMeter) -> "Page":
        return cls(generate_latest(meter.registry).decode())

    @classmethod
    def at(cls, url: str) -> "Page":
        with urllib.request.urlopen(url, timeout=10) as answer:
            return cls(str(answer.read().decode()))

    @property
    def families(self) -> dict[str, Family]:
        return {each.name: each for each in text_string_to_metric_families(self.text)}

    def value(self, metric: Metric | str, **labels: str) -> float | None:
        """Of the one series with these labels and no others; None: there is none."""
        name = metric if isinstance(metric, str) else metric.name
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None
