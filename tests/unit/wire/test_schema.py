"""A message that exists is legal; everything else names the field that is not."""

import base64
import dataclasses
import json
import typing
from typing import Annotated, Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import MessageError
from atoll.wire import codec, messages, schema
from atoll.wire.messages import (
    ErrorReply,
    JobEvent,
    JobListRequest,
    JobRequest,
    JobView,
    Reason,
    Report,
    SubmitRequest,
)
from atoll.wire.schema import Name, Pattern, Range, Size, Token, message
from support.gateway import submission

MESSAGES = sorted(
    (value for value in vars(messages).values() if dataclasses.is_dataclass(value)),
    key=lambda cls: typing.cast("type", cls).__name__,
)


@message
class Inner:
    flag: bool
    number: Annotated[int, Range(-2, 3)] = 0


@message
class Sample:
    """One field of each kind."""

    token: Token
    name: Name
    text: Annotated[str, Size(1, 5)] = "abc"
    raw: Annotated[bytes, Size(2, 4)] = b"\x00\xff"
    word: Annotated[str, Pattern("a|bc")] = "a"
    state: messages.JobState | None = None
    inner: Inner
    items: Annotated[tuple[Inner, ...], Size(0, 2)] = ()
    table: Annotated[dict[str, Inner], Size(0, 2)] = dataclasses.field(default_factory=dict)
    count: int = 0


GOOD: dict[str, Any] = {"token": "t", "name": "iris.csv", "inner": {"flag": True}}
BAD: dict[str, dict[str, Any]] = {
    "unknown field": {"extra": 1},
    "token with a dot": {"token": "a.b"},
    "token that is a number": {"token": 5},
    "name with two dots": {"name": "a..b"},
    "hidden name": {"name": ".a"},
    "text too short": {"text": ""},
    "text too long": {"text": "abcdef"},
    "null for text": {"text": None},
    "pattern not whole": {"word": "ab"},
    "pattern with a line end": {"word": "a\n"},
    "unknown word": {"state": "resting"},
    "word of another type": {"state": 1},
    "map for a word": {"state": {}},
    "number for a flag": {"inner": {"flag": 1}},
    "flag for a number": {"inner": {"flag": True, "number": True}},
    "number too small": {"inner": {"flag": True, "number": -3}},
    "number too large": {"inner": {"flag": True, "number": 4}},
    "missing inside": {"inner": {}},
    "unknown inside": {"inner": {"flag": True, "extra": 0}},
    "list for a map": {"inner": []},
    "too many items": {"items": [{"flag": True}] * 3},
    "map for a list": {"items": {}},
    "text for a list": {"items": "abc"},
    "wrong item": {"items": [1]},
    "illegal key": {"table": {"a/b": {"flag": True}}},
    "too many entries": {"table": {name: {"flag": True} for name in "abc"}},
    "list for a table": {"table": []},
    "number beyond 2^53": {"count": 2**53},
    "text for a number": {"count": "1"},
}


@pytest.mark.parametrize("name", BAD)
def test_refuses(name: str) -> None:
    with pytest.raises(MessageError) as caught:
        schema.decode(Sample, codec.packb({**GOOD, **BAD[name]}))
    assert caught.value.code == "message.invalid"
    assert caught.value.message.startswith("Sample")


@pytest.mark.parametrize("field", GOOD)
def test_refuses_a_message_without_a_required_field(field: str) -> None:
    plain = {key: value for key, value in GOOD.items() if key != field}
    with pytest.raises(MessageError, match=field):
        schema.from_plain(Sample, plain)


@pytest.mark.parametrize("value", [None, [], "x", 5, True, b"x"])
def test_refuses_what_is_no_map(value: object) -> None:
    with pytest.raises(MessageError):
        schema.from_plain(Sample, value)


@pytest.mark.parametrize("raw", [b"", b"\x00", b"12345"])
def test_refuses_bytes_of_another_length(raw: bytes) -> None:
    with pytest.raises(MessageError):
        schema.from_plain(Sample, {**GOOD, "raw": raw})


@pytest.mark.parametrize(
    "text", ["AP8=", "AP9", "AP+_", "A", "AAAAA", "AP 8", "AP8\n", "äöü", "AAAAAAAAAA", 5, None]
)
def test_refuses_bytes_that_are_not_canonical_base64url(text: object) -> None:
    with pytest.raises(MessageError):
        schema.from_plain(Sample, {**GOOD, "raw": text}, json=True)


def test_bytes_in_json_are_not_taken_in_messagepack() -> None:
    with pytest.raises(MessageError):
        schema.from_plain(Sample, {**GOOD, "raw": "AP8"})


def test_refuses_text_that_has_no_utf_8_form() -> None:
    with pytest.raises(MessageError):
        schema.from_plain(Reason, {"code": "a.b", "message": "\ud800"}, json=True)


def test_the_error_names_the_place() -> None:
    plain = {**GOOD, "items": [{"flag": True}, {"flag": "x"}]}
    with pytest.raises(MessageError, match=r"Sample\.items\[1\]\.flag"):
        schema.from_plain(Sample, plain)


def test_a_message_cannot_be_changed() -> None:
    value = schema.from_plain(Sample, GOOD)
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.token = "other"  # type: ignore[misc]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.text(max_size=6)
    | st.binary(max_size=6)
    | st.sampled_from(["a", "bc", "running", "iris.csv", "AP8", "j1", "ab" * 32])
)
fields = st.sampled_from(sorted({*Sample.__dataclass_fields__, "flag", "number", "job_id"}))
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=8),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(anything, st.booleans())
def test_any_value_gives_a_message_or_the_one_error(value: object, json_form: bool) -> None:  # noqa: FBT001
    for cls in (Sample, JobEvent, Report, SubmitRequest, JobView):
        try:
            made = schema.from_plain(cls, value, json=json_form)
        except MessageError as error:
            assert error.code == "message.invalid"  # noqa: PT017
        else:
            assert schema.from_plain(cls, schema.to_plain(made, json=json_form), json=json_form)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_give_a_message_or_the_one_error(raw: bytes) -> None:
    for cls in (Sample, JobRequest, Report):
        try:
            schema.decode(cls, raw)
        except MessageError:
            continue


inners = st.builds(Inner, flag=st.booleans(), number=st.integers(-2, 3))
samples = st.builds(
    Sample,
    token=st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True),
    name=st.sampled_from(["a", "iris.csv", "x_y-z.0"]),
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5),
    raw=st.binary(min_size=2, max_size=4),
    word=st.sampled_from(["a", "bc"]),
    state=st.none() | st.sampled_from(messages.JobState),
    inner=inners,
    items=st.lists(inners, max_size=2).map(tuple),
    table=st.dictionaries(st.sampled_from(["k", "k.1"]), inners, max_size=2),
    count=st.integers(-(2**53) + 1, 2**53 - 1),
)


@given(samples)
def test_both_forms_come_back(value: Sample) -> None:
    assert schema.decode(Sample, schema.encode(value)) == value
    text = json.dumps(schema.to_plain(value, json=True))
    assert schema.from_plain(Sample, json.loads(text), json=True) == value


@given(samples, st.data())
def test_a_changed_type_of_any_field_is_refused(value: Sample, data: st.DataObject) -> None:
    plain = schema.to_plain(value)
    field = data.draw(st.sampled_from(sorted(plain)))
    plain[field] = [[plain[field]]]
    with pytest.raises(MessageError):
        schema.from_plain(Sample, plain)


JSON_VALUES = [
    GOOD,
    {},
    *({**GOOD, **change} for change in BAD.values()),
    *({**GOOD, "raw": text} for text in ("AP8", "AP8A", "AP9", "A", "AAAAA", "AP8=", "AAAAAA")),
    *({**GOOD, "raw": text} for text in ("", "AA", "AAA", "AAAA", "AAAAAAA", "//8", "__8")),
    {**GOOD, "state": None},
    {**GOOD, "state": "running"},
    {**GOOD, "text": "äöü€𝄞"},
    {**GOOD, "text": "äöü€𝄞x"},
    {**GOOD, "table": {"a..b": {"flag": True}}},
    {**GOOD, "table": {"a.b": {"flag": False, "number": 3}}},
    {**GOOD, "items": [{"flag": True}, {"flag": False}]},
]


@pytest.mark.parametrize("value", JSON_VALUES, ids=lambda value: json.dumps(value)[:60])
def test_the_json_schema_accepts_exactly_what_the_reader_accepts(value: object) -> None:
    try:
        schema.from_plain(Sample, value, json=True)
    except MessageError:
        accepted = False
    else:
        accepted = True
    validator = jsonschema_rs.Draft202012Validator(schema.json_schema(Sample))
    assert validator.is_valid(value) == accepted


@settings(max_examples=300, deadline=None)
@given(samples.map(lambda value: schema.to_plain(value, json=True)), st.data())
def test_the_json_schema_agrees_on_neighbours_of_legal_messages(
    plain: dict[str, Any], data: st.DataObject
) -> None:
    field = data.draw(st.sampled_from(sorted(plain)))
    plain[field] = data.draw(
        st.none() | st.booleans() | st.integers(-4, 4) | st.text("aAbc.8-_=", max_size=7)
    )
    try:
        schema.from_plain(Sample, plain, json=True)
    except MessageError:
        accepted = False
    else:
        accepted = True
    assert VALIDATOR.is_valid(plain) == accepted


VALIDATOR = jsonschema_rs.Draft202012Validator(schema.json_schema(Sample))


@given(st.integers(0, 40), st.integers(-2, 2), st.data())
def test_the_json_schema_of_a_fixed_length_takes_exactly_that_length(
    size: int, more: int, data: st.DataObject
) -> None:
    cls: Any = message(
        type("Fixed", (), {"__annotations__": {"raw": Annotated[bytes, Size(size, size)]}})
    )
    raw = data.draw(st.binary(min_size=max(0, size + more), max_size=max(0, size + more)))
    text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    validator = jsonschema_rs.Draft202012Validator(schema.json_schema(cls))
    assert validator.is_valid({"raw": text}) == (len(raw) == size)


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: str(cls.__name__))
def test_every_message_has_a_legal_json_schema_and_refuses_unknown_fields(cls: type) -> None:
    document = schema.json_schema(cls)
    jsonschema_rs.meta.validate(document)
    jsonschema_rs.Draft202012Validator(document)
    with pytest.raises(MessageError):
        schema.from_plain(cls, {"no such field": 1})


def test_a_submission_fits_its_schema() -> None:
    plain = schema.to_plain(submission(), json=True)
    jsonschema_rs.Draft202012Validator(schema.json_schema(SubmitRequest)).validate(plain)
    assert schema.from_plain(SubmitRequest, plain, json=True) == submission()


@pytest.mark.parametrize("limit", [0, 1001, True, "5", None])
def test_a_limit_outside_its_bounds_is_refused(limit: object) -> None:
    with pytest.raises(MessageError):
        schema.from_plain(JobListRequest, {"limit": limit})


def test_a_field_without_wire_form_is_our_own_mistake() -> None:
    @message
    class Wrong:
        value: float

    with pytest.raises(TypeError):
        schema.from_plain(Wrong, {"value": 1.0})
    with pytest.raises(TypeError):
        schema.json_schema(Wrong)


def test_an_error_reply_names_a_stable_code() -> None:
    reply = ErrorReply(code="job.not_found", message="no", error_id="e1")
    assert schema.decode(ErrorReply, schema.encode(reply)) == reply
    with pytest.raises(MessageError):
        schema.from_plain(ErrorReply, {"code": "Job", "message": "", "error_id": "e"})
