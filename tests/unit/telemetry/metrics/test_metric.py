"""A metric follows Prometheus's conventions, and its labels stay few whatever peers send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from atoll.errors import ConfigError
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import MAX_CODES, OTHER, UNMETERED, Kind, Label, Metric
from atoll.telemetry.metrics.prometheus import LOOPBACK, PrometheusMeter, parse_address


def samples(meter: PrometheusMeter) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page = generate_latest(meter.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def metric(
    name: str, kind: Kind = Kind.GAUGE, *, unit: str = "", buckets: tuple[float, ...] = ()
) -> Metric:
    return Metric(name=name, kind=kind, text="x", services=("gateway",), unit=unit, buckets=buckets)


@pytest.mark.parametrize(
    ("name", "kind", "unit", "buckets"),
    [
        ("jobs", Kind.GAUGE, "", ()),
        ("atoll_Jobs", Kind.GAUGE, "", ()),
        ("atoll_jobs", Kind.COUNTER, "", ()),
        ("atoll_jobs_total", Kind.GAUGE, "", ()),
        ("atoll_wait", Kind.GAUGE, "seconds", ()),
        ("atoll_wait_ms", Kind.GAUGE, "ms", ()),
        ("atoll_wait_seconds", Kind.HISTOGRAM, "seconds", ()),
        ("atoll_wait_seconds", Kind.GAUGE, "seconds", (1.0,)),
    ],
)
def test_a_metric_against_the_conventions_is_none(
    name: str, kind: Kind, unit: str, buckets: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match=r"atoll_|jobs"):
        metric(name, kind, unit=unit, buckets=buckets)


def test_names_in_the_table_are_unique_and_each_is_somebodys() -> None:
    names = [series for each in table.METRICS for series in each.series]

    assert len(set(names)) == len(names)
    assert not set(names) & set(table.STANDARD)
    assert all(
        each.services and set(each.services) <= set(table.SERVICES) for each in table.METRICS
    )


def test_every_constant_of_the_table_is_in_it() -> None:
    constants = {value.name for value in vars(table).values() if isinstance(value, Metric)}

    assert constants == {each.name for each in table.METRICS}


def test_codes_beyond_the_limit_are_counted_as_other() -> None:
    meter = PrometheusMeter("gateway")
    for number in range(MAX_CODES + 10):
        meter.count(table.JOBS_ENDED, state="failed", code=f"guest.c{number}")
    meter.count(table.JOBS_ENDED, state="failed", code="guest.c0")

    found = {dict(labels)["code"]: value for (name, labels), value in samples(meter).items()
             if name == "atoll_jobs_ended_total"}  # fmt: skip
    assert len(found) == MAX_CODES + 1
    assert found[OTHER] == 10
    assert found["guest.c0"] == 2


def test_a_value_outside_a_closed_set_is_our_mistake() -> None:
    meter = PrometheusMeter("gateway")

    with pytest.raises(ValueError, match="state='gone'"):
        meter.count(table.JOB_CHANGES, state="gone")
    with pytest.raises(KeyError):
        meter.put(table.SLOTS, 1)  # a manager's
    with pytest.raises(ValueError, match="no labels"):
        meter.put(table.OUTBOX, 1, job="x")


def test_what_has_not_happened_is_zero_where_its_labels_are_known() -> None:
    found = samples(PrometheusMeter("gateway"))

    assert found["atoll_job_changes_total", (("state", "completed"),)] == 0


def test_gauges_are_followed_and_forgotten() -> None:
    meter = PrometheusMeter("gateway")
    now = [3.0]
    meter.follow(table.OUTBOX, lambda: now[0])
    meter.put(table.STREAM_BYTES, 7, stream="EVENTS")
    key = ("atoll_stream_bytes", (("stream", "EVENTS"),))
    before = samples(meter)
    now[0] = 4.0
    meter.clear(table.STREAM_BYTES)
    after = samples(meter)

    assert before["atoll_outbox_jobs", ()] == 3.0
    assert before[key] == 7.0
    assert after["atoll_outbox_jobs", ()] == 4.0
    assert key not in after


def test_who_exports_nothing_counts_into_nothing() -> None:
    UNMETERED.count(table.SUBMISSIONS, outcome="accepted", code="ok")
    UNMETERED.observe(table.HTTP_TIME, 1.0, operation="x")
    UNMETERED.put(table.OUTBOX, 1)
    UNMETERED.clear(table.OUTBOX)
    UNMETERED.follow(table.OUTBOX, lambda: pytest.fail("nobody asks"))


def test_no_label_can_name_a_tenant_a_job_or_a_host() -> None:
    open_labels = {
        label.name for each in table.METRICS for label in each.labels if not label.values
    }

    # Each of these is ours: a code, a row of a table of the source, our own release.
    assert open_labels == {"code", "endpoint", "operation", "status", "version", "protocol"}
    assert Label("code") == table.CODE


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("9464", (LOOPBACK, 9464)),
        (":9464", (LOOPBACK, 9464)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:80", ("::1", 80)),
        ("metrics.example:1", ("metrics.example", 1)),
    ],
)
def test_an_address_is_on_loopback_unless_it_says_otherwise(
    text: str, found: tuple[str, int]
) -> None:
    assert parse_address(text) == found


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        host, port = parse_address(text)
    except ConfigError as error:
        host, port = error.code, 0
    assert host
    assert 0 <= port <= 65_535
