"""Signatures: owners only, enough of them, over exactly these bytes."""

import json
from typing import Any

import pytest

from atoll import canonical
from atoll.errors import InputError
from atoll.policy.signed import LABEL, PolicySignature, SignedPolicy, sign_policy, verify_policy
from support.policies import document, owner

ALICE, BOB, EVE = owner(1), owner(2), owner(3)
RAW = sign_policy(document(), [ALICE, BOB]).to_bytes()
OWNERS = [ALICE.signing_key, BOB.signing_key]


def _code(raw: bytes, owners: Any = None, threshold: int = 1) -> str:
    with pytest.raises(InputError) as caught:
        verify_policy(raw, OWNERS if owners is None else owners, threshold=threshold)
    return caught.value.code


def test_gives_the_document_and_who_signed() -> None:
    verified = verify_policy(RAW, OWNERS, threshold=2)
    assert verified.document == document()
    assert set(verified.signed_by) == set(OWNERS)


def test_one_of_two_owners_is_enough_only_for_a_threshold_of_one() -> None:
    one = sign_policy(document(), [ALICE]).to_bytes()
    assert verify_policy(one, OWNERS).signed_by == (ALICE.signing_key,)
    assert _code(one, threshold=2) == "policy.signature"


def test_others_count_for_nothing() -> None:
    assert _code(sign_policy(document(), [EVE]).to_bytes()) == "policy.signature"
    both = sign_policy(document(), [EVE, ALICE]).to_bytes()
    assert _code(both, threshold=2) == "policy.signature"
    assert _code(RAW, owners=[]) == "policy.signature"


def test_one_owner_twice_is_no_second_signature() -> None:
    with pytest.raises(InputError):
        sign_policy(document(), [ALICE, ALICE])


def test_no_digit_of_the_document_or_a_signature_is_ignored() -> None:
    text = RAW.decode()
    for at in range(len(text)):
        if text[at] not in "0123456789":
            continue
        changed = text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]
        with pytest.raises(InputError):
            verify_policy(changed.encode(), OWNERS, threshold=2)


def test_refuses_signatures_moved_from_another_document() -> None:
    plain = json.loads(RAW)
    plain["document"]["mode"] = "shadow"
    assert _code(canonical.dumps(plain)) == "policy.signature"


def test_refuses_a_signature_made_for_another_purpose() -> None:
    raw = document().to_bytes()
    signature = PolicySignature(
        name="x",
        signing_key=ALICE.signing_key,
        signature=ALICE.sign("atoll manifest v1", raw, b"x"),
    )
    signed = SignedPolicy(document=document(), signatures=(signature,))
    assert _code(signed.to_bytes()) == "policy.signature"
    assert LABEL == "atoll policy v1"


def test_a_threshold_of_none_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="nobody"):
        verify_policy(RAW, OWNERS, threshold=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "atoll-policy"},
        {"format_version": 2},
        {"format_version": True},
        {"extra": 1},
        {"signatures": []},
        {"signatures": {}},
        {"signatures": [7]},
        {"signatures": json.loads(RAW)["signatures"][::-1]},
        {"signatures": [json.loads(RAW)["signatures"][0]] * 2},
        {"signatures": [json.loads(RAW)["signatures"][0] | {"extra": ""}]},
        {"signatures": [json.loads(RAW)["signatures"][0] | {"signature": 1}]},
        {"signatures": [json.loads(RAW)["signatures"][0] | {"signature": "00"}]},
        {"signatures": [json.loads(RAW)["signatures"][0] | {"signing_key": "ZZ" * 32}]},
    ],
)
def test_refuses_another_form(changes: dict[str, Any]) -> None:
    assert _code(canonical.dumps(json.loads(RAW) | changes)) == "policy.invalid"


def test_refuses_what_is_too_large() -> None:
    assert _code(b" " * (2 << 20)) == "policy.invalid"


def test_refuses_a_key_of_another_size() -> None:
    with pytest.raises(InputError):
        PolicySignature(name="x", signing_key=b"short", signature=bytes(64))
