"""CoRIM in CBOR: round trips, the draft's shapes, and nothing that could change the meaning."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import cbor2
import pytest
from cbor2 import CBORTag
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import cbor
from atoll.corim.codec import from_cbor, to_cbor
from atoll.corim.oids import oid_from_ber, oid_to_ber
from atoll.corim.values import (
    AttestKeyTriple,
    Comid,
    Corim,
    Digest,
    Environment,
    HashAlg,
    Measurement,
    Oid,
    ReferenceTriple,
    Ueid,
    Validity,
)
from atoll.errors import InputError, UnsupportedError

UUIDS = st.uuids()
NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12)
RAW = st.binary(min_size=1, max_size=16)
NUMBERS = st.integers(0, (1 << 64) - 1)
OIDS = st.builds(
    lambda first, rest: Oid(text=".".join(map(str, (2, first, *rest)))),
    st.integers(0, 1 << 80),
    st.lists(st.integers(0, 1 << 70), max_size=3),
)
DIGESTS = st.sampled_from(list(HashAlg)).flatmap(
    lambda alg: st.builds(
        Digest, alg=st.just(alg), value=st.binary(min_size=alg.size, max_size=alg.size)
    )
)
SOME_DIGESTS = st.lists(DIGESTS, min_size=1, max_size=3, unique_by=lambda item: item.alg).map(tuple)
MEASUREMENTS = st.builds(
    Measurement,
    mkey=st.none() | UUIDS | NUMBERS | NAMES | OIDS,
    digests=SOME_DIGESTS,
    svn=st.none() | NUMBERS,
    raw_value=st.none() | RAW,
    integrity_registers=st.dictionaries(NUMBERS | NAMES, SOME_DIGESTS, max_size=2).map(
        lambda found: tuple(sorted(found.items(), key=lambda item: cbor.dumps(item[0])))
    ),
)
ENVIRONMENTS = st.builds(
    Environment,
    class_id=OIDS | UUIDS | RAW,
    vendor=st.none() | NAMES,
    model=st.none() | NAMES,
    layer=st.none() | NUMBERS,
    instance=st.none() | UUIDS | RAW | st.builds(Ueid, raw=st.binary(min_size=7, max_size=33)),
)
TRIPLES = st.builds(
    ReferenceTriple,
    environment=ENVIRONMENTS,
    measurements=st.lists(MEASUREMENTS, min_size=1, max_size=2).map(tuple),
)
KEY_TRIPLES = st.builds(
    AttestKeyTriple,
    environment=ENVIRONMENTS,
    keys=st.lists(RAW, min_size=1, max_size=2, unique=True).map(tuple),
)
COMIDS = st.builds(
    Comid,
    tag_id=NAMES | UUIDS,
    tag_version=st.integers(0, 9),
    triples=st.lists(TRIPLES, min_size=1, max_size=2).map(tuple),
    attest_keys=st.lists(KEY_TRIPLES, max_size=2).map(tuple),
)
MOMENT = datetime(2026, 6, 1, 12, tzinfo=UTC)
CORIMS = st.builds(
    Corim,
    id=NAMES | UUIDS,
    comids=st.lists(COMIDS, min_size=1, max_size=2, unique_by=lambda item: item.tag_id).map(tuple),
    profile=st.none() | NAMES | OIDS,
    validity=st.sampled_from(
        [None, Validity(not_after=MOMENT), Validity(not_before=MOMENT, not_after=MOMENT)]
    ),
)
SHA = b"\x07" * 48
# Written by hand from the CDDL.
COMID: dict[Any, Any] = {
    0: "en-GB",
    1: {0: UUID(int=5).bytes, 1: 2},
    2: [{0: "Example Ltd.", 2: [0]}],
    4: {
        0: [
            [
                {0: {0: CBORTag(111, bytes.fromhex("2b06010401")), 1: "V", 4: 1}, 1: UUID(int=6)},
                [
                    {0: 641, 1: {2: [["sha-384", SHA]]}},
                    {1: {1: CBORTag(553, 9)}},
                    {0: "x", 1: {1: 4, 4: CBORTag(560, b"raw"), 14: {0: [[7, SHA]]}}},
                ],
            ]
        ]
    },
}
CORIM: dict[Any, Any] = {
    0: "example",
    3: CBORTag(32, "https://example.org/profile"),
    4: {1: MOMENT},
    5: [{0: "Example Ltd.", 2: [1]}],
}


def _corim(comid: Any = None, **changes: Any) -> bytes:
    members = CORIM | {1: [CBORTag(506, cbor.dumps(COMID if comid is None else comid))]}
    members |= {int(key.removeprefix("k")): value for key, value in changes.items()}
    return cbor.dumps(CBORTag(501, members))


def _code(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        from_cbor(raw)
    return caught.value.code


@settings(max_examples=150)
@given(CORIMS)
def test_what_is_written_is_read(corim: Corim) -> None:
    assert from_cbor(to_cbor(corim)) == corim


def test_reads_the_shapes_of_the_draft() -> None:
    corim = from_cbor(_corim())
    assert (corim.id, corim.profile) == ("example", "https://example.org/profile")
    assert corim.validity == Validity(not_after=MOMENT)
    (comid,) = corim.comids
    assert (comid.tag_id, comid.tag_version) == (UUID(int=5), 2)
    (triple,) = comid.triples
    assert triple.environment == Environment(
        class_id=Oid(text="1.3.6.1.4.1"), vendor="V", index=1, instance=UUID(int=6)
    )
    digest = Digest(alg=HashAlg.SHA_384, value=SHA)
    assert triple.measurements == (
        Measurement(mkey=641, digests=(digest,)),
        Measurement(min_svn=9),
        Measurement(mkey="x", svn=4, raw_value=b"raw", integrity_registers=((0, (digest,)),)),
    )


def _triples(members: Any) -> Any:
    return COMID | {4: members}


def _measured(measurement: Any, environment: Any = None) -> Any:
    return _triples({0: [[environment or {1: UUID(int=6)}, [measurement]]]})


@pytest.mark.parametrize(
    "comid",
    [
        COMID | {3: [{0: "x", 1: 0}]},
        COMID | {99: 1},
        _triples({0: COMID[4][0], 1: []}),
        _triples({0: COMID[4][0], 10: []}),
        _measured({0: 1, 1: {1: 1}, 2: []}),
        _measured({1: {0: {0: "1.0"}, 1: 1}}),
        _measured({1: {1: 1, 3: {3: False}}}),
        _measured({1: {4: CBORTag(560, b"x"), 5: b"m"}}),
        _measured({1: {4: CBORTag(563, [b"x", b"m"])}}),
        _measured({1: {1: 1}}, {1: CBORTag(554, "a key")}),
        _triples({3: [[{1: UUID(int=6)}, [CBORTag(554, "a key")]]]}),
        _triples({3: [[{1: UUID(int=6)}, [CBORTag(560, b"k")], {0: "sm"}]]}),
        _measured({1: {2: [[2, b"x" * 16]]}}),
        _measured({1: {1: 1}}, {0: {5: "x"}}),
        _measured({1: {1: 1}}, {2: UUID(int=1)}),
    ],
)
def test_refuses_what_could_change_the_meaning(comid: Any) -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_cbor(_corim(comid))
    assert caught.value.code == "corim.unsupported"


@pytest.mark.parametrize(
    "comid",
    [
        {},
        _triples({}),
        _triples({0: []}),
        _triples({0: [[{1: UUID(int=6)}]]}),
        _triples({0: [[{1: UUID(int=6)}, []]]}),
        _measured({1: {1: 1}}, {0: {}}),
        _measured({1: {}}),
        _measured({0: 1}),
        _measured({0: -1, 1: {1: 1}}),
        _measured({0: "", 1: {1: 1}}),
        _measured({0: True, 1: {1: 1}}),
        _measured({1: {1: -1}}),
        _measured({1: {1: True}}),
        _measured({1: {1: CBORTag(560, b"x")}}),
        _measured({1: {1: None}}),
        _measured({1: {2: []}}),
        _measured({1: {2: [[7, SHA[1:]]]}}),
        _measured({1: {2: [[7, SHA], [7, SHA]]}}),
        _measured({1: {2: [[7]]}}),
        _measured({1: {4: b"untagged"}}),
        _measured({1: {4: CBORTag(560, b"")}}),
        _measured({1: {14: {}}}),
        _measured({1: {14: []}}),
        _measured({1: {14: {-1: [[7, SHA]]}}}),
        _measured({1: {1: 1}}, {1: b"untagged"}),
        _measured({1: {1: 1}}, {0: {0: CBORTag(111, b"\x80")}}),
        _measured({1: {1: 1}}, {0: {0: CBORTag(111, b"\x2a\x80\x01")}}),
        _measured({1: {1: 1}}, {0: {1: "line\nbreak"}}),
        COMID | {1: {0: "x", 1: -1}},
        COMID | {1: {0: 7}},
        COMID | {1: {0: b"not sixteen"}},
        COMID | {1: {0: UUID(int=5)}},
        _measured({1: {2: [[7, SHA], [7, b"\x08" * 48]]}}),
        _measured({1: {1: 1}}, {1: CBORTag(550, b"short")}),
        _triples({3: []}),
        _triples({3: [[{1: UUID(int=6)}]]}),
        _triples({3: [[{1: UUID(int=6)}, []]]}),
        _triples({3: [[{1: UUID(int=6)}, [b"untagged"]]]}),
        _triples({3: [[{1: UUID(int=6)}, [CBORTag(560, b"k"), CBORTag(560, b"k")]]]}),
    ],
)
def test_refuses_what_is_not_legal(comid: Any) -> None:
    assert _code(_corim(comid)) == "corim.invalid"


@pytest.mark.parametrize(
    "raw",
    [
        cbor.dumps(CORIM),
        cbor.dumps(CBORTag(506, CORIM)),
        _corim(k0=""),
        _corim(k1=[]),
        _corim(k1=[CBORTag(501, b"")]),
        _corim(k1=[CBORTag(506, {})]),
        _corim(k1=[CBORTag(506, cbor.dumps(COMID)), CBORTag(506, cbor.dumps(COMID))]),
        _corim(k0=UUID(int=5)),
        _corim(k3="untagged"),
        _corim(k4={0: MOMENT}),
        _corim(k4={0: MOMENT, 1: datetime(2025, 1, 1, tzinfo=UTC)}),
        _corim(k4={1: 7}),
    ],
)
def test_refuses_another_frame(raw: bytes) -> None:
    assert _code(raw) == "corim.invalid"


@pytest.mark.parametrize("tag", [505, 508])
def test_names_a_kind_of_tag_that_it_does_not_read_instead_of_skipping_it(tag: int) -> None:
    both = [CBORTag(506, cbor.dumps(COMID)), CBORTag(tag, b"\xa0")]
    with pytest.raises(UnsupportedError, match=f"tag {tag}"):
        from_cbor(_corim(k1=both))


def test_an_id_that_is_a_uuid_is_16_bytes_without_a_tag() -> None:
    comid = Comid(tag_id=UUID(int=7), triples=from_cbor(_corim()).comids[0].triples)
    raw = to_cbor(Corim(id=UUID(int=6), comids=(comid,)))
    assert b"\x00\x50" + UUID(int=6).bytes in raw
    assert b"\x00\x50" + UUID(int=7).bytes in raw
    assert b"\xd8\x25" not in raw.replace(b"\xd8\x25\x50" + UUID(int=6).bytes, b"", 1)


def test_reads_attestation_keys() -> None:
    device = {0: {1: "V"}, 1: CBORTag(550, b"\x01" + bytes(32))}
    (comid,) = from_cbor(_corim(_triples({3: [[device, [CBORTag(560, b"key")]]]}))).comids
    environment = Environment(vendor="V", instance=Ueid(raw=b"\x01" + bytes(32)))
    assert comid.attest_keys == (AttestKeyTriple(environment=environment, keys=(b"key",)),)
    assert comid.triples == ()


def test_refuses_locators_of_other_corims() -> None:
    assert _code(_corim(k2=[{0: "https://example.org"}])) == "corim.unsupported"


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_a_value_or_the_documented_errors(raw: bytes) -> None:
    for given_ in (raw, _corim(cbor2.loads(b"\xa0")), _corim(raw)):
        try:
            from_cbor(given_)
        except InputError as error:
            assert error.code in {"cbor.malformed", "corim.invalid", "corim.unsupported"}  # noqa: PT017


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 15)
    | st.binary(max_size=3)
    | st.text(max_size=3)
    | st.sampled_from([CBORTag(560, b"x"), CBORTag(111, b"\x2a"), CBORTag(552, 1), UUID(int=1)]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.integers(0, 15), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(PLAIN, PLAIN, PLAIN)
def test_arbitrary_structures_are_a_value_or_the_documented_errors(
    triples: Any, environment: Any, values: Any
) -> None:
    for comid in (_triples(triples), _measured({1: values}), _measured({1: {1: 1}}, environment)):
        try:
            from_cbor(_corim(comid))
        except InputError as error:
            assert error.code in {"corim.invalid", "corim.unsupported"}  # noqa: PT017


def test_refuses_every_truncation() -> None:
    raw = _corim()
    assert {_code(raw[:size]) for size in range(len(raw))} == {"cbor.malformed"}


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("1.3.6.1.4.1.3704.3.1", "2b060104019c780301"),
        (
            "2.25.143718767648314809748152871613405887265",
            "6981d89f9d94c9f0dab49d9aabc3b3a3f8f1f621",
        ),
        ("2.999.3", "883703"),
        ("0.39", "27"),
    ],
)
def test_oids_are_content_octets(text: str, raw: str) -> None:
    assert oid_to_ber(text).hex() == raw
    assert oid_from_ber(bytes.fromhex(raw)) == Oid(text=text)


@pytest.mark.parametrize("text", ["1", "3.1", "1.40", "0.99", "1.02", "1..2", "", "1.2.", "1.-2"])
def test_refuses_text_that_is_no_oid(text: str) -> None:
    with pytest.raises(InputError):
        Oid(text=text)


def test_a_time_without_a_zone_or_with_parts_of_a_second_is_no_validity() -> None:
    for moment in (MOMENT.replace(tzinfo=None), MOMENT.replace(microsecond=1)):
        with pytest.raises(InputError):
            Validity(not_after=moment)


def test_two_security_versions_contradict() -> None:
    with pytest.raises(InputError):
        Measurement(svn=1, min_svn=1)
