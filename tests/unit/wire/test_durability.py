"""How many copies of what."""

import pytest

from atoll.errors import ConfigError
from atoll.wire import topology
from atoll.wire.durability import EXPENDABLE, layout


@pytest.mark.parametrize("replicas", [1, 3, 5])
def test_all_that_promises_depend_on_has_as_many_copies_as_asked(replicas: int) -> None:
    made = layout(replicas)
    copies = {
        *(stream.replicas for stream in made.streams if stream.name not in EXPENDABLE),
        *(bucket.replicas for bucket in made.buckets),
        *(bucket.replicas for bucket in made.object_buckets),
    }
    assert copies == {replicas}
    assert {stream.persist for stream in made.streams if stream.name not in EXPENDABLE} == {
        "default"
    }


def test_what_is_expendable_has_one_copy_and_is_not_waited_for() -> None:
    expendable = [stream for stream in layout(3).streams if stream.name in EXPENDABLE]
    assert [(stream.replicas, stream.persist) for stream in expendable] == [(1, "async")]


def test_the_ledger_is_not_expendable() -> None:
    assert {"TELEMETRY"} == EXPENDABLE


def test_leaves_nothing_of_the_topology_out() -> None:
    made = layout(1)
    names = [[item.name for item in part] for part in (made.streams, made.buckets)]
    assert names == [[item.name for item in topology.STREAMS], [b.name for b in topology.BUCKETS]]
    assert made.consumers == topology.CONSUMERS
    assert made.object_buckets == topology.OBJECT_BUCKETS


@pytest.mark.parametrize("replicas", [0, 2, 4, -1, 7])
def test_refuses_other_numbers(replicas: int) -> None:
    with pytest.raises(ConfigError) as caught:
        layout(replicas)
    assert caught.value.code == "config.invalid"
