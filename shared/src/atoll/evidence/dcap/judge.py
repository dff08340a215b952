"""Judge one published case of the kinds about Intel's evidence, from its inputs alone.

Each `judge_*` takes the evidence, the files by role, the policy as the case's manifest
writes it and the moment to judge at. An absent key of the policy is not checked, except
that debug is refused and only UpToDate accepted; an unknown key refuses the case. A policy
with a key "tee" is a whole one, beside which only the measurement may be named once more.

| kind              | roles                                                           |
| tdx_quote         | tcb_info, tcb_info_sig, tcb_chain, qe_identity, qe_identity_sig, |
| sgx_quote         | qe_chain, root_crl, pck_crl, and pck_chain where there is one    |
| quote_crypto_only | none                                                            |
| quote_parse       | none                                                            |
| intel_pck_chain   | chain, root, root_crl, pck_crl                                   |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from functools import partial
from hashlib import sha256
from typing import Any, Final

from atoll import canonical
from atoll.errors import AtollError, EvidenceError, InputError, RejectedEvidenceError
from atoll.evidence.dcap.cert_data import chain_of
from atoll.evidence.dcap.collateral import Collateral
from atoll.evidence.dcap.intel_chain import (
    PCK_CN,
    PRODUCTION,
    ROOT_CN,
    IntelRoot,
    IntelRoots,
    check_revocation,
    read_certificate,
    verify_pck_chain,
)
from atoll.evidence.dcap.quote import Quote, QuoteTee
from atoll.evidence.dcap.reports import TdAttributes
from atoll.evidence.dcap.signed_json import with_hex_signature
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.dcap.verify import VerifiedQuote, verify_quote, verify_quote_crypto
from atoll.evidence.findings import Finding, first_failed
from atoll.evidence.policy_forms import UNCHECKED, Unchecked, narrowed
from atoll.evidence.sgx_policy import SgxPolicy, sgx_findings, sgx_policy_from_json
from atoll.evidence.tdx_findings import tdx_findings
from atoll.evidence.tdx_policy import TdxPolicy, tdx_policy_from_json
from atoll.evidence.x509 import INTEL, RevocationList, crl_der, ders

_COMMON_KEYS: Final = frozenset({"accept_tcb_status", "allow_debug", "min_tcb_eval", "report_data"})
_TDX_KEYS: Final = _COMMON_KEYS | {
    "mrtd",
    "rtmr0",
    "rtmr1",
    "rtmr2",
    "rtmr3",
    "mrconfigid",
    "mrowner",
    "mrownerconfig",
    "mrservicetd",
    "mrseam",
    "xfam",
    "require_sept_ve_disable",
}
_SGX_KEYS: Final = _COMMON_KEYS | {"mrenclave", "mrsigner", "isvprodid", "min_isvsvn"}


class CaseVerdict(Enum):
    """What a case comes to."""

    VALID = "valid"
    INVALID = "invalid"
    PARSE_ONLY = "parse-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """The verdict, the id of the first check that failed, and the TCB status if known."""

    verdict: CaseVerdict
    reason: str
    tcb_status: TcbStatus | None
    verified: VerifiedQuote | None
    findings: tuple[Finding, ...] = ()
    """Of the policy; there are none before the quote is verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The inputs of one case.

    `trusted_root_spki` replaces Intel's root if it is there, `more_root_spkis` are believed
    beside it. What stands under any root but Intel's counts as simulated.
    """

    evidence: bytes
    files: Mapping[str, bytes]
    policy: Mapping[str, Any]
    now: datetime
    trusted_root_spki: bytes | None = None
    more_root_spkis: frozenset[bytes] = frozenset()

    @property
    def roots(self) -> IntelRoots:
        """The roots to believe.

        Raises:
            InputError: `case.invalid`: a root is no SHA-256 digest.
        """
        named = self.trusted_root_spki
        first = PRODUCTION.roots if named is None else frozenset({_root(named)})
        return IntelRoots(roots=first | {_root(spki) for spki in self.more_root_spkis})

    def file(self, role: str) -> bytes:
        """The file with this role.

        Raises:
            InputError: `case.invalid`: there is none.
        """
        if role not in self.files:
            raise InputError(f"case has no file {role!r}", code="case.invalid")
        return self.files[role]


def judge_tdx_quote(case: Case) -> CaseResult:
    """Kind `tdx_quote`: authenticity, TCB, policy; never raises."""
    return _judged(case, partial(_quote, QuoteTee.TDX))


def judge_sgx_quote(case: Case) -> CaseResult:
    """Kind `sgx_quote`: authenticity, TCB, policy; never raises."""
    return _judged(case, partial(_quote, QuoteTee.SGX))


def judge_quote_crypto_only(case: Case) -> CaseResult:
    """Kind `quote_crypto_only`: chain, QE binding and signature, without collateral."""
    return _judged(case, _crypto_only)


def judge_quote_parse(case: Case) -> CaseResult:
    """Kind `quote_parse`: whether the quote can be read; says nothing about trust."""
    return _judged(case, _parse)


def judge_pck_chain(case: Case) -> CaseResult:
    """Kind `intel_pck_chain`: a chain in any order under the root beside it, and CRLs."""
    return _judged(case, _pck_chain)


JUDGES: Final[Mapping[str, Callable[[Case], CaseResult]]] = {
    "tdx_quote": judge_tdx_quote,
    "sgx_quote": judge_sgx_quote,
    "quote_crypto_only": judge_quote_crypto_only,
    "quote_parse": judge_quote_parse,
    "intel_pck_chain": judge_pck_chain,
}
"""The function for each kind."""


def _judged(case: Case, judge: Callable[[Case], CaseResult]) -> CaseResult:
    try:
        return judge(case)
    except (EvidenceError, InputError) as error:
        return _invalid(error)


def _invalid(error: AtollError) -> CaseResult:
    return CaseResult(
        verdict=CaseVerdict.INVALID, reason=error.code, tcb_status=None, verified=None
    )


def _valid() -> CaseResult:
    return CaseResult(verdict=CaseVerdict.VALID, reason="", tcb_status=None, verified=None)


def _quote(tee: QuoteTee, case: Case) -> CaseResult:
    beside = chain_of(case.files["pck_chain"]) if "pck_chain" in case.files else ()
    verified = verify_quote(
        case.evidence, _collateral(case), case.roots, now=case.now, pck_chain=beside
    )
    # Genuine all the same, and not what was asked for: an SGX enclave is no TD.
    found = verified.quote.header.tee
    if found is not tee:
        raise RejectedEvidenceError(
            f"quote is of {found.name}, want {tee.name}", code="evidence.tee"
        )
    findings = _findings(verified, case.policy)
    reason = first_failed(findings)
    return CaseResult(
        verdict=CaseVerdict.INVALID if reason else CaseVerdict.VALID,
        reason=reason,
        tcb_status=verified.tcb.status,
        verified=verified,
        findings=findings,
    )


def _collateral(case: Case) -> Collateral:
    return Collateral(
        tcb_info=with_hex_signature(case.file("tcb_info"), case.file("tcb_info_sig")),
        tcb_info_chain=case.file("tcb_chain"),
        qe_identity=with_hex_signature(case.file("qe_identity"), case.file("qe_identity_sig")),
        qe_identity_chain=case.file("qe_chain"),
        root_crl=case.file("root_crl"),
        pck_crl=case.file("pck_crl"),
    )


def _crypto_only(case: Case) -> CaseResult:
    beside = chain_of(case.files["pck_chain"]) if "pck_chain" in case.files else ()
    verify_quote_crypto(case.evidence, case.roots, now=case.now, pck_chain=beside)
    return _valid()


def _parse(case: Case) -> CaseResult:
    Quote.from_bytes(case.evidence)
    return CaseResult(verdict=CaseVerdict.PARSE_ONLY, reason="", tcb_status=None, verified=None)


def _pck_chain(case: Case) -> CaseResult:
    given = ders(case.file("root"))
    if len(given) != 1:
        raise InputError(f"case has {len(given)} roots, want 1", code="case.invalid")
    anchor = read_certificate(given[0])
    certificates = [read_certificate(der) for der in ders(case.evidence)]
    # Intel's test data has the root first. Position says nothing there, so names choose.
    order = {PCK_CN: 0, ROOT_CN: 2}
    certificates.sort(key=lambda one: order.get(one.subject_cn, 1))
    if anchor.der != certificates[-1].der:
        raise RejectedEvidenceError(
            "chain does not end in the given root", code="evidence.untrusted_root"
        )
    roots = IntelRoots(roots=frozenset({_root(sha256(anchor.spki).digest())}))
    pck = verify_pck_chain([one.der for one in certificates], roots, now=case.now)
    check_revocation(
        pck.leaf,
        root_crl=RevocationList.from_bytes(crl_der(case.file("root_crl")), scheme=INTEL),
        crl=RevocationList.from_bytes(crl_der(case.file("pck_crl")), scheme=INTEL),
        now=case.now,
    )
    return _valid()


def _findings(verified: VerifiedQuote, policy: Mapping[str, Any]) -> tuple[Finding, ...]:
    tdx = verified.quote.header.tee is QuoteTee.TDX
    if "tee" in policy:
        return _whole_tdx(verified, policy) if tdx else _whole_sgx(verified, policy)
    unknown = policy.keys() - (_TDX_KEYS if tdx else _SGX_KEYS)
    if unknown:
        raise InputError(f"case policy has unknown {sorted(unknown)}", code="case.invalid")
    return _tdx(verified, policy) if tdx else _sgx(verified, policy)


def _whole_tdx(verified: VerifiedQuote, policy: Mapping[str, Any]) -> tuple[Finding, ...]:
    whole = tdx_policy_from_json(_without(policy, "mrtd"))
    mr_tds = narrowed(whole.mr_tds, _one(policy, "mrtd"))
    return tdx_findings(verified, replace(whole, mr_tds=mr_tds))


def _whole_sgx(verified: VerifiedQuote, policy: Mapping[str, Any]) -> tuple[Finding, ...]:
    whole = sgx_policy_from_json(_without(policy, "mrenclave"))
    mr_enclaves = narrowed(whole.mr_enclaves, _one(policy, "mrenclave"))
    return sgx_findings(verified, replace(whole, mr_enclaves=mr_enclaves))


def _without(policy: Mapping[str, Any], key: str) -> bytes:
    return canonical.dumps({name: value for name, value in policy.items() if name != key})


def _tdx(verified: VerifiedQuote, policy: Mapping[str, Any]) -> tuple[Finding, ...]:
    ve = TdAttributes.SEPT_VE_DISABLE
    return tdx_findings(
        verified,
        TdxPolicy(
            mr_tds=_one(policy, "mrtd"),
            rtmr0s=_one(policy, "rtmr0"),
            rtmr1s=_one(policy, "rtmr1"),
            rtmr2s=_one(policy, "rtmr2"),
            rtmr3s=_one(policy, "rtmr3"),
            mr_config_ids=_one(policy, "mrconfigid"),
            mr_owners=_one(policy, "mrowner"),
            mr_owner_configs=_one(policy, "mrownerconfig"),
            mr_service_tds=_one(policy, "mrservicetd"),
            mr_seams=_one(policy, "mrseam"),
            minimum_tee_tcb_svn=UNCHECKED,
            minimum_tee_tcb_svn_2=UNCHECKED,
            qe_vendor_ids=UNCHECKED,
            minimum_qe_svn=UNCHECKED,
            report_data=_octets(policy, "report_data"),
            xfams=_one(policy, "xfam"),
            allow_debug=_flag(policy, "allow_debug"),
            td_attributes=UNCHECKED,
            attributes_required=ve if _flag(policy, "require_sept_ve_disable") else UNCHECKED,
            attributes_forbidden=UNCHECKED,
            fmspcs=UNCHECKED,
            tcb_statuses=_statuses(policy),
            minimum_tcb_evaluation_data_number=_number(policy, "min_tcb_eval"),
        ),
    )


def _sgx(verified: VerifiedQuote, policy: Mapping[str, Any]) -> tuple[Finding, ...]:
    product = _number(policy, "isvprodid")
    return sgx_findings(
        verified,
        SgxPolicy(
            mr_enclaves=_one(policy, "mrenclave"),
            mr_signers=_one(policy, "mrsigner"),
            isv_prod_ids=product if isinstance(product, Unchecked) else frozenset({product}),
            minimum_isv_svn=_number(policy, "min_isvsvn"),
            report_data=_octets(policy, "report_data"),
            allow_debug=_flag(policy, "allow_debug"),
            tcb_statuses=_statuses(policy),
            minimum_tcb_evaluation_data_number=_number(policy, "min_tcb_eval"),
        ),
    )


def _root(spki_sha256: bytes) -> IntelRoot:
    if len(spki_sha256) != sha256().digest_size:
        raise InputError("trusted root is not a SHA-256 digest", code="case.invalid")
    genuine = PRODUCTION.find(spki_sha256)
    return genuine or IntelRoot(spki_sha256=spki_sha256, simulated=True)


def _one(policy: Mapping[str, Any], key: str) -> frozenset[bytes] | Unchecked:
    value = _octets(policy, key)
    return value if isinstance(value, Unchecked) else frozenset({value})


def _octets(policy: Mapping[str, Any], key: str) -> bytes | Unchecked:
    if key not in policy:
        return UNCHECKED
    try:
        return bytes.fromhex(policy[key])
    except (ValueError, TypeError) as error:
        raise InputError(f"case policy {key} is not hex", code="case.invalid") from error


def _number(policy: Mapping[str, Any], key: str) -> int | Unchecked:
    if key not in policy:
        return UNCHECKED
    value = policy[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"case policy {key} is not a number", code="case.invalid")
    return value


def _flag(policy: Mapping[str, Any], key: str) -> bool:
    value = policy.get(key, False)
    if not isinstance(value, bool):
        raise InputError(f"case policy {key} is not a boolean", code="case.invalid")
    return value


def _statuses(policy: Mapping[str, Any]) -> frozenset[TcbStatus]:
    names = policy.get("accept_tcb_status", [TcbStatus.UP_TO_DATE.value])
    try:
        statuses = frozenset(TcbStatus(name) for name in names)
    except (ValueError, TypeError) as error:
        raise InputError("case policy accept_tcb_status is unknown", code="case.invalid") from error
    # Revoked keys may be anybody's: whoever lists them anyway is not followed.
    return statuses - {TcbStatus.REVOKED}
