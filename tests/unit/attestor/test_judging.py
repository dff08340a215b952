"""Evidence of any kind is judged by the attestor's collateral, never by what comes along."""

import json
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given as arbitrary
from hypothesis import settings
from hypothesis import strategies as st

from atoll.errors import AtollError, InputError, UnreachableError
from atoll.evidence import cmw
from atoll.evidence.ear_kind import KindEar, verify_kind_ear
from atoll.evidence.judge import JUDGES
from atoll.evidence.keystone.verify import DeviceKeys
from atoll.evidence.products import Product
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.evidence.x509 import Certificate
from atoll.policy.document import Mode
from atoll.policy.records import judge_with, replay
from atoll.wire import schema
from atoll.wire.verification import VerifyReply, VerifyRequest
from atoll_attestor.asked import SAFE_DEFAULTS
from atoll_attestor.collateral.crls import verified
from atoll_attestor.collateral.documents import read
from atoll_attestor.collateral.pairing import to_pem
from atoll_attestor.gathering import Gathering
from atoll_attestor.judging import BROUGHT, Judging
from support import dcap, intel_pcs, keystone, vectors
from support.crls import crl, record
from support.evidence import NOW, document, trust
from support.intel_pcs import Served
from unit.attestor import given
from unit.attestor.given import MemoryArchive, MemoryCrls, MemoryDocuments

OCTETS = "application/octet-stream"
DAYS = timedelta(days=60)


def wrapped(evidence: bytes, *, is_json: bool = True, **files: bytes) -> bytes:
    record_of = cmw.Record(type=OCTETS, value=evidence, ind=cmw.CmType.EVIDENCE)
    found: cmw.Cmw = record_of
    if files:
        more = tuple((role, cmw.Record(type=OCTETS, value=raw)) for role, raw in files.items())
        found = cmw.Collection(members=(("evidence", record_of), *more))
    return cmw.to_json(found) if is_json else cmw.to_cbor(found)


def stored(documents: dict[str, Served], of: TrustStore = PRODUCTION) -> MemoryDocuments:
    read_all = (read(served.body, served.chain, of) for served in documents.values())
    return MemoryDocuments({found.key: found for found in read_all})


def ours(documents: dict[str, Served] | None = None) -> Gathering:
    """With good documents of our own vendor, or these, under its root."""
    own = intel_pcs.own_trust()
    return given.gathering(
        stored(intel_pcs.own() if documents is None else documents, own), trust=own
    )


async def judged(
    judging: Judging, kind: str, raw: bytes, now: datetime, **fields: object
) -> VerifyReply:
    made = schema.encode(VerifyRequest(kind=kind, cmw=raw, **fields))  # type: ignore[arg-type]
    reply = await judging.verify(schema.decode(VerifyRequest, made), now=now)
    return schema.decode(VerifyReply, schema.encode(reply))


async def refused(judging: Judging, kind: str, raw: bytes, **fields: object) -> str:
    with pytest.raises(AtollError) as caught:
        await judged(judging, kind, raw, NOW, **fields)
    return caught.value.code


def recorded() -> tuple[bytes, dict[str, Served], datetime]:
    vectors.require()
    quote, documents = intel_pcs.recorded()
    return quote, documents, datetime.fromisoformat(str(intel_pcs.case()["verify_time"]))


def genuine(documents: dict[str, Served]) -> Gathering:
    return given.gathering(stored(documents), trust=PRODUCTION)


def genuine_report() -> tuple[dict[str, Any], MemoryDocuments]:
    """A case of the vectors, and its VCEK as AMD's service hands it out."""
    vectors.require()
    case = next(
        one for one in vectors.of_kind("snp_report") if one["id"] == "snp-milan-v3-05b7438a"
    )
    vcek, ask, ark = (vectors.read(path) for path in case["files"]["certs"])
    return case, stored({"vcek": Served(body=vcek, chain=ask + ark)})


def simulated() -> tuple[bytes, Judging]:
    """A good report of the simulated processor, wrapped, and who believes it."""
    evidence = document()
    certs = to_pem(*(Certificate.from_bytes(der) for der in evidence.certs))
    lists = MemoryCrls({Product.SIMULATED: verified(record(crl()), trust())})
    return wrapped(evidence.report, certs=certs), given.judging(given.gathering(crls=lists))


@pytest.mark.parametrize("is_json", [True, False])
async def test_a_genuine_quote_passes_by_what_is_kept(is_json: bool) -> None:  # noqa: FBT001
    quote, documents, now = recorded()
    raw = wrapped(quote, is_json=is_json)
    reply = await judged(given.judging(genuine(documents)), "tdx_quote", raw, now)
    assert (reply.verdict, reply.reason, reply.tcb_status) == ("pass", "", "UpToDate")
    assert not reply.simulated
    assert reply.claims["mrtd"] == quote[184:232].hex()


async def test_what_is_missing_or_too_old_is_the_reason() -> None:
    quote, documents, now = recorded()
    raw = wrapped(quote)
    for key in documents:
        less = {name: served for name, served in documents.items() if name != key}
        reply = await judged(given.judging(genuine(less)), "tdx_quote", raw, now)
        assert (reply.verdict, reply.reason) == ("fail", "tdx.collateral"), key
        assert "lacks" in reply.checks[0].actual
    reply = await judged(given.judging(genuine(documents)), "tdx_quote", raw, now + DAYS)
    assert (reply.verdict, reply.reason) == ("fail", "tdx.tcb_info_expired")


async def test_all_of_report_data_is_compared() -> None:
    quote, documents, now = recorded()
    judging = given.judging(genuine(documents))
    data = quote[48 + 520 : 48 + 584]
    good = await judged(judging, "tdx_quote", wrapped(quote), now, report_data=data)
    assert good.verdict == "pass"
    for other in (bytes(64), data[:32] + bytes(32)):
        if other != data:
            bad = await judged(judging, "tdx_quote", wrapped(quote), now, report_data=other)
            assert (bad.verdict, bad.reason) == ("fail", "tdx.report_data")


async def test_nobody_brings_collateral_of_his_own() -> None:
    quote = dcap.Platform().quote()
    raw = wrapped(quote, root_crl=intel_pcs.own()["intel.crl.root"].body)
    assert await refused(given.judging(ours()), "tdx_quote", raw) == "judge.files"


@pytest.mark.parametrize("kind", ["snp_launch_digest", "nonsense"])
async def test_what_is_no_kind_of_evidence_is_refused(kind: str) -> None:
    assert await refused(given.judging(), kind, wrapped(b"x")) == "judge.kind"


def test_every_kind_of_evidence_is_judged_here() -> None:
    assert BROUGHT.keys() == JUDGES.keys() - {"snp_launch_digest"}


async def test_a_simulated_report_is_judged_under_the_root_that_was_named() -> None:
    raw, judging = simulated()
    reply = await judged(judging, "snp_report", raw, NOW)
    assert (reply.verdict, reply.reason, reply.simulated) == ("pass", "", True)
    late = await judged(judging, "snp_report", raw, NOW + DAYS)
    assert (late.verdict, late.reason) == ("fail", "snp.crl")
    production = given.judging(given.gathering(trust=PRODUCTION))
    assert (await judged(production, "snp_report", raw, NOW)).reason == "snp.root"


async def test_a_vcek_that_did_not_come_along_is_looked_up() -> None:
    case, known = genuine_report()
    raw = wrapped(vectors.read(case["path"]))
    now = datetime.fromisoformat(case["verify_time"])
    found = given.judging(given.gathering(known, trust=PRODUCTION))
    assert (await judged(found, "snp_report", raw, now)).verdict == "pass"
    lacking = given.judging(given.gathering(trust=PRODUCTION))
    assert (await judged(lacking, "snp_report", raw, now)).verdict == "fail"


async def test_a_keystone_report_passes_under_a_device_key_that_is_configured() -> None:
    data = bytes(range(64))
    raw = wrapped(keystone.Content(data=data).report())
    keys = DeviceKeys(keys=frozenset({keystone.DEVICE.public}))
    judging = given.judging(given.gathering(trust=TrustStore(roots=frozenset(), keystone=keys)))
    good = await judged(judging, "keystone_report", raw, NOW, report_data=data)
    assert (good.verdict, good.simulated) == ("pass", False)
    bad = await judged(judging, "keystone_report", raw, NOW, report_data=data[:-1])
    assert (bad.verdict, bad.reason) == ("fail", "keystone.data_mismatch")
    unknown = await judged(given.judging(), "keystone_report", raw, NOW)
    assert (unknown.verdict, unknown.reason) == ("fail", "keystone.root")


async def test_the_result_is_signed_and_answers_the_nonce() -> None:
    raw, judging = simulated()
    reply = await judged(judging, "snp_report", raw, NOW, nonce=b"my question")
    ear = read_ear(reply, document().report, b"my question")
    assert (ear.is_affirming, ear.simulated, ear.reason) == (True, True, "")
    assert ear.policy_digest.hex() == reply.policy_digest == SAFE_DEFAULTS
    bad = await judged(judging, "snp_report", raw, NOW, report_data=bytes(64))
    ear = read_ear(bad, document().report, b"")
    assert (ear.is_affirming, ear.reason) == (False, "snp.report_data")
    assert bad.claims == {}


def read_ear(reply: VerifyReply, evidence: bytes, nonce: bytes) -> KindEar:
    return verify_kind_ear(
        reply.ear,
        {given.RING.active.kid: given.KEY},
        kind=reply.kind,
        evidence_digest=sha256(evidence).digest(),
        nonce=nonce,
        now=NOW,
    )


async def test_a_policy_of_the_request_decides_and_is_kept_with_what_it_decided() -> None:
    raw, judging = simulated()
    assert isinstance(judging.archive, MemoryArchive)
    strange = given.document(3, section=given.strange())
    reply = await judged(judging, "snp_report", raw, NOW, policy=strange.to_bytes())
    assert (reply.verdict, reply.reason) == ("fail", "snp.measurement")
    asked = json.dumps({"vmpl": 1}).encode()
    assert (await judged(judging, "snp_report", raw, NOW, policy=asked)).reason == "snp.vmpl"
    (role, first), (_, second) = judging.archive.kept
    assert role == "verify"
    assert (first.policy_name, first.policy_version) == ("default", 3)
    assert (first.policy, second.policy) == (strange.to_bytes(), asked)
    assert (first.reason, first.kind) == ("snp.measurement", "snp_report")


async def test_the_policy_in_force_decides_where_it_is_asked_for() -> None:
    raw, judging = simulated()
    nothing = await judged(judging, "snp_report", raw, NOW, in_force=True)
    assert (nothing.verdict, nothing.reason) == ("fail", "policy.none")
    policies = given.in_force(given.document(), given.document(2, Mode.WARN, given.strange()))
    judging = given.judging(judging.gathering, policies=policies)
    reply = await judged(judging, "snp_report", raw, NOW, in_force=True)
    assert (reply.verdict, reply.policy_digest) == ("pass", given.document().digest.hex())
    assert isinstance(judging.archive, MemoryArchive)
    assert [(role, one.reason) for role, one in judging.archive.kept] == [
        ("enforce", ""),
        ("warn", "snp.measurement"),
    ]
    other = await judged(judging, "tpm_quote", wrapped(b"x"), NOW, in_force=True)
    assert (other.verdict, other.reason) == ("fail", "policy.no_section")
    both = await refused(judging, "snp_report", raw, in_force=True, policy=b"{}")
    assert both == "judge.policy"


async def test_what_is_kept_of_a_kind_gives_the_same_verdict_again() -> None:
    judging = given.judging(
        ours(), policies=given.in_force(given.document(sections=given.sections()))
    )
    for mr_td in (given.MR_TD, bytes(48)):
        quote = dcap.Platform(body=dcap.td_report(mr_td=mr_td)).quote()
        await judged(judging, "tdx_quote", wrapped(quote), dcap.NOW, in_force=True)
    assert isinstance(judging.archive, MemoryArchive)
    records = [one for _, one in judging.archive.kept]
    assert [one.reason for one in records] == ["", "tdx.mr_td"]
    same = given.document(sections=given.sections())
    assert replay(records, same, judge_with(judging.gathering.trust)).changes == ()
    less = replay(records, given.document(2), judge_with(judging.gathering.trust))
    assert (less.now_refused, less.changes[0].new.reason) == (1, "policy.no_section")


async def test_a_verdict_that_cannot_be_kept_is_not_given() -> None:
    raw, judging = simulated()
    judging = given.judging(judging.gathering, archive=MemoryArchive(down=True))
    with pytest.raises(UnreachableError):
        await judged(judging, "snp_report", raw, NOW)


async def test_more_than_can_be_kept_is_refused_before_it_is_judged() -> None:
    octet = cmw.Record(type=OCTETS, value=b"x")
    many = tuple((f"certs.{number}", octet) for number in range(40))
    raw = cmw.to_cbor(cmw.Collection(members=(("evidence", octet), *many)))
    assert await refused(given.judging(), "snp_report", raw) == "judge.files"


@pytest.mark.parametrize("kind", sorted(BROUGHT))
@arbitrary(st.binary(max_size=64))
@settings(max_examples=30)
async def test_arbitrary_evidence_is_a_verdict_or_the_documented_error(
    kind: str, value: bytes
) -> None:
    with suppress(InputError):  # kinds that cannot be judged without another file
        reply = await judged(given.judging(), kind, wrapped(value), NOW)
        assert reply.verdict == "fail"
