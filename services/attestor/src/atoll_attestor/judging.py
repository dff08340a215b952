"""Judge evidence of any kind by the collateral that is here (`atoll.v1.attest.verify`).

The evidence brings its certificates and what is its own: logs, registers, keys. TCB info,
identities and revocation lists are those of the attestor and nobody else's (`gathering`).
The policy is the asker's own, or the one in force. The result is signed and the appraisal kept.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from atoll.errors import InputError
from atoll.evidence import document as documents
from atoll.evidence.document import Tee
from atoll.evidence.ear_kind import issue_kind_ear
from atoll.evidence.findings import Appraisal
from atoll.evidence.needed import Files
from atoll.policy.kinds import SECTION_OF, appraise_kind, bound
from atoll.policy.records import MAX_FILES, MAX_RECORD, AppraisalRecord, judge_with, to_bytes
from atoll.wire.verification import CheckView, VerifyReply, VerifyRequest
from atoll_attestor import ports
from atoll_attestor.appraising import appraise, draft
from atoll_attestor.asked import asked
from atoll_attestor.gathering import Found, Gathering
from atoll_attestor.policies import Owners
from atoll_attestor.signing import ISSUER, SigningKeys
from atoll_attestor.wrapped import unwrap

VERIFY: Final = "verify"
"""The role under which an appraisal by a request's own policy is kept."""

_TPM: Final = frozenset({"tpm_message", "tpm_signature", "tpm_pcrs"})
BROUGHT: Final[Mapping[str, frozenset[str]]] = {
    "snp_report": frozenset({"certs"}),
    "snp_extended_report": frozenset({"certs"}),
    "snp_parse": frozenset(),
    "snp_cert_chain": frozenset({"certs", "crls"}),
    "snp_crl": frozenset({"issuer"}),
    "snp_id_block": frozenset({"auth"}),
    "tdx_quote": frozenset({"event_log", "pck_chain"}),
    "sgx_quote": frozenset({"pck_chain"}),
    "quote_crypto_only": frozenset({"pck_chain"}),
    "quote_parse": frozenset(),
    "intel_pck_chain": frozenset({"chain"}),
    "keystone_report": frozenset(),
    "ccel": frozenset({"quote"}),
    "rtmr_json_log": frozenset({"quote"}),
    "tpm_quote": frozenset({"ak_public", "tpm_signature", "tpm_pcrs"}),
    "azure_hcl_snp": frozenset({"certs"}) | _TPM,
    "azure_hcl_tdx": frozenset({"quote"}) | _TPM,
    "ratls_cert": frozenset(),
}
"""The kinds that are judged here, and what may come along with evidence. Of the verification
API's, `snp_launch_digest` is left out: it is a computation about files, and no evidence."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Answers from what is known; keeps nothing itself between requests."""

    keys: SigningKeys = field(repr=False)
    owners: Owners
    policies: ports.Policies
    archive: ports.Archive
    gathering: Gathering
    result_ttl_s: int

    async def verify(self, request: VerifyRequest, *, now: datetime) -> VerifyReply:
        """The verdict with all checks, signed; bad evidence is a verdict, not an error.

        Raises:
            InputError: `judge.kind`: not a kind of `BROUGHT`; `judge.files`: something came
                along that this kind does not take, is missing, or is too much to keep;
                `judge.policy`: a policy beside `in_force`; `policy.*`, `json.*`.
            RefusedError: `policy.not_yet`.
            MalformedEvidenceError: no CMW, or one without evidence.
            UnreachableError: the appraisal could not be kept.
        """
        taken = BROUGHT.get(request.kind)
        if taken is None:
            kinds = ", ".join(sorted(BROUGHT))
            raise InputError(f"{request.kind} is not one of {kinds}", code="judge.kind")
        if request.in_force and request.policy:
            raise InputError("want the policy in force or one along, not both", code="judge.policy")
        evidence, files = unwrap(request.cmw)
        if unknown := sorted(files.keys() - taken):
            raise InputError(f"{request.kind} takes no {unknown}"[:400], code="judge.files")
        found = await self._gathered(request.kind, evidence, files, now)
        of = self._draft(request, evidence, files | found.files, found.lacks, now)
        appraisal = await (self._in_force(of) if request.in_force else self._asked(of, request))
        kid, key = self.keys.active
        ear = issue_kind_ear(
            appraisal,
            kind=request.kind,
            evidence_digest=documents.digest(evidence),
            nonce=request.nonce,
            issuer=ISSUER,
            key=key,
            kid=kid,
            now=of.moment(),
            ttl_s=self.result_ttl_s,
        )
        return _reply(request.kind, appraisal, ear)

    async def _gathered(self, kind: str, raw: bytes, files: Files, now: datetime) -> Found:
        """What is needed beside what came along."""
        at, certs, chain = self.gathering, files.get("certs", ()), files.get("pck_chain", ())
        ways: Mapping[str, Callable[[], Awaitable[Found]]] = {
            "snp_report": lambda: at.for_snp(raw, certs),
            "snp_extended_report": lambda: at.for_extended(raw, certs),
            "azure_hcl_snp": lambda: at.for_azure_snp(raw, certs),
            "tdx_quote": lambda: at.for_quote(raw, chain, now),
            "sgx_quote": lambda: at.for_quote(raw, chain, now),
            "azure_hcl_tdx": lambda: at.for_inner_quote(b"".join(files.get("quote", ())), now),
            "ratls_cert": lambda: at.for_ratls(raw, now),
        }
        if kind == "intel_pck_chain":
            return at.for_pck(raw)
        return await ways[kind]() if kind in ways else Found()

    def _draft(
        self, request: VerifyRequest, evidence: bytes, files: Files, lacks: str, now: datetime
    ) -> AppraisalRecord:
        if (count := sum(map(len, files.values()))) > MAX_FILES:
            raise InputError(f"{count} files, at most {MAX_FILES} are kept", code="judge.files")
        of = draft(
            evidence,
            at=round(now.timestamp() * 1000),
            name=self.owners.name,
            files=files,
            lacks=lacks,
        )
        of = replace(
            of, kind=request.kind, report_data=request.report_data, product=request.product
        )
        if (size := len(to_bytes(replace(of, policy=request.policy)))) > MAX_RECORD:
            raise InputError(f"{size} bytes in all, at most {MAX_RECORD}", code="judge.files")
        return of

    async def _in_force(self, of: AppraisalRecord) -> Appraisal:
        """Under the policy that is activated; the one on trial is heard as well."""
        found = appraise(
            of,
            tee=Tee(SECTION_OF[of.kind]) if of.kind in SECTION_OF else None,
            in_force=self.policies.in_force,
            judge=judge_with(self.gathering.trust),
            simulated=self.gathering.trust.has_simulated,
        )
        for role, record in found.records:
            await self.archive.keep(role, record)
        if found.disagreement:
            _log.info("the policy on trial disagrees: %s", found.disagreement)
        return found.appraisal

    async def _asked(self, of: AppraisalRecord, request: VerifyRequest) -> Appraisal:
        """Under what the request asks."""
        wanted = asked(request.policy, of.kind, self.owners, now=of.at // 1000)
        appraisal = appraise_kind(
            of.kind,
            of.evidence,
            files=of.by_role() | ({"crls": of.crls} if of.crls else {}),
            policy=bound(of.kind, wanted.requirements, of.report_data),
            policy_digest=wanted.digest,
            product=of.product,
            trust=self.gathering.trust,
            now=of.moment(),
            evidence_digest=documents.digest(of.evidence).hex(),
            lacks=of.lacks,
        )
        record = replace(
            of,
            policy=request.policy,
            policy_name=wanted.name,
            policy_version=wanted.version,
            policy_digest=wanted.digest,
            verdict=appraisal.verdict,
            reason=appraisal.reason,
        )
        await self.archive.keep(VERIFY, record)
        return appraisal


def _reply(kind: str, found: Appraisal, ear: str) -> VerifyReply:
    return VerifyReply(
        kind=kind,
        product=found.product,
        verdict=found.verdict.value,
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
            for one in found.findings
        ),
        claims=dict(found.claims),
        policy_digest=found.policy_digest,
        ear=ear,
    )
