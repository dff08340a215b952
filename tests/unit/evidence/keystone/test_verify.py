"""Authenticity and policy of Keystone reports, good and bad, by devices of our own."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import canonical
from atoll.errors import EvidenceError, InputError, RejectedEvidenceError
from atoll.evidence.findings import Finding, Outcome, first_failed
from atoll.evidence.keystone.findings import keystone_findings
from atoll.evidence.keystone.policy import (
    KeystonePolicy,
    keystone_policy_from_json,
    keystone_policy_to_json,
)
from atoll.evidence.keystone.report import KeystoneReport
from atoll.evidence.keystone.verify import (
    DEVELOPMENT_DEVICE_KEY,
    DeviceKeys,
    sm_key_is_derivable,
    verify_keystone,
)
from atoll.evidence.policy_forms import UNCHECKED
from support.keystone import DEVICE, ENCLAVE_HASH, SM, SM_HASH, Content, Key

TRUST = DeviceKeys(keys=frozenset({DEVICE.public}))
STRICT = KeystonePolicy(
    enclave_hashes=frozenset({ENCLAVE_HASH}),
    sm_hashes=frozenset({SM_HASH}),
    data=b"nonce",
    allow_derivable_sm_key=False,
)
UNSIGNED_FROM, UNSIGNED_TO = 72 + len(b"nonce"), 1096


def refused(raw: bytes, trust: DeviceKeys = TRUST) -> str:
    with pytest.raises(RejectedEvidenceError) as caught:
        verify_keystone(raw, trust)
    return caught.value.code.removeprefix("evidence.")


def findings(content: Content, policy: KeystonePolicy) -> dict[str, Finding]:
    found = keystone_findings(verify_keystone(content.report(), TRUST), policy)
    return {one.id: one for one in found}


def test_a_report_of_a_trusted_device_is_verified() -> None:
    verified = verify_keystone(Content().report(), TRUST)
    assert verified.report.data == b"nonce"
    assert verified.report.enclave_hash == ENCLAVE_HASH
    assert not verified.simulated


def test_no_bit_is_ignored_but_the_data_beyond_data_len() -> None:
    raw = Content().report()
    for at in (*range(UNSIGNED_FROM), *range(UNSIGNED_TO, len(raw))):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            with pytest.raises(EvidenceError):
                verify_keystone(bytes(changed), TRUST)


def test_bits_beyond_data_len_change_nothing() -> None:
    raw = Content().report()
    expected = verify_keystone(raw, TRUST)
    for at in range(UNSIGNED_FROM, UNSIGNED_TO, 31):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        assert verify_keystone(bytes(changed), TRUST) == expected


def test_refuses_another_device_key() -> None:
    assert refused(Content(device=SM).report()) == "untrusted_device_key"


def test_attack_30_key_taken_from_the_report() -> None:
    # The attacker signs, and states the trusted key: only its signature counts.
    raw = Content(device=Key.of(b"attacker".ljust(32)), device_public=DEVICE.public).report()
    assert refused(raw) == "sm_bad_signature"


def test_attack_30_small_order_sm_key() -> None:
    raw = bytearray(Content(sm_public=bytes(32)).report())
    for r in (b"\x01" + bytes(31), bytes(32), b"\xec" + b"\xff" * 30 + b"\x7f"):
        raw[1096:1160] = r + bytes(32)
        assert refused(bytes(raw)) == "bad_signature"


def test_attack_enclave_signed_by_the_device_instead_of_the_sm() -> None:
    assert refused(Content(sm=DEVICE, sm_public=SM.public).report()) == "bad_signature"


def test_an_empty_trust_believes_nothing() -> None:
    assert refused(Content().report(), DeviceKeys(keys=frozenset())) == "untrusted_device_key"


def test_the_published_development_key_must_be_allowed_by_name() -> None:
    with pytest.raises(InputError) as caught:
        DeviceKeys(keys=frozenset({DEVELOPMENT_DEVICE_KEY}))
    assert caught.value.code == "trust.device_key"
    DeviceKeys(keys=frozenset({DEVELOPMENT_DEVICE_KEY}), allow_development=True)


def test_allowing_the_development_key_does_not_trust_it() -> None:
    trust = DeviceKeys(keys=frozenset({DEVICE.public}), allow_development=True)
    raw = Content(device_public=DEVELOPMENT_DEVICE_KEY).report()
    assert refused(raw, trust) == "untrusted_device_key"


def test_a_device_key_of_another_size_is_refused() -> None:
    with pytest.raises(InputError):
        DeviceKeys(keys=frozenset({bytes(31)}))


@given(st.binary(min_size=1352, max_size=1352))
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_with_the_trusted_key_are_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        verify_keystone(raw[:1320] + DEVICE.public, TRUST)


def test_recognises_an_sm_key_that_the_boot_loader_derives_from_two_bytes() -> None:
    derived = KeystoneReport.from_bytes(Content().with_derivable_sm_key().report())
    assert sm_key_is_derivable(derived)
    assert not sm_key_is_derivable(KeystoneReport.from_bytes(Content().report()))
    other_sm = replace(derived, sm_hash=bytes((derived.sm_hash[0] ^ 1,)) + derived.sm_hash[1:])
    assert not sm_key_is_derivable(other_sm)


def test_a_strict_policy_passes_when_everything_fits() -> None:
    found = findings(Content(), STRICT)
    assert [one.outcome for one in found.values()] == [Outcome.PASS] * 4


@pytest.mark.parametrize(
    ("content", "failed"),
    [
        (Content(enclave_hash=bytes(64)), "keystone.enclave_hash"),
        (Content(sm_hash=bytes(64)), "keystone.sm_hash"),
        (Content(data=b"other"), "keystone.data"),
        (Content(data=b"nonce\x00"), "keystone.data"),
        (Content(data=b"nonc"), "keystone.data"),
        (Content().with_derivable_sm_key(), "keystone.sm_key"),
    ],
)
def test_each_field_of_the_policy_refuses_alone(content: Content, failed: str) -> None:
    found = findings(content, STRICT)
    assert [one.id for one in found.values() if one.outcome is Outcome.FAIL] == [failed]


def test_unchecked_is_told_and_an_empty_set_accepts_nothing() -> None:
    lax = KeystonePolicy(
        enclave_hashes=UNCHECKED, sm_hashes=UNCHECKED, data=UNCHECKED, allow_derivable_sm_key=True
    )
    found = findings(Content(), lax)
    assert {one.outcome for one in found.values()} == {Outcome.UNCHECKED}
    empty = findings(Content(), replace(lax, enclave_hashes=frozenset()))
    assert first_failed(tuple(empty.values())) == "keystone.enclave_hash"


@pytest.mark.parametrize(
    "change",
    [
        {"enclave_hashes": frozenset({bytes(48)})},
        {"sm_hashes": frozenset({bytes(65)})},
        {"data": bytes(1025)},
    ],
)
def test_a_policy_that_no_report_can_meet_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        replace(STRICT, **change)  # type: ignore[arg-type]
    assert caught.value.code == "policy.invalid"


@pytest.mark.parametrize("change", [{}, {"data": b""}, {"sm_hashes": UNCHECKED}])
def test_a_policy_reads_back_and_is_named_by_its_json(change: dict[str, object]) -> None:
    policy = replace(STRICT, **change)  # type: ignore[arg-type]
    raw = keystone_policy_to_json(policy)
    assert keystone_policy_from_json(raw) == policy
    assert policy.digest == hashlib.sha256(raw).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"data": None},
        {"data": "00" * 1025},
        {"data": "AB"},
        {"enclave_hashes": ["00" * 48]},
        {"allow_derivable_sm_key": "unchecked"},
        {"tee": "tdx"},
        {"version": 2},
        {"more": 1},
    ],
)
def test_refuses_json_that_is_no_keystone_policy(change: dict[str, object]) -> None:
    value = json.loads(keystone_policy_to_json(STRICT)) | change
    with pytest.raises(InputError):
        keystone_policy_from_json(canonical.dumps(value))
