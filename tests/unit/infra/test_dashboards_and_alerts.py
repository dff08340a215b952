"""Dashboard and alerts are PromQL about metrics that are exported, with labels that they have."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from atoll.telemetry.metrics import table
from unit.infra import promql

INFRA: Final = Path(__file__).resolve().parents[3] / "infra"
ALERTS: Final = yaml.safe_load((INFRA / "prometheus" / "alerts.yaml").read_text())
DASHBOARD: Final = json.loads((INFRA / "grafana" / "atoll.json").read_text())
RULES: Final = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SEVERITIES: Final = {"page", "ticket"}


def targets() -> list[tuple[str, str, str]]:
    return [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in PANELS
        for target in panel["targets"]
    ]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_exported(rule: dict[str, Any]) -> None:
    assert promql.mistakes(rule["expr"]) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do_and_names_labels_that_it_has(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == {"summary", "action"}
    said = " ".join(rule["annotations"].values())
    used = set(re.findall(r"\$labels\.(\w+)", said))
    assert used <= promql.yielded(promql.parse(rule["expr"]))
    # Templates of ours are labels, the value, and the value as a percentage; nothing else.
    rest = re.sub(r"\{\{ \$(labels\.\w+|value( \| humanizePercentage)?) \}\}", "", said)
    assert "{{" not in rest
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in RULES]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"Atoll[A-Za-z]+", name) for name in names)


@pytest.mark.parametrize(("title", "expr", "legend"), targets())
def test_a_panel_asks_for_what_is_exported(title: str, expr: str, legend: str) -> None:
    assert promql.mistakes(expr) == [], title
    used = set(re.findall(r"\{\{(\w+)\}\}", legend))
    assert used <= promql.yielded(promql.parse(expr)), title


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len(set(ids)) == len(ids)


def test_panels_take_the_source_that_the_viewer_chose() -> None:
    (variable,) = DASHBOARD["templating"]["list"]

    assert (variable["name"], variable["query"]) == ("datasource", "prometheus")
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in PANELS)


def test_the_scrape_configuration_gives_the_labels_that_are_relied_on() -> None:
    config = yaml.safe_load((INFRA / "prometheus" / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]

    assert job["job_name"] == "atoll"
    assert {each["labels"]["service"] for each in job["static_configs"]} == {
        "gateway",
        "attestor",
        "manager",
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("atoll_nothing > 0", "no such metric"),
        ('atoll_jobs{tenant="x"}', "no label tenant"),
        ('atoll_jobs{state="completed"}', "is never completed"),
        ('atoll_queue_pending{queue=~"SPAWN|SPAN"}', "is never SPAN"),
        ("sum by (code) (atoll_jobs)", "grouped by code"),
        ("rate(atoll_request_duration_seconds[5m])", "no such metric"),
    ],
)
def test_what_nobody_exports_would_be_found(text: str, why: str) -> None:
    assert why in " ".join(promql.mistakes(text))


def test_what_is_no_promql_would_be_found() -> None:
    with pytest.raises(ValueError, match=r"."):
        promql.parse("sum(rate(atoll_jobs_ended_total[5m])")


def test_operations_names_alerts_and_metrics_that_exist() -> None:
    text = (INFRA.parent / "docs" / "operations.md").read_text()
    alerts = set(re.findall(r"`(Atoll[A-Z]\w+)`", text))
    metrics = set(re.findall(r"`(atoll_\w+)", text)) - {"atoll_"}

    assert alerts
    assert alerts <= {rule["alert"] for rule in RULES}
    assert metrics <= set(promql.KNOWN) | {each.name for each in table.METRICS}
