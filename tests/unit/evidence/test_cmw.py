"""Conceptual message wrappers: the draft's three shapes, and nothing else."""

import base64
import json
from typing import Any

import cbor2
import pytest
from cbor2 import CBORTag
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError, MalformedEvidenceError
from atoll.evidence import cmw
from atoll.evidence.cmw import CmType, Collection, Record

# In the structure of RFC 9999, section 3 and appendix; contents are ours.
JSON_RECORD = b'["application/vnd.example.rats-conceptual-msg", "I0faVQ"]'
JSON_COLLECTION = b"""{
  "__cmwc_t": "tag:example.org,2026:composite",
  "evidence": ["application/eat-ucs+json", "e30", 4],
  "inner": {
    "__cmwc_t": "1.3.6.1.4.1.58270",
    "refs": ["application/rim+cbor", "2QH1oA", 3]
  }
}"""
CBOR_RECORD = bytes.fromhex("8319765c442347da5504")
CBOR_TAG = b"\xda" + (1668576935).to_bytes(4, "big") + bytes.fromhex("442347da55")
CBOR_COLLECTION = cbor2.dumps(
    {"__cmwc_t": "tag:example.org,2026:composite", 1: [30001, b"#G\xdaU"], "b": ["a/b", b"", 2]}
)

VALUES = st.builds(
    Record,
    type=st.sampled_from(["application/eat+cwt", 'a/b; eat_profile="tag:x,2026:y"', "x/y;p=q"]),
    value=st.binary(max_size=20),
    ind=st.none() | st.integers(1, 31).map(CmType),
)
LABELS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=9)
TREES = st.recursive(
    VALUES,
    lambda inner: st.builds(
        lambda members, kind: Collection(members=tuple(members.items()), kind=kind),
        st.dictionaries(LABELS, inner, min_size=1, max_size=3),
        st.sampled_from([None, "tag:x,2026:y", "2.25.1"]),
    ),
    max_leaves=6,
).filter(lambda tree: _depth(tree) <= cmw.MAX_DEPTH)


def _depth(tree: cmw.Cmw) -> int:
    if isinstance(tree, Record):
        return 1
    return 1 + max(_depth(member) for _, member in tree.members)


def _plain(tree: Any) -> Any:
    """Without the order of members, which maps do not have."""
    if isinstance(tree, Record):
        return tree
    return tree.kind, {label: _plain(member) for label, member in tree.members}


def test_reads_a_json_record() -> None:
    read = cmw.from_json(JSON_RECORD)
    assert read == Record(
        type="application/vnd.example.rats-conceptual-msg", value=bytes.fromhex("2347da55")
    )


def test_reads_a_json_collection_in_a_collection() -> None:
    read = cmw.from_json(JSON_COLLECTION)
    assert isinstance(read, Collection)
    assert read.kind == "tag:example.org,2026:composite"
    assert read.get("evidence") == Record(
        type="application/eat-ucs+json", value=b"{}", ind=CmType.EVIDENCE
    )
    inner = read.get("inner")
    assert isinstance(inner, Collection)
    refs = inner.get("refs")
    assert isinstance(refs, Record)
    assert refs.ind == CmType.REFERENCE_VALUES | CmType.ENDORSEMENTS
    assert read.get("nothing") is None


def test_reads_the_cbor_record_and_the_tag_of_its_content_format() -> None:
    value = bytes.fromhex("2347da55")
    assert cmw.from_cbor(CBOR_RECORD) == Record(type=30300, value=value, ind=CmType.EVIDENCE)
    assert cmw.from_cbor(CBOR_TAG) == Record(type=30001, value=value)
    assert cmw.to_cbor_tag(Record(type=30001, value=value)) == CBOR_TAG


def test_reads_a_cbor_collection_bare_and_in_its_tag() -> None:
    bare = cmw.from_cbor(CBOR_COLLECTION)
    assert isinstance(bare, Collection)
    assert bare.get(1) == Record(type=30001, value=b"#G\xdaU")
    tagged = CBORTag(1668547091, CBOR_COLLECTION)
    assert cmw.from_cbor(cbor2.dumps(tagged)) == bare
    inside = cmw.from_cbor(cbor2.dumps({"a": tagged}))
    assert isinstance(inside, Collection)
    assert inside.get("a") == bare


COMPOSITE = {
    "__cmwc_t": "tag:example.com,2024:composite-attester",
    0: [64999, bytes.fromhex("2347da55"), 4],
    1: CBORTag(1668612070, bytes.fromhex("2347da55")),
    2: ["application/eat+jwt", bytes.fromhex("2e2e2e"), 8],
}


def test_reads_the_examples_of_draft_23() -> None:
    value = bytes.fromhex("2347da55")
    named = "application/vnd.example.rats-conceptual-msg"
    assert cmw.from_cbor(bytes.fromhex("8219fde7442347da55")) == Record(type=64999, value=value)
    tagged = cmw.from_cbor(bytes.fromhex("da6374ffe6442347da55"))
    assert tagged == Record(type=64999, value=value)
    assert cmw.from_json(f'["{named}", "I0faVQ"]'.encode()) == Record(type=named, value=value)
    rim = bytes.fromhex("d28440a044d901f5a040")
    both = CmType.REFERENCE_VALUES | CmType.ENDORSEMENTS
    read = cmw.from_cbor(cbor2.dumps(["application/rim+cose", rim, 3]))
    assert read == Record(type="application/rim+cose", value=rim, ind=both)
    collection = cmw.from_cbor(cbor2.dumps(COMPOSITE))
    assert isinstance(collection, Collection)
    assert collection.kind == "tag:example.com,2024:composite-attester"
    assert collection.get(1) == Record(type=64999, value=value)
    assert collection.get(2) == Record(
        type="application/eat+jwt", value=b"...", ind=CmType.ATTESTATION_RESULTS
    )


def test_a_collection_holds_records_in_the_tag_form() -> None:
    raw = cbor2.dumps({"a": CBORTag(cmw.tag_number(0), b"x")})
    read = cmw.from_cbor(raw)
    assert isinstance(read, Collection)
    assert read.get("a") == Record(type=0, value=b"x")


@pytest.mark.parametrize(
    ("content_format", "tag"),
    [(0, 1668546817), (254, 1668547071), (255, 1668547073), (273, 1668547091), (65024, 1668612095)],
)
def test_tags_follow_rfc_9277(content_format: int, tag: int) -> None:
    assert cmw.tag_number(content_format) == tag


@settings(max_examples=100)
@given(st.integers(0, cmw.MAX_CONTENT_FORMAT).filter(lambda cf: not 273 <= cf <= 276))
def test_every_other_content_format_survives_its_tag(content_format: int) -> None:
    record = Record(type=content_format, value=b"x")
    assert cmw.from_cbor(cmw.to_cbor_tag(record)) == record


@settings(max_examples=150)
@given(TREES)
def test_both_forms_carry_every_value(tree: cmw.Cmw) -> None:
    assert _plain(cmw.from_json(cmw.to_json(tree))) == _plain(tree)
    assert _plain(cmw.from_cbor(cmw.to_cbor(tree))) == _plain(tree)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_value_or_the_documented_error(raw: bytes) -> None:
    for read in (cmw.from_cbor, cmw.from_json):
        try:
            read(raw)
        except EvidenceError as error:
            assert isinstance(error, MalformedEvidenceError)  # noqa: PT017


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=9,
)


@settings(max_examples=200)
@given(JSON_VALUES)
def test_arbitrary_json_is_a_value_or_the_documented_error(value: Any) -> None:
    try:
        cmw.from_json(json.dumps(value).encode())
    except EvidenceError as error:
        assert isinstance(error, MalformedEvidenceError)  # noqa: PT017


def test_refuses_every_truncation() -> None:
    for raw in (CBOR_RECORD, CBOR_TAG, CBOR_COLLECTION):
        for size in range(len(raw)):
            with pytest.raises(MalformedEvidenceError):
                cmw.from_cbor(raw[:size])
    for size in range(len(JSON_COLLECTION)):
        with pytest.raises(MalformedEvidenceError):
            cmw.from_json(JSON_COLLECTION[:size])


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"__cmwc_t": "tag:x,2026:y"}',
        '{"__cmwc_t": "not a uri", "a": ["a/b", ""]}',
        '{"__cmwc_t": 1, "a": ["a/b", ""]}',
        '{"__cmwc_t": null, "a": ["a/b", ""]}',
        '{"a": ["a/b", ""], "a": ["a/b", ""]}',
        '{"\\u0001": ["a/b", ""]}',
        '["a/b"]',
        '["a/b", "", 4, 4]',
        '["a/b", "", 0]',
        '["a/b", "", 32]',
        '["a/b", "", -1]',
        '["a/b", "", true]',
        '["a/b", "", 4.0]',
        '[30001, ""]',
        '["noslash", ""]',
        '["a/b\\r\\nx: y", ""]',
        '["a/b", "AB"]',
        '["a/b", "AA=="]',
        '["a/b", "A+/A"]',
        '["a/b", "A A"]',
        '["a/b", "\u00e9"]',
        '["a/b", 5]',
        '"a/b"',
        "[" * 100_000,
        '["a/b", "", ' + "9" * 5000 + "]",
    ],
)
def test_refuses_json_that_is_no_wrapper(text: str) -> None:
    with pytest.raises(MalformedEvidenceError):
        cmw.from_json(text.encode())


@pytest.mark.parametrize(
    "value",
    [
        CBORTag(1668547092, b""),
        CBORTag(1668547093, b""),
        CBORTag(1668547091, b""),
        CBORTag(1668547091, cbor2.loads(CBOR_COLLECTION)),
        CBORTag(1668547091, CBOR_RECORD),
        CBORTag(1668546817, "text"),
        CBORTag(1668547072, b""),
        [True, b""],
        [65025, b""],
        [-1, b""],
        ["a/b", "text"],
        {"a": 1},
        7,
    ],
)
def test_refuses_cbor_that_is_no_wrapper(value: Any) -> None:
    with pytest.raises(MalformedEvidenceError):
        cmw.from_cbor(cbor2.dumps(value))


def test_refuses_depth_counts_and_size() -> None:
    deep: Any = ["a/b", ""]
    for _ in range(cmw.MAX_DEPTH):
        deep = {"a": deep}
    with pytest.raises(MalformedEvidenceError, match="nested"):
        cmw.from_json(json.dumps(deep).encode())
    wide = {str(at): ["a/b", ""] for at in range(cmw.MAX_MEMBERS + 1)}
    with pytest.raises(MalformedEvidenceError, match="members"):
        cmw.from_json(json.dumps(wide).encode())
    big = base64.urlsafe_b64encode(bytes(cmw.MAX_CMW)).decode()
    with pytest.raises(MalformedEvidenceError, match="at most"):
        cmw.from_json(json.dumps(["a/b", big]).encode())
    with pytest.raises(MalformedEvidenceError, match="at most"):
        cmw.from_cbor(cbor2.dumps(["a/b", bytes(cmw.MAX_CMW)]))


def test_refuses_labels_that_json_or_the_draft_do_not_have() -> None:
    record = Record(type="a/b", value=b"")
    for members in ((("__cmwc_t", record),), (("a", record), ("a", record)), ((True, record),)):
        with pytest.raises(MalformedEvidenceError):
            Collection(members=members)
    with pytest.raises(ValueError, match="labels"):
        cmw.to_json(Collection(members=((1, record),)))
    with pytest.raises(ValueError, match="content formats"):
        cmw.to_json(Record(type=1, value=b""))
    with pytest.raises(ValueError, match="tag form"):
        cmw.to_cbor_tag(record)
    with pytest.raises(ValueError, match="no tag"):
        cmw.tag_number(65025)


@pytest.mark.parametrize("changes", [{"ind": CmType(0)}, {"ind": CmType(32)}, {"type": 65025}])
def test_a_record_that_cannot_be_written_cannot_be_made(changes: dict[str, Any]) -> None:
    members: dict[str, Any] = {"type": "a/b", "value": b""} | changes
    with pytest.raises(MalformedEvidenceError):
        Record(**members)
