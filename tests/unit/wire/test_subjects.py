"""A subject is written once; filling it and reading it back are inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.wire import names, subjects, tenancy
from atoll.wire.endpoints import ENDPOINTS
from atoll.wire.messages import EventType, Tee
from atoll.wire.subjects import Subject
from atoll.wire.topology import BUCKETS, CONSUMERS, OBJECT_BUCKETS, STREAMS, WRITERS

ALL = {name: value for name, value in vars(subjects).items() if isinstance(value, Subject)}
tokens = st.from_regex(names.TOKEN, fullmatch=True)


@pytest.mark.parametrize("name", ALL)
@given(data=st.data())
def test_reading_is_the_inverse_of_filling(name: str, data: st.DataObject) -> None:
    subject = ALL[name]
    values = tuple(data.draw(tokens) for _ in range(subject.template.count("{")))
    assert subject.read(subject.of(*values)) == values


@pytest.mark.parametrize("value", ["", ".", "a.b", "*", ">", "a b", "a\n", "a\x00", "é", "a" * 65])
def test_no_token_smuggles_in_a_dot_or_a_wildcard(value: str) -> None:
    for call in (subjects.REPORT.of, subjects.REPORT.under):
        with pytest.raises(InputError) as caught:
            call(value)
        assert caught.value.code == "name.invalid"


@pytest.mark.parametrize("count", [0, 2])
def test_refuses_the_wrong_number_of_tokens(count: int) -> None:
    with pytest.raises(InputError):
        subjects.REPORT.of(*["a"] * count)


def test_a_filter_takes_no_more_tokens_than_there_are_places() -> None:
    with pytest.raises(InputError):
        subjects.REPORT.under("a", "b")


@given(st.text())
def test_reading_any_text_gives_tokens_or_the_one_error(text: str) -> None:
    for subject in ALL.values():
        try:
            values = subject.read(text)
        except InputError as error:
            assert error.code == "name.invalid"  # noqa: PT017
        else:
            assert subject.of(*values) == text


@pytest.mark.parametrize(
    "text",
    [
        "atoll.v1.report.",
        "atoll.v1.report.a.b",
        "atoll.v1.report.a\n",
        "atollxv1.report.a",
        "atoll.v2.report.a",
        " atoll.v1.report.a",
    ],
)
def test_refuses_a_subject_of_another_shape(text: str) -> None:
    with pytest.raises(InputError):
        subjects.REPORT.read(text)


def test_filters_stand_for_whole_tokens() -> None:
    assert subjects.EVENT.under("job", "j1") == "atoll.v1.event.job.j1.*"
    assert subjects.EVENT.under() == subjects.EVENT.wildcard == "atoll.v1.event.*.*.*"


def test_no_two_subjects_overlap() -> None:
    def overlap(left: str, right: str) -> bool:
        pairs = list(zip(left.split("."), right.split("."), strict=False))
        same_length = left.count(".") == right.count(".")
        return same_length and all(a == b or "*" in {a, b} for a, b in pairs)

    wildcards = sorted(subject.wildcard for subject in ALL.values())
    clashes = [
        (left, right)
        for index, left in enumerate(wildcards)
        for right in wildcards[index + 1 :]
        if overlap(left, right)
    ]
    assert clashes == []


def test_every_value_that_becomes_a_token_is_one() -> None:
    for tee in Tee:
        assert subjects.SPAWN.of(tee.value)
    for kind in EventType:
        assert subjects.EVENT.of("job", "j", kind.value)


def test_names_of_streams_consumers_and_buckets_are_unique_and_legal() -> None:
    for group in (STREAMS, CONSUMERS, (*BUCKETS, *OBJECT_BUCKETS)):
        found = [item.name for item in group]
        assert len(set(found)) == len(found)
        for name in found:
            names.require_token(name, "name")


def test_every_consumer_reads_an_existing_stream() -> None:
    assert {consumer.stream for consumer in CONSUMERS} <= {stream.name for stream in STREAMS}


def test_every_endpoint_has_its_own_subject_and_its_callers_may_write_there() -> None:
    templates = [endpoint.subject.template for endpoint in ENDPOINTS]
    assert len(set(templates)) == len(templates)
    for endpoint in ENDPOINTS:
        if "client" in endpoint.callers:
            assert endpoint.subject.template in tenancy.may_publish("acme")
        if not endpoint.is_tenants:
            assert WRITERS[endpoint.subject.template] == endpoint.callers - {"client"}


def test_no_right_to_acknowledge_in_the_long_form_is_one_in_the_short_form() -> None:
    """A server takes nine tokens as stream, consumer, deliveries and so on, whatever follows."""
    house = (each.served for each in tenancy.offers(tenancy.HOUSE))
    rights = [each for each in (*WRITERS, *house) if each.startswith("$JS.ACK.*.*.")]
    assert rights
    assert all(len(each.split(".")) > 9 for each in rights)


def test_a_filter_may_leave_any_token_open() -> None:
    assert subjects.HISTORY.under(None, "job", "j1") == "atoll.v1.event.*.job.j1.*"


def test_nothing_that_one_tenant_may_use_is_anothers() -> None:
    own, other = ({each.served for each in tenancy.offers(name)} for name in ("acme", "other"))
    shared = own & other
    assert shared == {
        *(
            row.subject.template
            for row in ENDPOINTS
            if row.owner == "attestor" and "client" in row.callers
        ),
        subjects.TELEMETRY_TRACES.wildcard,
        "$O.assets.C.*",
        # The protocol level in force.
        "$JS.API.STREAM.INFO.KV_protocol",
        "$JS.API.STREAM.MSG.GET.KV_protocol",
        "$JS.API.DIRECT.GET.KV_protocol.$KV.protocol.>",
    }
    assert all("acme" in each for each in own - shared)


def test_what_tenants_take_is_offered_once_and_offers_do_not_overlap() -> None:
    offered = [subject for subject, _ in tenancy.exports()]
    for each in (*tenancy.offers("acme"), *tenancy.offers(tenancy.HOUSE)):
        assert len([one for one in offered if covers(one, each.served)]) == 1, each
    for one in offered:
        assert not [other for other in offered if other != one and covers(one, other)]


def covers(pattern: str, subject: str) -> bool:
    """Whether all that matches `subject` matches `pattern`."""
    mine, theirs = pattern.split("."), subject.split(".")
    for at, token in enumerate(mine):
        if token == ">":
            return len(theirs) > at
        if at >= len(theirs) or theirs[at] == ">" or token not in {"*", theirs[at]}:
            return False
    return len(mine) == len(theirs)
