"""A revocation list counts for its signature; the newest of a product is used, also expired."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given as sampled
from hypothesis import settings
from hypothesis import strategies as st

from atoll.errors import EvidenceError
from atoll.evidence import document as documents
from atoll.evidence.products import Product
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.policy.records import judge_with, replay
from atoll.wire.messages import AppraiseRequest, NonceRequest
from atoll_attestor import verifier as verifiers
from atoll_attestor.collateral.crls import for_chain, roots_in, verified
from support import vectors
from support.crls import DAY, crl, record
from support.evidence import NOW, Binding, chain, document, other_chain, policy, trust
from unit.attestor import given

GOOD = crl()
SERIAL = 0x77


def refusal(made: bytes, believed: TrustStore | None = None, ark: bytes | None = None) -> str:
    found = record(made) if ark is None else replace(record(made), ark=ark)
    with pytest.raises(EvidenceError) as caught:
        verified(found, believed or trust())
    return caught.value.code


def test_a_list_of_a_trusted_root_is_known_by_its_product() -> None:
    found = verified(record(GOOD), trust())
    assert (found.product, found.crl) == (Product.SIMULATED, GOOD)


def test_an_expired_list_is_authentic_and_older_than_a_later_one() -> None:
    old = verified(record(crl(start=NOW - 9 * DAY, end=NOW - 8 * DAY)), trust())
    assert old.order < verified(record(GOOD), trust()).order


def test_what_no_trusted_root_signed_is_refused() -> None:
    assert refusal(crl(signer="ask")) == "evidence.crl_signature"
    assert refusal(GOOD, PRODUCTION) == "evidence.untrusted_root"
    assert refusal(GOOD, ark=other_chain().ark_pem) == "evidence.untrusted_root"
    assert refusal(GOOD, ark=chain().ask) == "evidence.untrusted_root"
    assert refusal(GOOD[:-1]) == "evidence.malformed"


def test_the_list_is_chosen_by_the_root_that_evidence_brings() -> None:
    found = verified(record(GOOD), trust())
    known = {Product.SIMULATED: found}
    assert for_chain(known, chain().certificates) == (GOOD,)
    assert for_chain({}, chain().certificates) == ()
    assert for_chain({Product.MILAN: found}, chain().certificates) == ()
    assert for_chain(known, [b"no certificate", chain().ask]) == ()


def test_roots_are_told_by_their_names() -> None:
    assert set(roots_in(chain().ark_pem)) == {Product.SIMULATED}
    assert roots_in(chain().ask) == {}
    with pytest.raises(EvidenceError):
        roots_in(b"-----BEGIN CERTIFICATE-----\n")


@pytest.mark.parametrize("name", ["milan", "genoa", "turin"])
def test_amds_own_lists_are_believed(name: str) -> None:
    vectors.require()
    ark = vectors.read(f"snp/certs/ark-{name}.pem")
    for path in sorted((vectors.folder() / "snp" / "crls").glob(f"crl-{name}-20??.der")):
        found = verified(replace(record(path.read_bytes()), ark=ark), PRODUCTION)
        assert found.product.value.lower() == name
    damaged = vectors.read("snp/crls/crl-genoa-2024-sigflip.der")
    ark = vectors.read("snp/certs/ark-genoa.pem")
    assert refusal(damaged, PRODUCTION, ark) == "evidence.crl_signature"


@settings(max_examples=60)
@sampled(st.binary(max_size=300), st.binary(min_size=1, max_size=300))
def test_arbitrary_bytes_are_evidence_of_nothing(one: bytes, other: bytes) -> None:
    for made in (replace(record(GOOD), crl=one), replace(record(GOOD), ark=other)):
        with pytest.raises(EvidenceError):
            verified(made, trust())


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        ((), "snp.revocation"),
        ((GOOD,), ""),
        ((crl(start=NOW - 9 * DAY, end=NOW - 8 * DAY),), "snp.crl"),
    ],
)
async def test_missing_or_expired_lists_refuse_where_the_policy_asks_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: tuple[bytes, ...], reason: str
) -> None:
    monkeypatch.setattr(verifiers, "_now_ms", lambda: int(NOW.timestamp() * 1000))
    strict = given.document(section=policy(require_crl=True))
    made = given.attestor(given.write(tmp_path), strict)
    for raw in lists:
        made.crls.known[Product.SIMULATED] = verified(record(raw), trust())
    nonce = (await made.verifier.nonce(NonceRequest(), bytes(8))).nonce
    evidence = documents.encode(document(binding=Binding(nonce=nonce)))
    answer = await made.verifier.appraise(AppraiseRequest(evidence=evidence))
    assert (answer.verdict == "pass", answer.reason) == (not reason, reason)
    ((_, kept),) = made.archive.kept
    assert kept.crls == lists
    again = replay([kept], strict, judge_with(trust()))
    assert (again.judged, again.changes) == (1, ())
