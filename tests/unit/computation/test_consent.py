"""A consent counts for one manifest, party, purpose and time; a withdrawal takes it back."""

from dataclasses import replace

import pytest

from atoll.computation.consent import (
    check_consents,
    give_consent,
    missing,
    require_consents,
    require_withdrawal,
    withdraw,
)
from atoll.computation.manifest import digest
from atoll.errors import ManifestError
from atoll.wire import schema
from atoll.wire.messages import AgreedManifest, Consent, Withdrawal
from support.computations import LATER_MS, NAMES, NOW_MS, agreed, keys, manifest

DIGEST = digest(manifest().to_bytes())


def code_of(of: AgreedManifest, *, now_ms: int = NOW_MS) -> str:
    with pytest.raises(ManifestError) as caught:
        require_consents(of, now_ms=now_ms)
    return caught.value.code


def test_a_manifest_with_everybodys_consent_is_agreed_on() -> None:
    of = schema.decode(AgreedManifest, schema.encode(agreed()))
    assert require_consents(of, now_ms=NOW_MS) == manifest()
    assert missing(manifest(), of.consents) == ()


@pytest.mark.parametrize("absent", NAMES)
def test_nobody_may_be_missing(absent: str) -> None:
    some = agreed(None, *(name for name in NAMES if name != absent))
    assert code_of(some) == "consent.missing"
    assert missing(manifest(), some.consents) == (absent,)
    check_consents(manifest(), DIGEST, some.consents, now_ms=NOW_MS)


def test_a_consent_of_a_stranger_or_twice_is_refused() -> None:
    stranger = give_consent(keys("mallory"), DIGEST, expires_ms=LATER_MS)
    for more in (stranger, agreed().consents[0]):
        of = replace(agreed(), consents=(*agreed().consents, more))
        assert code_of(of) == "consent.foreign"


def test_a_consent_ends() -> None:
    assert code_of(agreed(), now_ms=LATER_MS) == "consent.expired"
    require_consents(agreed(), now_ms=LATER_MS - 1)


def test_a_consent_is_worth_nothing_for_another_manifest_party_or_time() -> None:
    other = manifest(nonce=bytes(32))
    moved = AgreedManifest(manifest=other.to_bytes(), consents=agreed().consents)
    assert code_of(moved) == "consent.signature"
    first, *rest = agreed().consents
    for changed in (
        replace(first, expires_ms=first.expires_ms + 1),
        replace(first, party="consumer"),
        replace(first, signature=agreed().consents[1].signature),
    ):
        others = [one for one in rest if one.party != changed.party]
        if changed.party == "consumer":
            others.append(give_consent(keys("coder"), DIGEST, expires_ms=LATER_MS))
        of = replace(agreed(), consents=(changed, *others))
        assert code_of(of) == "consent.signature"


def test_no_bit_of_a_consent_is_ignored() -> None:
    first, *rest = agreed().consents
    for at in range(0, 64 * 8, 7):
        signature = bytearray(first.signature)
        signature[at // 8] ^= 1 << at % 8
        of = replace(agreed(), consents=(replace(first, signature=bytes(signature)), *rest))
        assert code_of(of) == "consent.signature"


def test_signatures_of_other_purposes_are_no_consent() -> None:
    taken = withdraw(keys("coder"), DIGEST)
    forged = Consent(party="coder", expires_ms=LATER_MS, signature=taken.signature)
    of = replace(agreed(), consents=(forged, *agreed().consents[1:]))
    assert code_of(of) == "consent.signature"


def withdrawal_code(withdrawal: Withdrawal) -> str:
    with pytest.raises(ManifestError) as caught:
        require_withdrawal(withdrawal, manifest())
    return caught.value.code


def test_every_party_may_withdraw_and_nobody_else() -> None:
    for name in NAMES:
        require_withdrawal(withdraw(keys(name), DIGEST), manifest())
    assert withdrawal_code(withdraw(keys("mallory"), DIGEST)) == "consent.foreign"
    assert withdrawal_code(withdraw(keys("coder"), bytes(32))) == "consent.other"
    forged = replace(withdraw(keys("coder"), DIGEST), party="north")
    assert withdrawal_code(forged) == "consent.signature"
    consent = give_consent(keys("coder"), DIGEST, expires_ms=LATER_MS)
    replayed = replace(withdraw(keys("coder"), DIGEST), signature=consent.signature)
    assert withdrawal_code(replayed) == "consent.signature"
