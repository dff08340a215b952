"""Judge evidence of any vendor by the collateral that is here (`atoll.v1.attest.verify`).

The evidence brings its certificates; TCB info, identities and revocation lists are the ones of
the cache and nobody else's, also after they have expired: then the judgement fails for that
reason, as it does where there is none. A VCEK that did not come along is looked up, and fetched
if AMD's service may be asked.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from atoll.errors import AtollError, EvidenceError, InputError, MalformedEvidenceError
from atoll.evidence import cmw
from atoll.evidence.dcap.cert_data import chain_of
from atoll.evidence.dcap.intel_chain import read_certificate
from atoll.evidence.dcap.pck import PckExtension
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.judge import judge
from atoll.evidence.judgement import Judgement, Roots
from atoll.evidence.products import TcbVersion, product_of_cpuid
from atoll.evidence.snp import AttestationReport
from atoll.wire.verification import CheckView, VerifyReply, VerifyRequest
from atoll_attestor import ports
from atoll_attestor.collateral.crls import for_chain
from atoll_attestor.collateral.documents import (
    INTEL_ROOT_CRL,
    QE_IDENTITY,
    TCB_INFO,
    Document,
    envelope,
    tcb_key,
    vcek_key,
)
from atoll_attestor.collateral.kds import Kds

BROUGHT: Final[Mapping[str, frozenset[str]]] = {
    "snp_report": frozenset({"certs"}),
    "tdx_quote": frozenset({"event_log", "pck_chain"}),
    "sgx_quote": frozenset({"pck_chain"}),
}
"""The kinds that are judged here, and what may come along with evidence."""
EVIDENCE: Final = "evidence"

Files = dict[str, tuple[bytes, ...]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Answers one request at a time from what is known."""

    crls: ports.Crls
    documents: ports.Documents
    kds: Kds | None
    amd_roots: Roots
    intel_roots: Roots = field(default_factory=Roots)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)
    """AMD's service is asked for one chip at a time, whoever wants to know."""

    async def verify(self, request: VerifyRequest, *, now: datetime) -> VerifyReply:
        """The verdict with all checks; bad evidence is a verdict, not an error.

        Raises:
            InputError: `judge.kind`: not a kind of `BROUGHT`; `judge.files`: something came
                along that this kind does not take; `policy.invalid`.
            MalformedEvidenceError: no CMW, or one without evidence.
        """
        taken = BROUGHT.get(request.kind)
        if taken is None:
            kinds = ", ".join(sorted(BROUGHT))
            raise InputError(f"{request.kind} is not one of {kinds}", code="judge.kind")
        evidence, files = unwrap(request.cmw)
        if unknown := sorted(files.keys() - taken):
            raise InputError(f"{request.kind} takes no {unknown}"[:400], code="judge.files")
        is_amd = request.kind == "snp_report"
        more = await self._amd(evidence, files) if is_amd else self._intel(evidence, files)
        found = judge(
            request.kind,
            evidence,
            files=files | more,
            policy=_policy(request),
            product=request.product or None,
            now=now,
            roots=self.amd_roots if is_amd else self.intel_roots,
        )
        return _reply(found)

    async def _amd(self, report: bytes, files: Files) -> Files:
        certs = files.get("certs") or await self._vcek(report)
        return {"certs": certs, "crls": for_chain(self.crls.known, certs)}

    async def _vcek(self, raw: bytes) -> tuple[bytes, ...]:
        """The VCEK and its authorities, or nothing; then the judgement says what is missing."""
        try:
            body = AttestationReport.from_bytes(raw).body
            product = product_of_cpuid(body.cpuid_fam_id, body.cpuid_mod_id)
            if product is None:
                return ()
            hwid = body.chip_id[: product.hwid_size]
            tcb = TcbVersion.from_bytes(body.reported_tcb, product)
            found = self.documents.known.get(vcek_key(product, hwid, tcb))
            if found is None and self.kds is not None:
                async with self._asking:
                    found = await self.kds.get_vcek(product, hwid, tcb)
        except AtollError as error:
            _log.warning("no VCEK: %s (%s)", error.message, error.code)
            return ()
        return (found.body, found.chain) if found is not None else ()

    def _intel(self, quote: bytes, files: Files) -> Files:
        """The documents for this platform, as many as there are."""
        try:
            parsed = Quote.from_bytes(quote)
            brought = b"".join(files.get("pck_chain", ()))
            pck = read_certificate((parsed.certification.chain or chain_of(brought))[0])
            fmspc = PckExtension.of(pck).fmspc
        except EvidenceError:
            return {}  # the judgement says what is wrong with it
        tee = parsed.header.tee.name.lower()
        authority = "platform" if "Platform" in pck.issuer_cn else "processor"
        known = self.documents.known
        return {
            **_signed("tcb_info", "tcb_chain", TCB_INFO, known.get(tcb_key(tee, fmspc))),
            **_signed("qe_identity", "qe_chain", QE_IDENTITY, known.get(f"intel.qe.{tee}")),
            **_list("pck_crl", known.get(f"intel.crl.{authority}")),
            **_list("root_crl", known.get(INTEL_ROOT_CRL)),
        }


def unwrap(raw: bytes) -> tuple[bytes, Files]:
    """The evidence in a CMW, and what came along with it by role.

    The media type is not looked at: the request says what kind it is.

    Raises:
        MalformedEvidenceError: no CMW, nested, without evidence, or evidence that says it is
            something else.
    """
    # In CBOR both start a string, which is no CMW.
    is_json = raw.lstrip(b" \t\r\n")[:1] in {b"[", b"{"}
    found = cmw.from_json(raw) if is_json else cmw.from_cbor(raw)
    members = found.members if isinstance(found, cmw.Collection) else ((EVIDENCE, found),)
    files: Files = {}
    for label, member in members:
        if not isinstance(member, cmw.Record) or not isinstance(label, str):
            raise MalformedEvidenceError("CMW", 0, "has a member that is no record with a name")
        files[label] = (member.value,)
        if label == EVIDENCE and member.ind is not None and not member.ind & cmw.CmType.EVIDENCE:
            raise MalformedEvidenceError("CMW", 0, "has evidence that says it is something else")
    if EVIDENCE not in files:
        raise MalformedEvidenceError("CMW", 0, f"has no {EVIDENCE!r}")
    return files.pop(EVIDENCE)[0], files


def _policy(request: VerifyRequest) -> dict[str, Any]:
    return {"report_data": request.report_data.hex()} if request.report_data else {}


def _signed(role: str, chain_role: str, name: str, found: Document | None) -> Files:
    if found is None:
        return {}
    signed = envelope(name, found.body)
    return {
        role: (signed.raw,),
        f"{role}_sig": (signed.signature.hex().encode(),),
        chain_role: (found.chain,),
    }


def _list(role: str, found: Document | None) -> Files:
    return {} if found is None else {role: (found.body,)}


def _reply(found: Judgement) -> VerifyReply:
    return VerifyReply(
        kind=found.kind,
        product=found.product,
        verdict=found.verdict,
        reason=found.reason,
        simulated=found.simulated,
        tcb_status=found.tcb_status,
        checks=tuple(
            CheckView(
                id=one.id,
                outcome=one.outcome.value,
                field=one.field,
                expected=one.expected,
                actual=one.actual,
            )
            for one in found.checks
        ),
    )
