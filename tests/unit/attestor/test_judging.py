"""Evidence of any vendor is judged by the attestor's collateral, never by what comes along."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as arbitrary
from hypothesis import settings
from hypothesis import strategies as st

from atoll.errors import AtollError, EvidenceError, MalformedEvidenceError
from atoll.evidence import cmw
from atoll.evidence.products import Product
from atoll.evidence.trust import PRODUCTION
from atoll.evidence.x509 import Certificate
from atoll.wire import schema
from atoll.wire.verification import VerifyReply, VerifyRequest
from atoll_attestor.collateral.crls import verified
from atoll_attestor.collateral.documents import read
from atoll_attestor.collateral.pairing import to_pem
from atoll_attestor.judging import Judging, unwrap
from support import intel_pcs, vectors
from support.crls import crl, record
from support.evidence import NOW, document, trust
from support.intel_pcs import Served
from unit.attestor import given
from unit.attestor.given import MemoryCrls, MemoryDocuments

OCTETS = "application/octet-stream"
DAYS = timedelta(days=60)


def wrapped(evidence: bytes, *, is_json: bool = True, **files: bytes) -> bytes:
    record_of = cmw.Record(type=OCTETS, value=evidence, ind=cmw.CmType.EVIDENCE)
    found: cmw.Cmw = record_of
    if files:
        more = tuple((role, cmw.Record(type=OCTETS, value=raw)) for role, raw in files.items())
        found = cmw.Collection(members=(("evidence", record_of), *more))
    return cmw.to_json(found) if is_json else cmw.to_cbor(found)


def stored(documents: dict[str, Served]) -> MemoryDocuments:
    read_all = (read(served.body, served.chain, PRODUCTION) for served in documents.values())
    return MemoryDocuments({found.key: found for found in read_all})


async def judged(
    judging: Judging, kind: str, raw: bytes, now: datetime, **fields: object
) -> VerifyReply:
    made = schema.encode(VerifyRequest(kind=kind, cmw=raw, **fields))  # type: ignore[arg-type]
    reply = await judging.verify(schema.decode(VerifyRequest, made), now=now)
    return schema.decode(VerifyReply, schema.encode(reply))


def recorded() -> tuple[bytes, dict[str, Served], datetime]:
    vectors.require()
    quote, documents = intel_pcs.recorded()
    return quote, documents, datetime.fromisoformat(str(intel_pcs.case()["verify_time"]))


def genuine_report() -> tuple[dict[str, Any], MemoryDocuments]:
    """A case of the vectors, and its VCEK as AMD's service hands it out."""
    vectors.require()
    case = next(
        one for one in vectors.of_kind("snp_report") if one["id"] == "snp-milan-v3-05b7438a"
    )
    vcek, ask, ark = (vectors.read(path) for path in case["files"]["certs"])
    return case, stored({"vcek": Served(body=vcek, chain=ask + ark)})


@pytest.mark.parametrize("is_json", [True, False])
async def test_a_genuine_quote_is_valid_by_what_is_kept(is_json: bool) -> None:  # noqa: FBT001
    quote, documents, now = recorded()
    raw = wrapped(quote, is_json=is_json)
    reply = await judged(given.judging(stored(documents)), "tdx_quote", raw, now)
    assert (reply.verdict, reply.reason, reply.tcb_status) == ("valid", "", "UpToDate")
    assert not reply.simulated


async def test_what_is_missing_or_too_old_is_the_reason() -> None:
    quote, documents, now = recorded()
    raw = wrapped(quote)
    for key in documents:
        less = {name: served for name, served in documents.items() if name != key}
        reply = await judged(given.judging(stored(less)), "tdx_quote", raw, now)
        assert (reply.verdict, reply.reason) == ("invalid", "tdx.collateral"), key
        assert "lacks" in reply.checks[0].actual
    reply = await judged(given.judging(stored(documents)), "tdx_quote", raw, now + DAYS)
    assert (reply.verdict, reply.reason) == ("invalid", "tdx.tcb_info_expired")


async def test_all_of_report_data_is_compared() -> None:
    quote, documents, now = recorded()
    judging = given.judging(stored(documents))
    data = quote[48 + 520 : 48 + 584]
    good = await judged(judging, "tdx_quote", wrapped(quote), now, report_data=data)
    assert good.verdict == "valid"
    for other in (bytes(64), data[:32] + bytes(32)):
        if other != data:
            bad = await judged(judging, "tdx_quote", wrapped(quote), now, report_data=other)
            assert (bad.verdict, bad.reason) == ("invalid", "tdx.report_data")


async def test_nobody_brings_collateral_of_his_own() -> None:
    quote, documents, now = recorded()
    root_crl = documents["intel.crl.root"].body
    raw = wrapped(quote, root_crl=root_crl)
    with pytest.raises(AtollError) as caught:
        await judged(given.judging(stored(documents)), "tdx_quote", raw, now)
    assert caught.value.code == "judge.files"


@pytest.mark.parametrize("kind", ["snp_crl", "keystone_report", "nonsense", "quote_crypto_only"])
async def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(AtollError) as caught:
        await judged(given.judging(), kind, wrapped(b"x"), NOW)
    assert caught.value.code == "judge.kind"


async def test_a_simulated_report_is_judged_under_the_root_that_was_named() -> None:
    evidence = document()
    lists = MemoryCrls({Product.SIMULATED: verified(record(crl()), trust())})
    certs = to_pem(*(Certificate.from_bytes(der) for der in evidence.certs))
    raw = wrapped(evidence.report, certs=certs)
    reply = await judged(given.judging(crls=lists), "snp_report", raw, NOW)
    assert (reply.verdict, reply.reason, reply.simulated) == ("valid", "", True)
    late = await judged(given.judging(crls=lists), "snp_report", raw, NOW + DAYS)
    assert (late.verdict, late.reason) == ("invalid", "snp.crl")


async def test_a_vcek_that_did_not_come_along_is_looked_up() -> None:
    case, known = genuine_report()
    raw = wrapped(vectors.read(case["path"]))
    now = datetime.fromisoformat(case["verify_time"])
    found = await judged(given.judging(known), "snp_report", raw, now)
    assert (found.verdict, found.reason) == ("valid", "")
    lacking = await judged(given.judging(), "snp_report", raw, now)
    assert lacking.verdict == "invalid"


@pytest.mark.parametrize("kind", ["snp_report", "tdx_quote", "sgx_quote"])
@arbitrary(st.binary(max_size=64), st.binary(max_size=64))
@settings(max_examples=60)
async def test_arbitrary_evidence_is_a_verdict_or_the_documented_error(
    kind: str, raw: bytes, value: bytes
) -> None:
    reply = await judged(given.judging(), kind, wrapped(value), NOW)
    assert reply.verdict == "invalid"
    with suppress(MalformedEvidenceError):
        unwrap(raw)


@pytest.mark.parametrize(
    "found",
    [
        cmw.Record(type=OCTETS, value=b"x", ind=cmw.CmType.ATTESTATION_RESULTS),
        cmw.Collection(members=(("certs", cmw.Record(type=OCTETS, value=b"x")),)),
        cmw.Collection(
            members=(
                ("evidence", cmw.Collection(members=(("a", cmw.Record(type=OCTETS, value=b"")),))),
            )
        ),
    ],
)
def test_a_wrapper_without_evidence_is_refused(found: cmw.Cmw) -> None:
    for raw in (cmw.to_json(found), cmw.to_cbor(found)):
        with pytest.raises(EvidenceError) as caught:
            unwrap(raw)
        assert caught.value.code == "evidence.malformed"
