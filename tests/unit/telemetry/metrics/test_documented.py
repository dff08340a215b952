"""`docs/metrics.md` says exactly what the table says."""

from pathlib import Path

from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import Label, Metric

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "metrics.md"


def shown(label: Label) -> str:
    return f"`{label.name}`" + (f" ({', '.join(label.values)})" if label.values else "")


def row(metric: Metric) -> str:
    labels = ", ".join(map(shown, metric.labels))
    services = "all" if metric.services == table.SERVICES else ", ".join(metric.services)
    cells = (f"`{metric.name}`", metric.kind.value, services, labels, metric.text)
    return f"| {' | '.join(cells)} |"


def test_the_document_has_a_row_for_every_metric_in_the_order_of_the_table() -> None:
    written = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `atoll_")]

    assert written == [row(metric) for metric in table.METRICS]


def test_the_document_names_the_standard_metrics() -> None:
    text = DOCUMENT.read_text()

    assert all(f"`{name}`" in text for name in table.STANDARD)
