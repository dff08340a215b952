"""What an operator says of a host is told as it is, or refused."""

import pytest

from atoll.errors import ConfigError
from atoll.wire.hosts import HostState, HostWish
from atoll.wire.placement import MAX_LABELS
from atoll_manager import capacity
from atoll_manager.orders import host_state


def test_labels_are_names_with_values() -> None:
    assert capacity.labels(("zone=a", "gpu=h100")) == {"zone": "a", "gpu": "h100"}
    assert capacity.labels(()) == {}


@pytest.mark.parametrize(
    "items",
    [("zone",), ("zone=",), ("=a",), ("-a=b",), ("a.b=c",), ("a=b c",), ("a=1", "a=2"), ("a=b=c",)],
)
def test_a_label_that_is_none_stops_the_start(items: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        capacity.labels(items)
    assert caught.value.code == "config.invalid"


def test_tenants_are_names_each_once() -> None:
    assert capacity.tenants(("north", "south")) == ("north", "south")
    for items in (("a b",), ("north", "north"), tuple(f"t{n}" for n in range(65))):
        with pytest.raises(ConfigError) as caught:
            capacity.tenants(items)
        assert caught.value.code == "config.invalid"


def test_too_many_labels_stop_the_start() -> None:
    with pytest.raises(ConfigError):
        capacity.labels(tuple(f"l{n}=v" for n in range(MAX_LABELS + 1)))


def test_the_machine_has_something() -> None:
    assert capacity.machine_cpus() >= 1
    assert capacity.machine_memory() > 1 << 20


@pytest.mark.parametrize(
    ("wish", "busy", "state"),
    [
        (HostWish.ACTIVE, 0, HostState.ACTIVE),
        (HostWish.ACTIVE, 1, HostState.ACTIVE),
        (HostWish.DRAIN, 1, HostState.DRAINING),
        (HostWish.DRAIN, 0, HostState.DRAINED),
        (HostWish.DRAIN_NOW, 2, HostState.DRAINING),
        (HostWish.DRAIN_NOW, 0, HostState.DRAINED),
    ],
)
def test_a_host_is_drained_when_nothing_runs(wish: HostWish, busy: int, state: HostState) -> None:
    assert host_state(wish, busy) is state
