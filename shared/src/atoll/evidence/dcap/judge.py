"""Judge one published case of the kinds about Intel's evidence, from its inputs alone.

Each `judge_*` takes the evidence, the files by role, the policy as the case's manifest
writes it (`requirements`) and the moment to judge at.

| kind              | roles                                                           |
| tdx_quote         | tcb_info, tcb_info_sig, tcb_chain, qe_identity, qe_identity_sig, |
| sgx_quote         | qe_chain, root_crl, pck_crl, and pck_chain where there is one    |
| quote_crypto_only | none                                                            |
| quote_parse       | none                                                            |
| intel_pck_chain   | chain, root, root_crl, pck_crl                                   |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from hashlib import sha256
from typing import Any, Final

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
from atoll.evidence.dcap.requirements import quote_findings
from atoll.evidence.dcap.signed_json import with_hex_signature
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.dcap.verify import VerifiedQuote, verify_quote, verify_quote_crypto
from atoll.evidence.findings import Finding, first_failed
from atoll.evidence.x509 import INTEL, RevocationList, crl_der, ders

COLLATERAL: Final = (
    "tcb_info",
    "tcb_info_sig",
    "tcb_chain",
    "qe_identity",
    "qe_identity_sig",
    "qe_chain",
    "root_crl",
    "pck_crl",
)
"""Roles of what Intel signs about a platform."""


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
    simulated: bool = False
    """Whether what is valid stands under another root than Intel's."""


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
        return believed_roots(self.trusted_root_spki, self.more_root_spkis)

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


def _valid(root: IntelRoot) -> CaseResult:
    return CaseResult(
        verdict=CaseVerdict.VALID,
        reason="",
        tcb_status=None,
        verified=None,
        simulated=root.simulated,
    )


def _quote(tee: QuoteTee, case: Case) -> CaseResult:
    beside = chain_of(case.files["pck_chain"]) if "pck_chain" in case.files else ()
    verified = verify_quote(
        case.evidence, collateral_of(case), case.roots, now=case.now, pck_chain=beside
    )
    # Genuine all the same, and not what was asked for: an SGX enclave is no TD.
    found = verified.quote.header.tee
    if found is not tee:
        raise RejectedEvidenceError(
            f"quote is of {found.name}, want {tee.name}", code="evidence.tee"
        )
    findings = quote_findings(verified, case.policy)
    reason = first_failed(findings)
    return CaseResult(
        verdict=CaseVerdict.INVALID if reason else CaseVerdict.VALID,
        reason=reason,
        tcb_status=verified.tcb.status,
        verified=verified,
        findings=findings,
        simulated=verified.simulated,
    )


def collateral_of(case: Case) -> Collateral:
    """The collateral among the files of a case.

    Raises:
        InputError: `case.invalid`: a part is missing.
        MalformedEvidenceError: a signature is no hexadecimal.
    """
    return Collateral(
        tcb_info=with_hex_signature(case.file("tcb_info"), case.file("tcb_info_sig")),
        tcb_info_chain=case.file("tcb_chain"),
        qe_identity=with_hex_signature(case.file("qe_identity"), case.file("qe_identity_sig")),
        qe_identity_chain=case.file("qe_chain"),
        root_crl=case.file("root_crl"),
        pck_crl=case.file("pck_crl"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """An authentic quote that stands within other evidence; `verified` if with collateral."""

    quote: Quote
    verified: VerifiedQuote | None
    simulated: bool


def prove_within(
    raw: bytes, case: Case, roots: IntelRoots, *, begun: datetime | None = None
) -> Proven:
    """Verify a quote that `case.evidence` brings: in full if there is any collateral.

    Args:
        roots: Intel's root, or those in its place; those of the case are not used.
        begun: when to judge the quote's chain instead, if there is no collateral.

    Raises:
        InputError: `case.invalid`: a part of the collateral is missing.
        EvidenceError: as `verify_quote`, or as `verify_quote_crypto`.
    """
    if any(role in case.files for role in COLLATERAL):
        verified = verify_quote(raw, collateral_of(case), roots, now=case.now)
        return Proven(quote=verified.quote, verified=verified, simulated=verified.simulated)
    signed = verify_quote_crypto(raw, roots, now=begun or case.now)
    simulated = signed.pck.leaf.root.simulated
    return Proven(quote=signed.quote, verified=None, simulated=simulated)


def _crypto_only(case: Case) -> CaseResult:
    beside = chain_of(case.files["pck_chain"]) if "pck_chain" in case.files else ()
    signed = verify_quote_crypto(case.evidence, case.roots, now=case.now, pck_chain=beside)
    return _valid(signed.pck.leaf.root)


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
    return _valid(pck.leaf.root)


def believed_roots(instead: bytes | None, beside: frozenset[bytes]) -> IntelRoots:
    """Intel's root, or the one named instead, and those beside it.

    Raises:
        InputError: `case.invalid`: one is no SHA-256 digest.
    """
    first = PRODUCTION.roots if instead is None else frozenset({_root(instead)})
    return IntelRoots(roots=first | {_root(spki) for spki in beside})


def _root(spki_sha256: bytes) -> IntelRoot:
    if len(spki_sha256) != sha256().digest_size:
        raise InputError("trusted root is not a SHA-256 digest", code="case.invalid")
    genuine = PRODUCTION.find(spki_sha256)
    return genuine or IntelRoot(spki_sha256=spki_sha256, simulated=True)
