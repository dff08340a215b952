"""Only what the owners signed comes into force, and nothing older after it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given as sampled
from hypothesis import settings
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import AtollError, InputError, RefusedError
from atoll.policy.document import Mode
from atoll.wire.messages import PolicyRecord
from atoll_attestor.policies import activated, require_no_rollback, verified_state
from unit.attestor.given import NOW_S, OTHER, OWNER, OWNERS, document, signed

FIRST = PolicyRecord(enforced=signed(document()), candidate=b"")


def refusal(raw: bytes, record: PolicyRecord | None = FIRST, now: int = NOW_S) -> str:
    with pytest.raises((InputError, RefusedError)) as caught:
        activated(record, raw, OWNERS, now=now)
    return caught.value.code


def test_the_first_document_comes_into_force() -> None:
    record, view = activated(None, signed(document()), OWNERS, now=NOW_S)
    assert record == FIRST
    assert (view.highest, view.enforced, view.candidate, view.changed) == (1, 1, 0, True)


def test_the_same_again_changes_nothing() -> None:
    record, view = activated(FIRST, signed(document()), OWNERS, now=NOW_S)
    assert record == FIRST
    assert not view.changed


def test_a_policy_on_trial_leaves_the_enforced_one_and_the_next_takes_both_places() -> None:
    trial, view = activated(FIRST, signed(document(2, Mode.WARN)), OWNERS, now=NOW_S)
    assert trial.enforced == FIRST.enforced
    assert (view.highest, view.enforced, view.candidate) == (2, 1, 2)
    third, view = activated(trial, signed(document(3)), OWNERS, now=NOW_S)
    assert (view.highest, view.enforced, view.candidate) == (3, 3, 0)
    assert third.candidate == b""


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (signed(document(2), OTHER), "policy.signature"),
        (document(2).to_bytes(), "policy.invalid"),
        (signed(document(2, name="other")), "policy.name"),
        (signed(document(1, Mode.SHADOW)), "policy.fork"),
        (signed(document(2, not_before=NOW_S + 1)), "policy.not_yet"),
        (b"{}", "policy.invalid"),
        (b"", "json.malformed"),
    ],
)
def test_what_may_not_follow_is_refused(raw: bytes, code: str) -> None:
    assert refusal(raw) == code


def test_an_older_version_is_refused_even_if_only_one_on_trial_was_newer() -> None:
    trial, _ = activated(FIRST, signed(document(5, Mode.SHADOW)), OWNERS, now=NOW_S)
    assert refusal(signed(document(4)), trial) == "policy.rollback"


def test_versions_count_on_after_a_change_of_owners() -> None:
    old = PolicyRecord(enforced=signed(document(7), OTHER), candidate=b"")
    with pytest.raises(InputError):
        verified_state(old, OWNERS)
    assert refusal(signed(document(6)), old) == "policy.rollback"
    _, view = activated(old, signed(document(8)), OWNERS, now=NOW_S)
    assert view.enforced == 8


def older_build(version: int) -> bytes:
    """A document without a field that this build wants."""
    value = json.loads(signed(document(version)))
    del value["document"]["sections"]["sev-snp"]["vmpls"]
    return canonical.dumps(value)


def test_versions_count_on_after_an_update_that_made_the_old_document_illegal() -> None:
    old = PolicyRecord(enforced=older_build(7), candidate=b"")
    for version in (6, 7):
        assert refusal(signed(document(version)), old) == "policy.rollback"
    record, view = activated(old, signed(document(8)), OWNERS, now=NOW_S)
    assert (record.enforced, view.enforced) == (signed(document(8)), 8)
    record, view = activated(old, signed(document(8, Mode.WARN)), OWNERS, now=NOW_S)
    assert (record.enforced, view.enforced, view.candidate) == (b"", 0, 8)


@pytest.mark.parametrize(
    "raw",
    [b"[]", b"{}", b'{"document":5}', b'{"document":{"version":true}}', b"x", b" " * 2_000_000],
)
def test_a_record_without_any_version_is_not_written_over(raw: bytes) -> None:
    record = PolicyRecord(enforced=raw, candidate=b"")
    assert refusal(signed(document(2)), record) in {"policy.invalid", "json.malformed"}


def test_with_a_threshold_one_owner_is_not_enough() -> None:
    both = replace(OWNERS, keys={OWNER.signing_key, OTHER.signing_key}, threshold=2)
    with pytest.raises(InputError) as caught:
        activated(None, signed(document()), both, now=NOW_S)
    assert caught.value.code == "policy.signature"
    _, view = activated(None, signed(document(), OWNER, OTHER), both, now=NOW_S)
    assert view.enforced == 1


@pytest.mark.parametrize(
    "record",
    [
        PolicyRecord(enforced=b"", candidate=b""),
        PolicyRecord(enforced=document().to_bytes(), candidate=b""),
        PolicyRecord(enforced=signed(document(), OTHER), candidate=b""),
        PolicyRecord(enforced=signed(document(name="other")), candidate=b""),
        PolicyRecord(enforced=signed(document(1, Mode.SHADOW)), candidate=b""),
        PolicyRecord(enforced=FIRST.enforced, candidate=signed(document(2))),
        PolicyRecord(enforced=FIRST.enforced, candidate=signed(document(2, Mode.WARN), OTHER)),
        PolicyRecord(enforced=signed(document(3)), candidate=signed(document(2, Mode.WARN))),
    ],
)
def test_a_record_that_the_owners_did_not_make_puts_nothing_in_force(record: PolicyRecord) -> None:
    with pytest.raises(InputError):
        verified_state(record, OWNERS)


def test_a_bucket_that_was_set_back_is_not_followed() -> None:
    newer, _ = activated(FIRST, signed(document(2)), OWNERS, now=NOW_S)
    forked, _ = activated(FIRST, signed(document(2, Mode.SHADOW)), OWNERS, now=NOW_S)
    state = verified_state(newer, OWNERS)
    require_no_rollback(None, state)
    require_no_rollback(state, state)
    require_no_rollback(verified_state(FIRST, OWNERS), state)
    for record, code in ((FIRST, "policy.rollback"), (forked, "policy.fork")):
        with pytest.raises(RefusedError) as caught:
            require_no_rollback(state, verified_state(record, OWNERS))
        assert caught.value.code == code


@settings(max_examples=60)
@sampled(st.binary(max_size=200), st.binary(max_size=200))
def test_arbitrary_bytes_put_nothing_in_force(one: bytes, other: bytes) -> None:
    with pytest.raises(AtollError):
        verified_state(PolicyRecord(enforced=one, candidate=other), OWNERS)
    with pytest.raises(AtollError):
        activated(FIRST, one, OWNERS, now=NOW_S)


@settings(max_examples=60)
@sampled(st.integers(0, len(FIRST.enforced) * 8 - 1))
def test_no_bit_of_a_signed_policy_is_ignored(bit: int) -> None:
    raw = bytearray(FIRST.enforced)
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InputError):
        verified_state(PolicyRecord(enforced=bytes(raw), candidate=b""), OWNERS)
