"""The judge: inputs of a case in, a verdict out, and never an exception."""

import json
from dataclasses import replace
from typing import Any

import pytest

from atoll.evidence.dcap.collateral import Collateral
from atoll.evidence.dcap.judge import JUDGES, Case, CaseResult, CaseVerdict
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.sgx_policy import SgxPolicy, sgx_policy_to_json
from atoll.evidence.tdx_policy import tdx_policy_to_json
from atoll.policy.templates import strict_tdx
from support import dcap
from support.dcap import NOW, PCK, ROOT, Platform, key

ROOT_SPKI = next(iter(dcap.roots().roots)).spki_sha256
ACCEPT = [status.value for status in TcbStatus]


def _files(collateral: Collateral) -> dict[str, bytes]:
    return {
        "tcb_info": collateral.tcb_info.raw,
        "tcb_info_sig": collateral.tcb_info.signature.hex().encode(),
        "tcb_chain": collateral.tcb_info_chain,
        "qe_identity": collateral.qe_identity.raw,
        "qe_identity_sig": collateral.qe_identity.signature.hex().encode(),
        "qe_chain": collateral.qe_identity_chain,
        "root_crl": collateral.root_crl,
        "pck_crl": collateral.pck_crl,
    }


def _case(platform: Platform | None = None, tee: str = "TDX", **policy: Any) -> Case:
    return Case(
        evidence=(platform or Platform()).quote(),
        files=_files(dcap.collateral(tee)),
        policy=policy,
        now=NOW,
        trusted_root_spki=ROOT_SPKI,
    )


def _judge(case: Case, kind: str = "tdx_quote") -> tuple[str, str]:
    result: CaseResult = JUDGES[kind](case)
    return result.verdict.value, result.reason


def test_judges_quotes_of_both_tees() -> None:
    assert _judge(_case()) == ("valid", "")
    assert _judge(_case(Platform.sgx(), "SGX"), "sgx_quote") == ("valid", "")


def test_trusts_intels_root_where_the_case_names_none() -> None:
    case = replace(_case(), trusted_root_spki=None)
    assert _judge(case) == ("invalid", "evidence.untrusted_root")


def test_refuses_debug_and_other_statuses_by_default() -> None:
    debug = Platform(body=dcap.td_report(td_attributes=1))
    old = Platform(qe={"isv_svn": 3})
    assert _judge(_case(debug)) == ("invalid", "tdx.debug")
    assert _judge(_case(debug, allow_debug=True)) == ("valid", "")
    assert _judge(_case(old)) == ("invalid", "tdx.tcb_status")
    assert _judge(_case(old, accept_tcb_status=ACCEPT)) == ("valid", "")


def test_revoked_is_refused_though_the_policy_lists_it() -> None:
    revoked = dcap.signed(dcap.tcb_info(tcbLevels=[dcap.level("Revoked")]))
    files = _files(dcap.collateral(tcb_info=revoked))
    result = JUDGES["tdx_quote"](replace(_case(accept_tcb_status=ACCEPT), files=files))
    assert (result.verdict, result.reason) == (CaseVerdict.INVALID, "tdx.tcb_status")
    assert result.tcb_status is TcbStatus.REVOKED


@pytest.mark.parametrize(
    "policy",
    [
        {"news": 1},
        {"mrtd": "xyz"},
        {"mrtd": 5},
        {"mrtd": "00"},
        {"allow_debug": "yes"},
        {"min_tcb_eval": "5"},
        {"min_tcb_eval": True},
        {"accept_tcb_status": ["Fine"]},
        {"accept_tcb_status": 5},
    ],
)
def test_a_policy_that_it_does_not_understand_refuses(policy: dict[str, Any]) -> None:
    verdict, reason = _judge(_case(**policy))
    assert verdict == "invalid"
    assert reason in ("case.invalid", "policy.invalid")


def test_compares_what_the_policy_names() -> None:
    assert _judge(_case(require_sept_ve_disable=True, min_tcb_eval=17)) == ("valid", "")
    assert _judge(_case(report_data="01" * 64)) == ("invalid", "tdx.report_data")
    sgx = _case(Platform.sgx(), "SGX", isvprodid=9, min_isvsvn=4, mrsigner=dcap.QE_MR_SIGNER.hex())
    assert _judge(sgx, "sgx_quote") == ("valid", "")
    other = _case(Platform.sgx(), "SGX", mrenclave="00" * 32)
    assert _judge(other, "sgx_quote") == ("invalid", "sgx.mr_enclave")


def test_a_quote_of_the_other_tee_is_refused() -> None:
    assert _judge(_case(Platform.sgx(), "SGX"), "tdx_quote") == ("invalid", "evidence.tee")
    assert _judge(_case(), "sgx_quote") == ("invalid", "evidence.tee")


def test_a_missing_file_refuses() -> None:
    assert _judge(replace(_case(), files={})) == ("invalid", "case.invalid")


def test_a_root_that_is_no_digest_refuses() -> None:
    assert _judge(replace(_case(), trusted_root_spki=b"x")) == ("invalid", "case.invalid")


def test_takes_a_chain_from_beside_the_quote() -> None:
    case = _case(Platform(certification=(3, bytes(404))))
    assert _judge(case) == ("invalid", "evidence.quote_certification")
    files = {**case.files, "pck_chain": dcap.pem(*dcap.pck_chain())}
    assert _judge(replace(case, files=files)) == ("valid", "")
    assert _judge(replace(case, files=files), "quote_crypto_only") == ("valid", "")


def test_reads_without_trusting() -> None:
    case = replace(_case(), files={}, trusted_root_spki=None)
    assert _judge(case, "quote_parse") == ("parse-only", "")
    assert _judge(replace(case, evidence=b"text"), "quote_parse")[0] == "invalid"
    assert _judge(case, "quote_crypto_only") == ("invalid", "evidence.untrusted_root")
    assert _judge(_case(), "quote_crypto_only") == ("valid", "")


def _chain_case(chain: tuple[bytes, ...] | None = None, **files: bytes) -> Case:
    given = {
        "root": dcap.pem(dcap.root_der()),
        "root_crl": dcap.root_crl(),
        "pck_crl": dcap.pem_crl(dcap.pck_crl()),
    }
    evidence = dcap.pem(*(chain or dcap.pck_chain()))
    return Case(evidence=evidence, files={**given, **files}, policy={}, now=NOW)


def test_judges_a_chain_in_any_order_under_the_given_root() -> None:
    chain = dcap.pck_chain()
    root = chain[-1]
    for one in (chain, chain[::-1]):
        case = _chain_case(one, root=dcap.pem(root))
        assert _judge(case, "intel_pck_chain") == ("valid", "")


def test_a_chain_must_end_in_the_given_root_itself() -> None:
    other = dcap.pem(replace(ROOT, serial=99).issue(key("root")))
    case = _chain_case(root=other)
    assert _judge(case, "intel_pck_chain") == ("invalid", "evidence.untrusted_root")


def test_a_chain_is_refused_for_a_revoked_pck_or_two_roots() -> None:
    chain = dcap.pck_chain()
    root = dcap.pem(chain[-1])
    case = _chain_case(chain, root=root, pck_crl=dcap.pck_crl(PCK.serial))
    assert _judge(case, "intel_pck_chain") == ("invalid", "evidence.revoked")
    assert _judge(_chain_case(root=root + root), "intel_pck_chain") == ("invalid", "case.invalid")


def _whole(raw: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(raw)
    return value


def _td_case(policy: dict[str, Any], **more: Any) -> Case:
    return replace(_case(), policy=policy | more)


def test_a_whole_policy_of_tdx_counts_with_every_field() -> None:
    mr_td = Quote.from_bytes(Platform().quote()).td_report
    assert mr_td is not None
    own = mr_td.mr_td
    good = _whole(tdx_policy_to_json(strict_tdx(frozenset({own}))))
    assert _judge(_td_case(good)) == ("valid", "")
    assert _judge(_td_case(good, mrtd=own.hex())) == ("valid", "")
    assert _judge(_td_case(good, mrtd="00" * 47 + "01")) == ("invalid", "tdx.mr_td")
    lax = good | {"mr_tds": "unchecked"}
    assert _judge(_td_case(lax, mrtd="00" * 47 + "01")) == ("invalid", "tdx.mr_td")
    del good["xfams"]
    assert _judge(_td_case(good)) == ("invalid", "policy.invalid")


def test_a_whole_policy_of_sgx_counts_with_every_field() -> None:
    policy = SgxPolicy(
        mr_enclaves=frozenset({b"\x07" * 32}),
        mr_signers=UNCHECKED,
        isv_prod_ids=frozenset({9}),
        minimum_isv_svn=UNCHECKED,
        report_data=UNCHECKED,
        allow_debug=False,
        tcb_statuses=frozenset({TcbStatus.UP_TO_DATE}),
        minimum_tcb_evaluation_data_number=UNCHECKED,
    )
    good = _whole(sgx_policy_to_json(policy))
    assert _judge(replace(_case(Platform.sgx(), "SGX"), policy=good), "sgx_quote") == ("valid", "")
    other = good | {"isv_prod_ids": [8]}
    case = replace(_case(Platform.sgx(), "SGX"), policy=other)
    assert _judge(case, "sgx_quote") == ("invalid", "sgx.isv_prod_id")
