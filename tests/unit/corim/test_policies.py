"""Reference values into policies and out of them: what is said arrives, nothing else changes."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.corim.codec import from_cbor, to_cbor
from atoll.corim.keystone import with_device_keys
from atoll.corim.policies import from_policy, into_policy, merged, tee_of
from atoll.corim.values import Corim
from atoll.errors import InputError, UnsupportedError
from atoll.evidence.document import Tee
from atoll.evidence.policy_forms import UNCHECKED
from atoll.policy.templates import strict_keystone, strict_snp, strict_tdx, strict_vtpm

SHA = st.binary(min_size=48, max_size=48)
SHA256 = st.binary(min_size=32, max_size=32)
SHA3 = st.binary(min_size=64, max_size=64)
ONE, TWO = b"\x01" * 48, b"\x02" * 48
SNP, TDX = strict_snp(frozenset({ONE})), strict_tdx(frozenset({ONE}))
KEYSTONE = strict_keystone(frozenset({b"\x03" * 64}))
VTPM = strict_vtpm(frozenset({b"\x04" * 32}))
ID = st.binary(min_size=16, max_size=16)
POLICIES = st.one_of(
    st.builds(
        lambda found, author, family: replace(
            SNP, measurements=found, author_key_digests=author, family_id=family
        ),
        st.frozensets(SHA, min_size=1, max_size=3),
        st.just(UNCHECKED) | st.frozensets(SHA, min_size=1, max_size=1),
        st.just(UNCHECKED) | ID,
    ),
    st.builds(
        lambda found, rtmrs: replace(TDX, mr_tds=found, rtmr1s=rtmrs),
        st.frozensets(SHA, min_size=1, max_size=3),
        st.just(UNCHECKED) | st.frozensets(SHA, min_size=1, max_size=3),
    ),
    st.builds(
        lambda found, monitors: replace(KEYSTONE, enclave_hashes=found, sm_hashes=monitors),
        st.frozensets(SHA3, min_size=1, max_size=3),
        st.just(UNCHECKED) | st.frozensets(SHA3, min_size=1, max_size=3),
    ),
    st.builds(
        lambda found, kernels, firmware: replace(
            VTPM, pcr9s=found, kernel_digests=kernels, pcr0s=firmware
        ),
        st.frozensets(SHA256, min_size=1, max_size=3),
        st.just(UNCHECKED) | st.frozensets(SHA256, min_size=1, max_size=3),
        st.just(UNCHECKED) | st.frozensets(SHA256, min_size=1, max_size=3),
    ),
)


def _out(policy: Any, name: str = "t") -> Corim:
    return from_policy(policy, corim_id="c", tag_id=name).corim


@settings(max_examples=60)
@given(POLICIES)
def test_a_policy_survives_the_round_trip(policy: Any) -> None:
    corim = from_cbor(to_cbor(_out(policy)))
    base = {type(item): item for item in (SNP, TDX, KEYSTONE, VTPM)}[type(policy)]
    assert into_policy(corim, base) == policy
    assert into_policy(corim, policy) == policy


@pytest.mark.parametrize(
    ("policy", "tee"),
    [(SNP, Tee.SNP), (TDX, Tee.TDX), (KEYSTONE, Tee.KEYSTONE), (VTPM, Tee.VTPM)],
)
def test_a_profile_tells_the_hardware(policy: Any, tee: Tee) -> None:
    assert tee_of(_out(policy)) is tee


def test_says_which_checked_fields_a_corim_cannot_have() -> None:
    left = from_policy(TDX, corim_id="c", tag_id="t").left_out
    assert left == ("tcb_statuses",)
    names = {field.name for field in fields(SNP)}
    found = set(from_policy(SNP, corim_id="c", tag_id="t").left_out)
    assert found == {"products", "signers", "vmpls"}
    assert found <= names


def test_values_of_several_files_are_alternatives() -> None:
    both = merged([_out(SNP, "one"), _out(replace(SNP, measurements=frozenset({TWO})), "two")])
    policy = into_policy(both, strict_snp(frozenset()))
    assert policy == replace(SNP, measurements=frozenset({ONE, TWO}))


@pytest.mark.parametrize(
    "corims",
    [
        [_out(SNP, "same"), _out(SNP, "same")],
        [_out(SNP, "one"), _out(TDX, "two")],
        [],
    ],
)
def test_refuses_duplicates_and_mixtures(corims: list[Corim]) -> None:
    with pytest.raises(InputError) as caught:
        merged(corims)
    assert caught.value.code == "corim.invalid"


@pytest.mark.parametrize("profile", [None, "tag:example.org,2026:other"])
def test_refuses_a_profile_that_is_not_known(profile: str | None) -> None:
    with pytest.raises(UnsupportedError) as caught:
        into_policy(replace(_out(SNP), profile=profile), SNP)
    assert caught.value.code == "corim.unsupported"


def test_refuses_values_of_another_tee() -> None:
    with pytest.raises(InputError, match="about tdx, and the policy about sev-snp"):
        into_policy(_out(TDX), SNP)


@pytest.mark.parametrize(
    "policy",
    [
        replace(SNP, measurements=UNCHECKED),
        replace(SNP, id_key_digests=frozenset({ONE, TWO})),
        replace(TDX, mr_tds=UNCHECKED),
        replace(KEYSTONE, enclave_hashes=frozenset()),
    ],
)
def test_refuses_a_policy_without_values_or_with_more_than_can_be_said(policy: Any) -> None:
    with pytest.raises(InputError) as caught:
        _out(policy)
    assert caught.value.code == "corim.invalid"


def test_a_device_key_does_not_change_a_policy() -> None:
    corim = with_device_keys(_out(KEYSTONE), [bytes(31) + b"\x01"])
    assert into_policy(corim, KEYSTONE) == KEYSTONE
