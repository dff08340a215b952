"""Evidence of any kind under a policy of any form, and under no roots but those of the store."""

from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.evidence.comparisons import finding
from atoll.evidence.dcap import intel_chain
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.document import Tee
from atoll.evidence.findings import Appraisal, Finding, Outcome
from atoll.evidence.judge import ALIASES, JUDGES, parse
from atoll.evidence.judgement import Roots
from atoll.evidence.keystone.verify import DEVELOPMENT_DEVICE_KEY, DeviceKeys
from atoll.evidence.needed import Platform, intel_files
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.policy.kinds import SECTION_OF, appraise_kind, bound, requirements, roots_for
from atoll.policy.templates import strict_keystone
from atoll.wire import schema
from support import crls, dcap, evidence, intel_pcs, keystone, policies, ratls, vectors
from support.keystone import DEVICE, ENCLAVE_HASH, Content
from support.reports import report

NOBODY = TrustStore(roots=frozenset())
DEVICES = DeviceKeys(keys=frozenset({DEVICE.public}))
QUOTE = dcap.Platform().quote()
CHAIN = dcap.pck_chain()
LISTS = {"root_crl": (dcap.root_crl(),), "pck_crl": (dcap.pck_crl(),)}
ON_NO_ROOT = {
    *("snp_parse", "snp_id_block", "snp_launch_digest", "quote_parse"),
    *("ccel", "rtmr_json_log", "tpm_quote"),
}
NOT_PINNED = {"keystone_report", "intel_pck_chain"}
"""Kinds whose published cases stand on roots that are not among the pinned ones."""


def _appraise(kind: str, raw: bytes, **options: Any) -> Appraisal:
    given: dict[str, Any] = {"files": {}, "policy": {}, "product": "", "trust": NOBODY}
    given |= {"now": dcap.NOW, "policy_digest": "33" * 32, "evidence_digest": "44" * 32}
    found = appraise_kind(kind, raw, **(given | options))
    # Whatever was judged, the appraisal can be sent.
    assert schema.decode(Appraisal, schema.encode(found)) == found
    return found


def _snp(**options: Any) -> Appraisal:
    files = {"certs": evidence.chain().certificates}
    given: dict[str, Any] = {"files": files, "trust": evidence.trust()}
    return _appraise("snp_report", report(), **(given | options))


@cache
def _ours() -> TrustStore:
    return NOBODY.with_development_root(dcap.root_der())


@cache
def _collateral() -> dict[str, tuple[bytes, ...]]:
    return intel_files(Platform.of(QUOTE), intel_pcs.own())


def _tdx(**options: Any) -> Appraisal:
    return _appraise("tdx_quote", QUOTE, **({"files": _collateral(), "trust": _ours()} | options))


def _keystone(policy: Any = None, raw: bytes = b"", devices: DeviceKeys = DEVICES) -> Appraisal:
    given: dict[str, Any] = {"trust": replace(NOBODY, keystone=devices), "policy": policy or {}}
    return _appraise("keystone_report", raw or Content().report(), **given)


def _pck(raw: bytes = b"", **options: Any) -> Appraisal:
    given: dict[str, Any] = {"files": LISTS | {"root": (CHAIN[-1],)}, "trust": _ours()}
    return _appraise("intel_pck_chain", raw or dcap.pem(*CHAIN), **(given | options))


def _passed(name: str, *, passed: bool = True) -> Finding:
    return finding(name, "field", "this", "that", passed=passed)


def test_a_simulated_report_passes_with_claims_and_says_simulated() -> None:
    found = _snp()
    assert (found.passed, found.simulated, found.product) == (True, True, "Simulated")
    assert (found.tee, found.claims["report_data"]) == (Tee.SNP, "42" * 64)
    assert (found.policy_digest, found.evidence_digest) == ("33" * 32, "44" * 32)


def test_a_quote_passes_with_its_tcb_status() -> None:
    found = _tdx()
    assert (found.passed, found.simulated, found.tcb_status) == (True, True, "UpToDate")
    assert (found.tee, found.claims["mrtd"]) == (Tee.TDX, "02" * 48)


def test_a_keystone_report_passes_under_its_devices_key() -> None:
    found = _keystone()
    assert (found.passed, found.simulated, found.tee) == (True, False, Tee.KEYSTONE)
    assert found.claims["enclave_hash"] == ENCLAVE_HASH.hex()
    assert _pck().tee is None


def test_what_stands_on_a_development_root_says_so_also_without_a_report() -> None:
    chain = evidence.chain()
    development = {"trust": evidence.trust()}
    under = {"files": {"certs": (chain.ask,)}, "product": "Simulated"}
    issuer = {"files": {"issuer": (chain.ark,)}, "product": "Simulated"}
    found = (
        _pck(),
        _appraise("quote_crypto_only", QUOTE, trust=_ours()),
        _appraise("snp_cert_chain", chain.ark, **under, **development),
        _appraise("snp_crl", crls.crl(), **issuer, **development),
    )
    assert [(one.passed, one.simulated) for one in found] == [(True, True)] * len(found)


@pytest.mark.parametrize("kind", ["quote_crypto_only", "snp_cert_chain", "snp_crl"])
def test_what_stands_on_a_makers_root_does_not(kind: str) -> None:
    case = vectors.find(kind, verdict="valid", origin="real")
    files = {
        role: tuple(map(vectors.read, [paths] if isinstance(paths, str) else paths))
        for role, paths in case["files"].items()
    }
    at = datetime.fromisoformat(case["verify_time"])
    found = _appraise(kind, vectors.read(case["path"]), files=files, now=at, trust=PRODUCTION)
    assert (found.reason, found.simulated) == ("", False)


def test_what_fails_claims_nothing() -> None:
    found = _snp(policy={"report_data": "00" * 64})
    assert (found.passed, found.reason, found.claims) == (False, "snp.report_data", {})


@pytest.mark.parametrize(("kind", "raw"), [("quote_parse", QUOTE), ("snp_parse", report())])
def test_what_can_only_be_parsed_fails(kind: str, raw: bytes) -> None:
    found = _appraise(kind, raw)
    assert (found.passed, found.reason, found.claims) == (False, "judge.not_verifiable", {})
    assert found.findings[0].outcome is Outcome.PASS


def test_evidence_without_collateral_that_counts_fails_whatever_it_proves() -> None:
    found = _tdx(lacks="intel.crl.root has expired")
    assert (found.passed, found.reason) == (False, "judge.collateral")
    assert found.finding("judge.collateral").actual == "intel.crl.root has expired"
    none = _tdx(files={}, lacks="nothing is known")
    assert (none.reason, none.findings[-1].id) == ("tdx.collateral", "judge.collateral")


def test_checks_that_come_before_count_before_those_of_the_kind() -> None:
    good = _tdx(before=(_passed("asked.first"),))
    assert (good.passed, good.findings[0].id) == (True, "asked.first")
    bad = _tdx(before=(_passed("asked.first", passed=False),), lacks="nothing is known")
    assert (bad.passed, bad.reason, bad.claims) == (False, "asked.first", {})


def test_claims_that_are_too_long_or_too_many_for_a_message_are_left_out() -> None:
    said = parse("intel_pck_chain", dcap.pem(*CHAIN))
    short = [item for item in said.items() if len(item[1]) <= 1024]
    assert len(said) > len(short) > 64
    assert dict(_pck().claims) == dict(short[:64])


def test_claims_with_names_that_a_message_cannot_hold_are_left_out() -> None:
    more: dict[str, Any] = {"a b": "x", "n" * 80: "y", "z": "z"}
    said = ratls.claims(**more)
    body = dcap.enclave_report(report_data=ratls.report_data(said))
    quote = dcap.Platform.sgx(body=body).quote()
    der = ratls.Tls(value=ratls.evidence(said, quote)).der()
    found = _appraise("ratls_cert", der, trust=_ours(), now=ratls.NOW)
    own = {name for name in found.claims if name.startswith("claims.")}
    assert (found.passed, own) == (True, {"claims.pubkey-hash", "claims.z"})


def test_of_too_many_checks_the_first_that_failed_is_kept() -> None:
    many = tuple(_passed(f"asked.c{number}") for number in range(200))
    assert _tdx(before=many).passed
    assert len(_tdx(before=many[: 128 - len(_tdx().findings)]).findings) == 128
    late = _tdx(before=many, trust=NOBODY)
    assert (late.reason, len(late.findings)) == ("tdx.untrusted_root", 128)
    assert late.findings[-1].id == late.reason
    early = _tdx(before=(_passed("asked.early", passed=False), *many), trust=NOBODY)
    assert (early.reason, len(early.findings)) == ("asked.early", 127)


def test_a_request_that_cannot_be_meant_is_an_error() -> None:
    for kind, code in (("sev", "judge.kind"), ("ccel", "judge.files")):
        with pytest.raises(InputError) as caught:
            _appraise(kind, b"x", files={"certs": (b"x",)})
        assert caught.value.code == code


@pytest.mark.parametrize("kind", sorted({*SECTION_OF, "quote_crypto_only", "ratls_cert", "ccel"}))
@given(raw=st.binary(max_size=300))
@settings(max_examples=20)
def test_arbitrary_bytes_never_pass_and_raise_nothing(kind: str, raw: bytes) -> None:
    assert not _appraise(kind, raw, trust=PRODUCTION).passed


def test_a_document_asks_of_a_kind_what_its_section_says() -> None:
    document = policies.document()
    for kind, tee in SECTION_OF.items():
        found = requirements(kind, document)
        assert found is not None
        assert found["tee"] == tee
        assert requirements(kind, policies.document(sections={})) is None
    for alias, kind in ALIASES.items():
        assert requirements(alias, document, b"x") == requirements(kind, document, b"x")
    for kind in JUDGES.keys() - SECTION_OF.keys() | {"unknown"}:
        assert requirements(kind, document) is None


def test_requirements_of_a_document_count() -> None:
    devices = strict_keystone(frozenset({ENCLAVE_HASH}))
    document = policies.document(sections={"sev-snp": evidence.policy(), "keystone": devices})
    assert _snp(policy=requirements("snp_report", document)).passed
    other = requirements("snp_report", policies.document())
    assert _snp(policy=other).finding("snp.measurement").outcome is Outcome.FAIL
    for data in (b"nonce", b"other"):
        asked = requirements("keystone_report", document, data)
        assert _keystone(asked).passed == (data == b"nonce")
    strict = _tdx(policy=requirements("tdx_quote", policies.document()))
    assert strict.finding("tdx.mr_td").outcome is Outcome.FAIL


def test_what_evidence_must_be_bound_to_has_its_own_name_for_keystone() -> None:
    assert bound("tdx_quote", {"a": 1}, b"\x01") == {"a": 1, "report_data": "01"}
    assert bound("keystone_report", {"data": "00"}, b"\x01") == {"data": "01"}
    assert bound("keystone", {}, b"\x01") == {"data": "01"}
    assert bound("tdx_quote", {"report_data": "00"}, b"") == {"report_data": "00"}


def test_evidence_that_is_bound_to_something_else_fails() -> None:
    assert _snp(policy=bound("snp_report", {}, b"\x42" * 64)).passed
    assert _snp(policy=bound("snp_report", {}, b"\x43" * 64)).reason == "snp.report_data"
    assert _keystone(bound("keystone_report", {}, b"nonce")).passed
    assert not _keystone(bound("keystone_report", {}, b"nonc")).passed


def test_a_store_without_amds_root_does_not_believe_it() -> None:
    assert _snp(trust=NOBODY).reason == "snp.root"
    assert _snp(trust=PRODUCTION).reason == "snp.root"
    assert roots_for("snp_report", b"", NOBODY).amd_spki_sha256 == {}
    assert len(roots_for("snp_report", b"", PRODUCTION).amd_spki_sha256 or ()) == 3


def test_a_store_without_intels_root_does_not_believe_it() -> None:
    assert _tdx(trust=NOBODY).reason == "tdx.untrusted_root"
    assert _tdx(trust=PRODUCTION).reason == "tdx.untrusted_root"
    assert roots_for("tdx_quote", b"", PRODUCTION) == Roots()
    both = roots_for("tdx_quote", b"", PRODUCTION.with_development_root(dcap.root_der()))
    (ours,) = dcap.roots().roots
    assert both == Roots(intel_more_spki_sha256=frozenset({ours.spki_sha256}))
    alone = roots_for("tdx_quote", b"", _ours())
    (pinned,) = intel_chain.PRODUCTION.roots
    assert pinned.spki_sha256 not in (alone.intel_spki_sha256 or {pinned.spki_sha256})


def test_a_genuine_quote_counts_for_nothing_where_only_a_development_root_is_believed() -> None:
    vectors.require()
    raw, known = intel_pcs.recorded()
    now = datetime.fromisoformat(str(intel_pcs.case()["verify_time"]))
    given: dict[str, Any] = {"files": intel_files(Platform.of(raw), known), "now": now}
    assert _appraise("tdx_quote", raw, **given, trust=_ours()).reason == "tdx.untrusted_root"
    genuine = _appraise("tdx_quote", raw, **given, trust=PRODUCTION)
    assert (genuine.passed, genuine.simulated) == (True, False)
    chain = Quote.from_bytes(raw).certification.chain
    files = {role: given["files"][role] for role in LISTS} | {"root": chain[-1:]}
    assert _pck(dcap.pem(*chain), files=files, now=now, trust=PRODUCTION).passed


def test_a_root_beside_a_pck_chain_is_believed_only_if_the_store_has_it() -> None:
    assert _pck().passed
    for trust in (NOBODY, PRODUCTION):
        assert _pck(trust=trust).reason == "pck.collateral"
    assert _pck(files={"root": (b"x",)}).reason == "pck.collateral"
    assert _pck(files={}).reason == "pck.collateral"


def test_a_device_that_is_not_in_the_store_is_not_believed_though_a_policy_names_it() -> None:
    nobody = DeviceKeys(keys=frozenset({keystone.SM.public}))
    assert _keystone(devices=nobody).reason == "keystone.root"
    named = {"device_public_key": DEVICE.public.hex()}
    assert _keystone(named, devices=nobody).reason == "keystone.root"
    assert _keystone(named).passed
    other = {"device_public_key": keystone.SM.public.hex()}
    assert _keystone(other).reason == "keystone.untrusted_device_key"
    assert roots_for("keystone_report", b"x", NOBODY) == Roots()


def test_the_published_device_key_passes_only_if_the_store_has_it_and_a_policy_allows_it() -> None:
    raw = vectors.read(vectors.find("keystone_report", verdict="valid")["path"])
    published = DeviceKeys(keys=frozenset({DEVELOPMENT_DEVICE_KEY}), allow_development=True)
    assert _keystone({}, raw, published).reason == "keystone.development_key"
    named = {"device_public_key": DEVELOPMENT_DEVICE_KEY.hex()}
    for policy in ({"allow_development_key": True}, named):
        assert _keystone(policy, raw).reason == "keystone.root"
        found = _keystone(policy, raw, published)
        assert (found.passed, found.simulated) == (True, True)


@pytest.mark.parametrize("kind", sorted(JUDGES.keys() - ON_NO_ROOT))
def test_nothing_that_stands_on_a_root_passes_under_an_empty_store(kind: str) -> None:
    case = vectors.find(kind, verdict="valid")
    paths = {role: [one] if isinstance(one, str) else one for role, one in case["files"].items()}
    files = {role: tuple(map(vectors.read, some)) for role, some in paths.items()}
    now = datetime.fromisoformat(case.get("verify_time") or dcap.NOW.isoformat())
    given: dict[str, Any] = {"files": files, "policy": case["policy"], "now": now}
    raw = vectors.read(case["path"])
    reason = "collateral" if kind == "intel_pck_chain" else "root"
    assert _appraise(kind, raw, **given).reason.endswith(reason)
    assert _appraise(kind, raw, **given, trust=PRODUCTION).passed == (kind not in NOT_PINNED)


@pytest.mark.parametrize(("alias", "kind"), sorted(ALIASES.items()))
def test_an_alias_is_judged_under_the_same_roots(alias: str, kind: str) -> None:
    raw, trust = Content().report(), replace(PRODUCTION, keystone=DEVICES)
    assert roots_for(alias, raw, trust) == roots_for(kind, raw, trust)
    assert roots_for(alias, raw, NOBODY) == roots_for(kind, raw, NOBODY)
    assert _appraise(alias, b"").tee is Tee(SECTION_OF[kind])
