"""Reference values to and from the fields of policies: the same set, or a refusal."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.corim import measured, snp
from atoll.corim.codec import from_cbor, to_cbor
from atoll.corim.measured import KEYSTONE, TDX, Profile, from_corim, to_corim
from atoll.corim.snp import SnpReferenceValues, snp_from_corim, snp_to_corim
from atoll.corim.values import (
    AttestKeyTriple,
    Comid,
    Corim,
    Digest,
    Environment,
    HashAlg,
    Measurement,
    ReferenceTriple,
)
from atoll.errors import InputError
from atoll.evidence.policy import UNCHECKED
from support import evidence

SHA = st.binary(min_size=48, max_size=48)
SHA3 = st.binary(min_size=64, max_size=64)
SETS = st.frozensets(SHA, min_size=1, max_size=3)
SNP_VALUES = st.builds(
    SnpReferenceValues,
    measurements=SETS,
    id_key_digests=st.frozensets(SHA, max_size=1),
    author_key_digests=st.frozensets(SHA, max_size=1),
    family_id=st.none() | st.binary(min_size=16, max_size=16),
    image_id=st.none() | st.binary(min_size=16, max_size=16),
    minimum_guest_svn=st.none() | st.integers(0, 99),
)
ONE, TWO = b"\x01" * 48, b"\x02" * 48


def _digest(mkey: Any, *values: bytes, alg: HashAlg = HashAlg.SHA_384) -> Measurement:
    return Measurement(mkey=mkey, digests=tuple(Digest(alg=alg, value=item) for item in values))


KEYS_OF_V = AttestKeyTriple(environment=Environment(vendor="V"), keys=(b"key",))


def _two(mkey: Any) -> Measurement:
    """One thing hashed twice, by two algorithms."""
    other = Digest(alg=HashAlg.SHA3_384, value=TWO)
    return Measurement(mkey=mkey, digests=(*_digest(mkey, ONE).digests, other))


def _corim(profile: Any, *rows: tuple[Environment, tuple[Measurement, ...]]) -> Corim:
    triples = tuple(ReferenceTriple(environment=env, measurements=row) for env, row in rows)
    return Corim(id="c", comids=(Comid(tag_id="t", triples=triples),), profile=profile)


def _with_keys(corim: Corim) -> Corim:
    return replace(corim, comids=(replace(corim.comids[0], attest_keys=(KEYS_OF_V,)),))


@settings(max_examples=60)
@given(SNP_VALUES)
def test_snp_values_survive_the_round_trip(values: SnpReferenceValues) -> None:
    raw = to_cbor(snp_to_corim(values, corim_id="c", tag_id="t"))
    assert snp_from_corim(from_cbor(raw)) == values


def test_snp_values_replace_what_they_speak_about_and_nothing_else() -> None:
    values = SnpReferenceValues(measurements=frozenset({ONE}), minimum_guest_svn=4)
    before = evidence.policy()
    after = values.apply(before)
    assert after == replace(before, measurements=frozenset({ONE}), minimum_guest_svn=4)
    assert after.id_key_digests is UNCHECKED


BY_CHIP = Environment(class_id=snp.BY_CHIP)


def test_reads_the_class_as_the_profile_spells_it_in_its_examples() -> None:
    spelled = Environment(class_id=snp._WITH_HEADER)
    corim = _corim(snp.PROFILE, (spelled, (_digest(snp.MEASUREMENT, ONE),)))
    raw = to_cbor(corim)
    assert bytes.fromhex("d86f4b06092b060104019c780301") in raw
    assert snp_from_corim(from_cbor(raw)).measurements == {ONE}


@pytest.mark.parametrize(
    "corim",
    [
        _corim("tag:other", (BY_CHIP, (_digest(641, ONE),))),
        _corim(None, (BY_CHIP, (_digest(641, ONE),))),
        _corim(snp.PROFILE, (Environment(vendor="AMD"), (_digest(641, ONE),))),
        _corim(snp.PROFILE, (replace(BY_CHIP, instance=b"chip"), (_digest(641, ONE),))),
        _corim(snp.PROFILE, (BY_CHIP, (_digest(643, ONE),))),
        _with_keys(_corim(snp.PROFILE, (BY_CHIP, (_digest(641, ONE),)))),
        _corim(snp.PROFILE, (BY_CHIP, (_digest(641, ONE), _digest(641, TWO)))),
        _corim(snp.PROFILE, (BY_CHIP, (_two(641),))),
        _corim(snp.PROFILE, (BY_CHIP, (_digest(641, ONE), Measurement(mkey=647, svn=1)))),
        _corim(snp.PROFILE, (BY_CHIP, (_digest(641, ONE, alg=HashAlg.SHA3_384),))),
        _corim(snp.PROFILE, (BY_CHIP, (replace(_digest(641, ONE), svn=1),))),
        _corim(snp.PROFILE, (BY_CHIP, (_digest(641, ONE), Measurement(mkey=1, svn=1)))),
        _corim(snp.PROFILE, (BY_CHIP, (_digest(641, ONE), Measurement(mkey=3, raw_value=b"x")))),
        _corim(snp.PROFILE, (BY_CHIP, (_digest(641, ONE), Measurement(mkey=3, svn=1)))),
        _corim(
            snp.PROFILE,
            (BY_CHIP, (_digest(641, ONE), _digest(643, ONE))),
            (BY_CHIP, (_digest(641, TWO), _digest(643, TWO))),
        ),
        _corim(
            snp.PROFILE,
            (BY_CHIP, (_digest(641, ONE), Measurement(mkey=1, min_svn=1))),
            (BY_CHIP, (_digest(641, TWO),)),
        ),
    ],
)
def test_refuses_what_one_snp_policy_could_not_say(corim: Corim) -> None:
    with pytest.raises(InputError) as caught:
        snp_from_corim(corim)
    assert caught.value.code == "corim.invalid"


def test_refuses_snp_values_that_cannot_be_written() -> None:
    for changes in (
        {"measurements": frozenset[bytes]()},
        {"measurements": frozenset({b"short"})},
        {"family_id": b"short"},
    ):
        with pytest.raises(InputError):
            replace(SnpReferenceValues(measurements=frozenset({ONE})), **changes)
    many = SnpReferenceValues(measurements=frozenset({ONE}), id_key_digests=frozenset({ONE, TWO}))
    with pytest.raises(InputError):
        snp_to_corim(many, corim_id="c", tag_id="t")


TDX_FIELDS = st.dictionaries(
    st.sampled_from(["mr_seams", "mr_tds", "rtmr0s", "rtmr3s"]), SETS, min_size=1
)
KEYSTONE_FIELDS = st.dictionaries(
    st.sampled_from(["sm_hashes", "enclave_hashes"]),
    st.frozensets(SHA3, min_size=1, max_size=3),
    min_size=1,
)


@settings(max_examples=60)
@given(st.tuples(st.just(TDX), TDX_FIELDS) | st.tuples(st.just(KEYSTONE), KEYSTONE_FIELDS))
def test_fields_survive_the_round_trip(case: tuple[Profile, dict[str, frozenset[bytes]]]) -> None:
    profile, fields = case
    raw = to_cbor(to_corim(profile, fields, corim_id="c", tag_id="t"))
    assert from_corim(profile, from_cbor(raw)) == fields


def test_a_keystone_triple_is_as_the_profile_page_has_it() -> None:
    oid = bytes.fromhex("6981d89f9d94c9f0dab49d9aabc3b3a3f8f1f621")
    sm, enclave = b"\x41" * 64, b"\x9a" * 64
    fields = {"sm_hashes": frozenset({sm}), "enclave_hashes": frozenset({enclave})}
    raw = to_cbor(to_corim(KEYSTONE, fields, corim_id="c", tag_id="t"))
    triple = (
        b"\x82\xa1\x00\xa1\x00\xd8\x6f\x54" + oid + b"\x82"
        b"\xa2\x00\x62sm\x01\xa1\x02\x81\x82\x0c\x58\x40" + sm + b""
        b"\xa2\x00\x67enclave\x01\xa1\x02\x81\x82\x0c\x58\x40" + enclave
    )
    assert triple in raw


TD = Environment(vendor="Intel", model="TD")
SM_AND_ENCLAVE = Environment(class_id=measured._KEYSTONE_OID)
THREE, FOUR = b"\x03" * 64, b"\x04" * 64


def _keystone(mkey: str, *values: bytes) -> Measurement:
    return _digest(mkey, *values, alg=HashAlg.SHA3_512)


@pytest.mark.parametrize(
    ("profile", "corim"),
    [
        (TDX, _corim("tag:other", (TD, (_digest("mr_td", ONE),)))),
        (TDX, _corim(TDX.id, (Environment(vendor="Intel"), (_digest("mr_td", ONE),)))),
        (TDX, _corim(TDX.id, (TD, (_digest("mr_seam", ONE),)))),
        (TDX, _corim(TDX.id, (TD, (_digest(0, ONE),)))),
        (TDX, _corim(TDX.id, (TD, (_digest("mr_td", ONE), _digest("mr_td", ONE))))),
        (TDX, _corim(TDX.id, (TD, (_two("mr_td"),)))),
        (TDX, _with_keys(_corim(TDX.id, (TD, (_digest("mr_td", ONE),))))),
        (
            KEYSTONE,
            Corim(
                id="c",
                comids=(Comid(tag_id="t", attest_keys=(KEYS_OF_V,)),),
                profile=KEYSTONE.id,
            ),
        ),
        (TDX, _corim(TDX.id, (TD, (_digest("mr_td", ONE, alg=HashAlg.SHA3_384),)))),
        (TDX, _corim(TDX.id, (TD, (replace(_digest("mr_td", ONE), svn=1),)))),
        (TDX, _corim(TDX.id, (TD, (Measurement(mkey="mr_td", svn=1),)))),
        (
            TDX,
            _corim(
                TDX.id,
                (TD, (_digest("mr_td", ONE), _digest("rtmr0", ONE))),
                (TD, (_digest("mr_td", TWO), _digest("rtmr0", TWO))),
            ),
        ),
        (
            TDX,
            _corim(
                TDX.id,
                (TD, (_digest("mr_td", ONE), _digest("rtmr0", ONE))),
                (TD, (_digest("mr_td", TWO),)),
            ),
        ),
        (
            KEYSTONE,
            _corim(
                KEYSTONE.id,
                (SM_AND_ENCLAVE, (_keystone("sm", THREE), _keystone("enclave", THREE))),
                (SM_AND_ENCLAVE, (_keystone("sm", FOUR), _keystone("enclave", FOUR))),
            ),
        ),
    ],
)
def test_refuses_what_independent_sets_would_widen_or_not_say(
    profile: Profile, corim: Corim
) -> None:
    with pytest.raises(InputError) as caught:
        from_corim(profile, corim)
    assert caught.value.code == "corim.invalid"


def test_refuses_more_combinations_than_anybody_needs() -> None:
    many = frozenset(at.to_bytes(48, "big") for at in range(17))
    with pytest.raises(InputError, match="combinations"):
        to_corim(TDX, {"mr_tds": many, "rtmr0s": many}, corim_id="c", tag_id="t")


def test_one_element_has_one_digest_of_an_algorithm() -> None:
    with pytest.raises(InputError, match="two values"):
        _keystone("sm", THREE, FOUR)
    fields = {"sm_hashes": frozenset({THREE, FOUR}), "enclave_hashes": frozenset({THREE})}
    (comid,) = to_corim(KEYSTONE, fields, corim_id="c", tag_id="t").comids
    assert [len(item.digests) for triple in comid.triples for item in triple.measurements] == [
        1
    ] * 4


@pytest.mark.parametrize("fields", [{"unknown": frozenset({ONE})}, {"mr_tds": frozenset()}, {}])
def test_refuses_fields_that_the_profile_cannot_carry(fields: Any) -> None:
    with pytest.raises(InputError):
        to_corim(TDX, fields, corim_id="c", tag_id="t")
