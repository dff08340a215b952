"""Jobs of like needs meet in one queue, others never do, and a host is told from the outside."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.wire import names, schema, subjects, topology
from atoll.wire.hosts import HostRecord, HostState
from atoll.wire.messages import Tee
from atoll.wire.placement import (
    MAX_CPUS,
    Misfit,
    Needs,
    SpawnClass,
    class_of,
    consumer_of,
    misfit,
    plain,
    size_of,
)

GIB = 1 << 30
HOST = HostRecord(
    host_id="a",
    instance="i",
    machine="m",
    tees=(Tee.SIMULATED,),
    state=HostState.ACTIVE,
    slots=2,
    busy=0,
    cpus=8,
    memory_bytes=16 * GIB,
    has_room=True,
    labels={"gpu": "a100", "zone": "b"},
    started_ms=1,
    version="0",
)
token = st.from_regex(names.TOKEN, fullmatch=True)
name = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,30}", fullmatch=True)
labels = st.dictionaries(name, token, max_size=4)
needs = st.builds(
    Needs,
    memory_bytes=st.integers(0, 1 << 50),
    cpus=st.integers(0, MAX_CPUS),
    labels=labels,
    tenant=st.none() | token,
)
tees = st.sampled_from(Tee)


@given(tees, needs)
def test_a_class_has_room_for_its_jobs_and_wastes_at_most_half_again(
    tee: Tee, wanted: Needs
) -> None:
    place = class_of(tee, wanted).needs
    assert place.memory_bytes >= wanted.memory_bytes
    assert place.memory_bytes <= max(2 * GIB, wanted.memory_bytes * 3 // 2)
    assert wanted.cpus <= place.cpus <= wanted.cpus * 3 // 2
    assert (place.labels, place.tenant) == (wanted.labels, wanted.tenant)


@given(tees, needs)
def test_a_class_of_a_class_is_the_same(tee: Tee, wanted: Needs) -> None:
    place = class_of(tee, wanted)
    assert class_of(tee, place.needs) == place


@given(tees, needs, tees, needs)
def test_two_classes_share_a_queue_only_if_they_are_one(
    tee: Tee, one: Needs, other_tee: Tee, other: Needs
) -> None:
    left, right = class_of(tee, one), class_of(other_tee, other)
    assert (left.subject == right.subject) == (left == right)
    assert (left.consumer.name == right.consumer.name) == (left == right)


@given(tees, needs)
def test_a_queue_is_found_again_by_its_subject(tee: Tee, wanted: Needs) -> None:
    place = class_of(tee, wanted)
    consumer = consumer_of(place.subject)
    assert consumer == place.consumer
    assert consumer.filter == place.subject
    assert names.require_token(consumer.name, "consumer") == consumer.name
    size = size_of(place.subject)
    assert (size.memory_bytes, size.cpus) == (place.needs.memory_bytes, place.needs.cpus)


@given(tees, needs)
def test_an_entry_of_the_bucket_is_read_as_it_was_written(tee: Tee, wanted: Needs) -> None:
    place = replace(class_of(tee, wanted), used_ms=7)
    assert schema.decode(SpawnClass, schema.encode(place)) == place


@given(st.text())
def test_any_text_is_the_subject_of_a_class_or_of_none(text: str) -> None:
    for read in (consumer_of, size_of):
        try:
            read(text)
        except InputError as error:
            assert error.code == "name.invalid"  # noqa: PT017


def test_the_order_of_labels_does_not_matter() -> None:
    one = class_of(Tee.SIMULATED, Needs(labels={"a": "1", "b": "2"}))
    assert one.subject == class_of(Tee.SIMULATED, Needs(labels={"b": "2", "a": "1"})).subject


@pytest.mark.parametrize("tee", Tee)
@pytest.mark.parametrize("memory", [0, 1, 2 * GIB])
def test_small_jobs_without_further_needs_are_in_the_queue_that_everybody_has(
    tee: Tee, memory: int
) -> None:
    place = class_of(tee, Needs(memory_bytes=memory))
    assert place == plain(tee)
    assert place.is_plain
    assert place.is_sized
    assert place.consumer == topology.spawn_consumer(tee)


@pytest.mark.parametrize(
    ("wanted", "tokens"),
    [
        (Needs(memory_bytes=2 * GIB + 1), "m3c0.any"),
        (Needs(memory_bytes=5 * GIB, cpus=3), "m6c3.any"),
        (Needs(cpus=5), "m2c6.any"),
        (Needs(labels={"gpu": "a100"}), "m2c0.1aa3100aaa98fe83243c21ad"),
        (Needs(tenant="north"), "m2c0.8dd6f88e8f88cda8785b3976"),
        (Needs(destinations=("example.org:443",)), "m2c0.8380148f4166bc4be02b65c9"),
    ],
)
def test_what_a_queue_is_called(wanted: Needs, tokens: str) -> None:
    """Old messages and new managers must agree on it."""
    place = class_of(Tee.SIMULATED, wanted)
    assert place.subject == f"atoll.v1.spawn.simulated.{tokens}"
    assert not place.is_plain


def test_refuses_what_no_host_can_have() -> None:
    for wanted in (Needs(memory_bytes=(1 << 50) + 1), Needs(cpus=MAX_CPUS + 1)):
        with pytest.raises(InputError) as caught:
            class_of(Tee.SIMULATED, wanted)
        assert caught.value.code == "placement.too_large"


@pytest.mark.parametrize("size", ["m0c0", "m2c", "c0m2", "m02c0", "m2c00", "m12345678c0", "any"])
def test_refuses_a_size_that_is_none(size: str) -> None:
    with pytest.raises(InputError):
        size_of(subjects.SPAWN_CLASS.of("simulated", size, "any"))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Needs(), None),
        (Needs(memory_bytes=16 * GIB, cpus=8), None),
        (Needs(labels={"gpu": "a100"}), None),
        (Needs(memory_bytes=16 * GIB + 1), Misfit.MEMORY),
        (Needs(cpus=9), Misfit.CPUS),
        (Needs(labels={"gpu": "h100"}), Misfit.LABELS),
        (Needs(labels={"gpu": "a100", "disk": "fast"}), Misfit.LABELS),
        (Needs(tenant="north"), Misfit.TENANT),
        (Needs(destinations=("example.org:443",)), Misfit.EGRESS),
    ],
)
def test_a_host_of_everybody(wanted: Needs, found: Misfit | None) -> None:
    assert misfit(Tee.SIMULATED, wanted, HOST) is found


def test_a_host_must_let_out_to_every_destination() -> None:
    host = replace(HOST, egress=("example.org:443", "*.example.net:80"))
    for places, found in (
        (("example.org:443",), None),
        (("a.example.net:80", "example.org:443"), None),
        (("b.example.org:443", "example.org:443"), Misfit.EGRESS),
    ):
        assert misfit(Tee.SIMULATED, Needs(destinations=places), host) is found


def test_a_host_without_the_tee() -> None:
    assert misfit(Tee.SEV_SNP, Needs(), HOST) is Misfit.TEE


@pytest.mark.parametrize(
    ("tenant", "found"),
    [("north", None), ("south", None), ("west", Misfit.TENANT), (None, Misfit.TENANT)],
)
def test_a_dedicated_host_takes_what_asks_for_it_and_is_its_tenants(
    tenant: str | None, found: Misfit | None
) -> None:
    host = replace(HOST, tenants=("north", "south"))
    assert misfit(Tee.SIMULATED, Needs(tenant=tenant), host) is found
