"""Judge one published TPM quote or Azure VM (kinds `tpm_quote`, `azure_hcl_snp`, `_tdx`).

Of the policy, `nonce` and `pcr_values` are about the virtual TPM (`tpm.policy`), all other keys
about the hardware report (`snp_requirements`, `dcap.requirements`), in which a whole policy
may stand instead of a list.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from atoll.errors import InputError
from atoll.evidence.comparisons import unchecked
from atoll.evidence.dcap.intel_chain import PRODUCTION as INTEL
from atoll.evidence.dcap.intel_chain import IntelRoots
from atoll.evidence.dcap.judge import COLLATERAL, Case, Proven, prove_within
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.requirements import tdx_requirements
from atoll.evidence.findings import Finding
from atoll.evidence.judged import (
    Files,
    Judged,
    appraised,
    judged,
    known,
    many_files,
    moment,
    one_file,
    optional_file,
)
from atoll.evidence.policy_forms import Unchecked
from atoll.evidence.snp_findings import Subject, snp_findings
from atoll.evidence.snp_requirements import more_findings, snp_policy
from atoll.evidence.tdx_findings import claimed_tdx_findings, tdx_findings
from atoll.evidence.tdx_policy import TdxPolicy
from atoll.evidence.tpm import pcrs
from atoll.evidence.tpm.azure import TpmEvidence, verify_azure_snp, verify_azure_tdx
from atoll.evidence.tpm.policy import KEYS, TEE, TpmPolicy, pcr_findings, tpm_requirements
from atoll.evidence.tpm.quote import check_nonce, load_rsa_key, verify_tpm_quote
from atoll.evidence.trust import PRODUCTION, TrustStore

_TCB_KEYS: Final = ("accept_tcb_status", "min_tcb_eval")
_TCB_FINDINGS: Final = ("tdx.tcb_status", "tdx.tcb_evaluation")


def judge_tpm_quote(
    evidence: bytes,
    *,
    files: Files,
    params: Mapping[str, Any],  # noqa: ARG001 - one shape for every kind
    policy: Mapping[str, Any],
    verify_time: datetime | None,  # noqa: ARG001
) -> Judged:
    """Verify a quote under the key in the file `ak_public`.

    The policy's `nonce` and the file `tpm_pcrs` are compared if present; the policy's
    `pcr_values` need the file. A policy with a key "tee" is a whole one, of "vtpm".

    Raises:
        InputError: policy or files are not of this form.
    """
    if policy.get("tee") != TEE:
        known(policy, *KEYS)
    wanted = tpm_requirements(policy)
    key, signature = one_file(files, "ak_public"), one_file(files, "tpm_signature")
    given = optional_file(files, "tpm_pcrs")

    def check() -> Judged:
        quote = verify_tpm_quote(evidence, signature, load_rsa_key(key))
        if not isinstance(wanted.nonce, Unchecked):
            check_nonce(quote, wanted.nonce)
        proven: pcrs.Registers = {} if given is None else pcrs.check(quote, pcrs.parse(given))
        return appraised(pcr_findings(wanted, proven), simulated=False)

    return judged(check)


def judge_azure_hcl_snp(
    evidence: bytes,
    *,
    files: Files,
    params: Mapping[str, Any],  # noqa: ARG001 - one shape for every kind
    policy: Mapping[str, Any],
    verify_time: datetime | None,
    trust: TrustStore = PRODUCTION,
) -> Judged:
    """Verify an SNP VM and its virtual TPM, and appraise both.

    Debug and migration are refused unless the policy allows them.

    Args:
        trust: AMD's roots, or those in their place.

    Raises:
        InputError: policy, files or time are not of this form.
    """
    vtpm, rest = _split(policy)
    now, tpm, certs = moment(verify_time), _tpm(files), many_files(files, "certs")
    crls, wanted = many_files(files, "crls"), snp_policy(rest, product=None)

    def check() -> Judged:
        verified = verify_azure_snp(
            evidence, tpm, certs, trust, nonce=vtpm.nonce, now=now, crls=crls
        )
        report = verified.report
        findings = (
            *snp_findings(Subject.verified(report), wanted),
            *more_findings(rest, report.body),
            *pcr_findings(vtpm, verified.tpm.registers),
        )
        return appraised(findings, simulated=report.simulated)

    return judged(check)


def judge_azure_hcl_tdx(
    evidence: bytes,
    *,
    files: Files,
    params: Mapping[str, Any],  # noqa: ARG001 - one shape for every kind
    policy: Mapping[str, Any],
    verify_time: datetime | None,
    roots: IntelRoots = INTEL,
) -> Judged:
    """Verify a TDX VM and its virtual TPM, and appraise both.

    Debug is refused unless the policy allows it. With Intel's collateral among the files the
    TD quote is verified in full; the published cases bring none, and then the TD quote's
    revocation and TCB are not looked at, and a policy that asks about them is refused.

    Args:
        roots: Intel's root, or those in its place.

    Raises:
        InputError: policy, files or time are not of this form.
    """
    vtpm, rest = _split(policy)
    now, tpm, quote = moment(verify_time), _tpm(files), one_file(files, "quote")
    complete = any(role in files for role in COLLATERAL)
    if not complete and (asked := sorted({"tee", *_TCB_KEYS} & rest.keys())):
        raise InputError(f"policy's {asked} want Intel's collateral", code="policy.invalid")
    wanted = tdx_requirements(rest)
    parts = {role: one_file(files, role) for role in COLLATERAL if role in files}
    case = Case(evidence=quote, files=parts, policy={}, now=now)
    found: list[Proven] = []

    def prove(raw: bytes) -> Quote:
        found.append(prove_within(raw, case, roots))
        return found[0].quote

    def check() -> Judged:
        azure = verify_azure_tdx(evidence, tpm, quote, prove, nonce=vtpm.nonce)
        registers = pcr_findings(vtpm, azure.tpm.registers)
        return appraised((*_td(found[0], wanted), *registers), simulated=found[0].simulated)

    return judged(check)


def _split(policy: Mapping[str, Any]) -> tuple[TpmPolicy, dict[str, Any]]:
    """What is said about the virtual TPM, and about the hardware report."""
    rest = {name: value for name, value in policy.items() if name not in KEYS}
    return tpm_requirements({name: policy[name] for name in KEYS if name in policy}), rest


def _td(proven: Proven, policy: TdxPolicy) -> Iterator[Finding]:
    if proven.verified is not None:
        yield from tdx_findings(proven.verified, policy)
        return
    for one in claimed_tdx_findings(proven.quote, policy):
        about_tcb = one.id in _TCB_FINDINGS
        yield unchecked(one.id, one.field, "no collateral was given") if about_tcb else one


def _tpm(files: Files) -> TpmEvidence:
    return TpmEvidence(
        message=one_file(files, "tpm_message"),
        signature=one_file(files, "tpm_signature"),
        pcrs=optional_file(files, "tpm_pcrs"),
    )
