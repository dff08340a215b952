import pytest

from atoll.telemetry import names
from atoll.telemetry.allow import sanitise
from atoll.wire import subjects
from unit.telemetry.spans import make


def test_messaging_spans_are_named_by_template_and_never_by_subject() -> None:
    assert names.messaging_span("send", subjects.SPAWN) == "send atoll.v1.spawn.{tee}"
    assert names.messaging_span("process", subjects.SPAWN) == "process atoll.v1.spawn.{tee}"


def test_an_operation_without_a_name_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="no span"):
        names.messaging_span("shout", subjects.SPAWN)


@pytest.mark.parametrize("operation", sorted(names.OPERATIONS))
def test_messaging_attributes_pass_the_allow_list(operation: str) -> None:
    attributes = names.messaging_attributes(operation, subjects.SPAWN, size=1024)
    name = names.messaging_span(operation, subjects.SPAWN)
    span = make(1, name=name, attributes=attributes)
    assert sanitise(span) == span


def test_every_subject_of_the_bus_is_a_destination() -> None:
    assert subjects.TELEMETRY_TRACES.template in names.DESTINATIONS
    assert subjects.JOBS_SUBMIT.template in names.DESTINATIONS


def test_span_names_hold_no_digits_of_one_job() -> None:
    assert not [
        name for name in names.SPAN_NAMES if any(c.isdigit() for c in name.replace("v1", ""))
    ]
