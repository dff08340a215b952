"""The verification API, kind by kind: what each needs beside the evidence, and what it refuses."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from atoll.errors import InputError
from atoll.evidence.cert_table import ARK, ASK, VCEK, CertificateTable
from atoll.evidence.dcap.intel_chain import read_certificate
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.judge import judge, parse
from atoll.evidence.judgement import Roots
from atoll.evidence.quote_fields import fields_of
from atoll.evidence.x509 import ders
from support import dcap, evidence, id_block, ovmf, vectors
from support.reports import judge_report, report


def _extended(entries: dict[Any, bytes]) -> bytes:
    return report() + CertificateTable(entries=tuple(entries.items())).to_bytes()


def test_an_extended_report_takes_authorities_from_files_only_if_it_lacks_them() -> None:
    chain, other = evidence.chain(), evidence.other_chain()
    whole = _extended({VCEK: chain.vcek, ASK: chain.ask, ARK: chain.ark})
    kind = "snp_extended_report"
    assert judge_report(whole, kind, files={"certs": other.certificates}).verdict == "valid"
    leaf = _extended({VCEK: chain.vcek})
    assert judge_report(leaf, kind, files={"certs": [chain.ask, chain.ark]}).verdict == "valid"
    assert judge_report(leaf, kind, files={}).reason == "snp.chain"
    foreign = _extended({VCEK: chain.vcek, ASK: other.ask, ARK: other.ark})
    assert judge_report(foreign, kind).verdict == "invalid"
    assert judge_report(whole[:-1], kind).reason == "snp.cert_table"


def test_a_chain_without_a_vek_is_judged_with_its_product() -> None:
    chain = evidence.chain()
    files = {"certs": [chain.ask]}
    assert judge_report(chain.ark, "snp_cert_chain", files=files).verdict == "valid"
    assert (
        judge_report(chain.ark, "snp_cert_chain", files=files, product="Genoa").reason
        == "snp.product_line"
    )
    assert judge_report(chain.ark, "snp_cert_chain", files={}).reason == "snp.chain"
    assert judge_report(chain.ark, "snp_cert_chain", files=files, roots=None).reason == "snp.root"


def test_a_chain_without_a_vek_is_held_against_its_revocation_lists() -> None:
    case = vectors.find("snp_report", reason="revoked")
    named = {name: bytes.fromhex(value) for name, value in case["trusted_roots"].items()}
    certs = [vectors.read(path) for path in case["files"]["certs"] if "ark" in path or "as" in path]
    crls = [vectors.read(path) for path in case["files"]["crls"]]
    given: dict[str, Any] = {
        "now": datetime.fromisoformat(case["verify_time"]),
        "roots": Roots(amd_spki_sha256=named),
    }
    alone = judge("snp_cert_chain", certs[-1], files={"certs": certs}, **given)
    assert alone.verdict == "valid"
    revoked = judge("snp_cert_chain", certs[-1], files={"certs": certs, "crls": crls}, **given)
    assert revoked.reason == "snp.crl"
    assert "revoked: SEV-" in revoked.checks[-1].actual
    broken = judge("snp_cert_chain", certs[-1], files={"certs": certs, "crls": [b""]}, **given)
    assert broken.verdict == "invalid"


def test_a_revocation_list_of_a_root_that_nobody_trusts_is_refused() -> None:
    case = vectors.find("snp_crl", verdict="valid")
    given: dict[str, Any] = {
        "files": {"issuer": [vectors.read(case["files"]["issuer"])]},
        "now": datetime.fromisoformat(case["verify_time"]),
    }
    crl = vectors.read(case["path"])
    assert judge("snp_crl", crl, **given).claims["revoked_serials"] == "20001"
    nobody = judge("snp_crl", crl, **given, roots=Roots(amd_spki_sha256={}))
    assert (nobody.reason, nobody.claims) == ("snp.root", {})
    intermediate = vectors.read("snp/certs/ask-genoa.pem")
    not_a_root = judge("snp_crl", crl, **(given | {"files": {"issuer": [intermediate]}}))
    assert not_a_root.reason == "snp.root"
    other = judge("snp_crl", crl, **given, product="Milan")
    assert other.reason == "snp.product_line"


def _tdx(quote: str) -> tuple[bytes, dict[str, Any]]:
    case = vectors.find("tdx_quote", path=quote, verdict="valid")
    files = {role: [vectors.read(path)] for role, path in case["files"].items()}
    now = datetime.fromisoformat(case["verify_time"])
    return vectors.read(quote), {"files": files, "policy": case["policy"], "now": now}


@pytest.mark.parametrize("kind", ["ccel", "rtmr_json_log"])
def test_the_rtmrs_of_a_genuine_quote_must_follow_from_the_event_log(kind: str) -> None:
    vectors.require()
    logs = [case for case in vectors.of_kind(kind) if "quote" in case["files"]]
    quotes = {case["path"] for case in vectors.of_kind("tdx_quote") if _accepted(case)}
    outcomes = set()
    for log in logs:
        if log["files"]["quote"] not in quotes:
            continue
        quote, given = _tdx(log["files"]["quote"])
        given["files"]["event_log"] = [vectors.read(log["path"])]
        outcomes.add((log["expected"]["verdict"], judge("tdx", quote, **given).reason))
    assert ("invalid", "") not in outcomes
    assert outcomes & {("valid", ""), ("invalid", "tdx.event_log")}


def _accepted(case: dict[str, Any]) -> bool:
    return bool(case["expected"]["verdict"] == "valid")


def test_roots_for_quotes_are_believed_beside_intels() -> None:
    case = vectors.find("tdx_quote", verdict="valid")
    quote, given = _tdx(case["path"])
    genuine = read_certificate(ders(given["files"]["tcb_chain"][0])[-1]).der
    for certificates in ((genuine,), (dcap.root_der(),), (genuine, dcap.root_der())):
        judgement = judge("tdx", quote, **given, roots=Roots(certificates=certificates))
        assert (judgement.verdict, judgement.simulated) == ("valid", False)
    with pytest.raises(InputError) as caught:
        judge("tdx", quote, **given, roots=Roots(certificates=(b"x",)))
    assert caught.value.code == "trust.root"


def test_a_quote_under_a_root_that_is_not_intels_is_called_simulated() -> None:
    made = dcap.collateral()
    files = {
        "tcb_info": [made.tcb_info.raw],
        "tcb_info_sig": [made.tcb_info.signature.hex().encode()],
        "tcb_chain": [made.tcb_info_chain],
        "qe_identity": [made.qe_identity.raw],
        "qe_identity_sig": [made.qe_identity.signature.hex().encode()],
        "qe_chain": [made.qe_identity_chain],
        "root_crl": [made.root_crl],
        "pck_crl": [made.pck_crl],
    }
    (own,) = dcap.roots().roots
    quote = dcap.Platform().quote()
    assert judge("tdx", quote, files=files, now=dcap.NOW).reason == "tdx.untrusted_root"
    for roots in (
        Roots(certificates=(dcap.root_der(),)),
        Roots(intel_spki_sha256=frozenset({own.spki_sha256})),
    ):
        judgement = judge("tdx", quote, files=files, now=dcap.NOW, roots=roots)
        assert (judgement.verdict, judgement.simulated) == ("valid", True)


def test_only_one_root_can_stand_in_for_intels() -> None:
    case = vectors.find("tdx_quote", verdict="valid")
    quote, given = _tdx(case["path"])
    two = frozenset({bytes(32), b"\x01" * 32})
    with pytest.raises(InputError) as caught:
        judge("tdx", quote, **given, roots=Roots(intel_spki_sha256=two))
    assert caught.value.code == "trust.root"


def test_a_log_without_anything_to_compare_with_is_only_parsed() -> None:
    raw = vectors.read(vectors.find("ccel", verdict="valid")["path"])
    assert judge("ccel", raw).verdict == "parse-only"


def test_an_extended_report_is_parsed_with_its_table() -> None:
    chain = evidence.chain()
    fields = parse("snp_extended_report", _extended({VCEK: chain.vcek}))
    assert fields[f"cert_table.{VCEK}"] == chain.vcek.hex()
    assert fields["report_data"] == "42" * 64


def test_an_id_block_is_judged_by_signatures_digests_and_policy() -> None:
    raw = id_block.block()
    files = {"auth": [id_block.auth(raw)]}
    assert judge("snp_id_block", raw, files=files).verdict == "valid"
    for policy, reason in (
        ({"id_key_digest": "00" * 48}, "idblock.id_key_digest"),
        ({"author_key_digest": "00" * 48}, "idblock.author_key_digest"),
        ({"measurement": "00" * 48}, "idblock.measurement"),
    ):
        assert judge("snp_id_block", raw, files=files, policy=policy).reason == reason
    debug = id_block.block(policy=0xB0000)
    files = {"auth": [id_block.auth(debug)]}
    assert judge("snp_id_block", debug, files=files).reason == "idblock.debug"
    assert judge("snp_id_block", debug, files=files, policy={"allow_debug": True}).reason == ""


def test_an_id_block_is_parsed_with_and_without_its_authentication() -> None:
    raw = id_block.block()
    assert parse("snp_id_block", raw)["guest_svn"] == "7"
    files = {"auth": [id_block.auth(raw, author=False)]}
    assert "author_key_digest" not in judge("snp_id_block", raw, files=files).claims


def test_a_quote_is_parsed_also_when_its_certificates_cannot_be() -> None:
    quote = Quote.from_bytes(vectors.read(vectors.find("tdx_quote", verdict="valid")["path"]))
    assert "fmspc" in fields_of(quote)
    bad = replace(quote, certification=replace(quote.certification, chain=(b"x",)))
    assert "fmspc" not in fields_of(bad)


def test_an_id_block_without_an_author_does_not_satisfy_one_who_wants_that_author() -> None:
    raw = id_block.block()
    files = {"auth": [id_block.auth(raw, author=False)]}
    policy = {"author_key_digest": "61" * 48}
    assert (
        judge("snp_id_block", raw, files=files, policy=policy).reason == "idblock.author_key_digest"
    )


@pytest.mark.parametrize(
    "params",
    [
        {"vcpus": "1"},
        {"vcpus": True},
        {"vmm": "kvm"},
        {"append": 3},
        {"vcpus": 0},
        {"unknown": 1},
        {"ovmf_hash": "00"},
    ],
)
def test_a_launch_that_cannot_be_computed_has_no_digest(params: dict[str, Any]) -> None:
    policy = {"measurement": "00" * 48}
    judgement = judge("snp_launch_digest", ovmf.image(), params=params, policy=policy)
    assert judgement.reason == "measure.launch_digest"


def test_a_launch_digest_wants_something_to_compare_with() -> None:
    with pytest.raises(InputError, match="measurement"):
        judge("snp_launch_digest", ovmf.image())
