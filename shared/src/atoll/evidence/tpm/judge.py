"""Judge one published TPM quote or Azure VM (kinds `tpm_quote`, `azure_hcl_snp`, `_tdx`)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from atoll.errors import RejectedEvidenceError
from atoll.evidence.dcap.intel_chain import PRODUCTION as INTEL
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.dcap.verify import verify_quote_crypto
from atoll.evidence.findings import first_failed
from atoll.evidence.judged import (
    Files,
    Judged,
    judged,
    known,
    many_files,
    moment,
    numbers,
    octets,
    one_file,
    optional_file,
)
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.policy_forms import UNCHECKED, Unchecked
from atoll.evidence.snp_findings import Subject, snp_findings
from atoll.evidence.snp_requirements import snp_policy
from atoll.evidence.tpm import pcrs
from atoll.evidence.tpm.azure import TpmEvidence, refuse_debug, verify_azure_snp, verify_azure_tdx
from atoll.evidence.tpm.quote import check_nonce, load_rsa_key, verify_tpm_quote
from atoll.evidence.trust import PRODUCTION
from atoll.evidence.verify import VerifiedReport


def judge_tpm_quote(
    evidence: bytes,
    *,
    files: Files,
    params: Mapping[str, Any],  # noqa: ARG001 - one shape for every kind
    policy: Mapping[str, Any],
    verify_time: datetime | None,  # noqa: ARG001
) -> Judged:
    """Verify a quote under the key in the file `ak_public`.

    The policy's `nonce` and the file `tpm_pcrs` are compared if present.

    Raises:
        InputError: policy or files are not of this form.
    """
    known(policy, "nonce")
    nonce = octets(policy, "nonce")
    key, signature = one_file(files, "ak_public"), one_file(files, "tpm_signature")
    registers = optional_file(files, "tpm_pcrs")

    def check() -> None:
        quote = verify_tpm_quote(evidence, signature, load_rsa_key(key))
        if nonce is not None:
            check_nonce(quote, nonce)
        if registers is not None:
            pcrs.check(quote, pcrs.parse(registers))

    return judged(check)


def judge_azure_hcl_snp(
    evidence: bytes,
    *,
    files: Files,
    params: Mapping[str, Any],  # noqa: ARG001 - one shape for every kind
    policy: Mapping[str, Any],
    verify_time: datetime | None,
) -> Judged:
    """Verify an SNP VM under AMD's roots, its virtual TPM, and compare `nonce` and `vmpl`.

    Debug and migration are refused.

    Raises:
        InputError: policy, files or time are not of this form.
    """
    known(policy, "nonce", "vmpl")
    now, tpm, certs = moment(verify_time), _tpm(files), many_files(files, "certs")
    nonce = _nonce(policy)
    wanted = _snp_policy(policy)

    def check() -> None:
        verified = verify_azure_snp(evidence, tpm, certs, PRODUCTION, nonce=nonce, now=now)
        _appraise(verified.report, wanted)

    return judged(check)


def judge_azure_hcl_tdx(
    evidence: bytes,
    *,
    files: Files,
    params: Mapping[str, Any],  # noqa: ARG001 - one shape for every kind
    policy: Mapping[str, Any],
    verify_time: datetime | None,
) -> Judged:
    """Verify a TDX VM under Intel's root, its virtual TPM, and compare `nonce`.

    Debug is refused. These cases bring no collateral, so the TD quote's revocation and TCB are
    not looked at; who has collateral passes `dcap.verify.verify_quote` to `verify_azure_tdx`.

    Raises:
        InputError: policy, files or time are not of this form.
    """
    known(policy, "nonce")
    now, tpm, nonce = moment(verify_time), _tpm(files), _nonce(policy)
    quote = one_file(files, "quote")

    def prove(raw: bytes) -> Quote:
        return verify_quote_crypto(raw, INTEL, now=now).quote

    def check() -> None:
        refuse_debug(verify_azure_tdx(evidence, tpm, quote, prove, nonce=nonce).td)

    return judged(check)


def _appraise(report: VerifiedReport, policy: SnpPolicy) -> None:
    if failed := first_failed(snp_findings(Subject.verified(report), policy)):
        name = failed.removeprefix("snp.")
        raise RejectedEvidenceError(f"{failed} failed", code=f"evidence.policy_{name}")


def _tpm(files: Files) -> TpmEvidence:
    return TpmEvidence(
        message=one_file(files, "tpm_message"),
        signature=one_file(files, "tpm_signature"),
        pcrs=optional_file(files, "tpm_pcrs"),
    )


def _nonce(policy: Mapping[str, Any]) -> bytes | Unchecked:
    nonce = octets(policy, "nonce")
    return UNCHECKED if nonce is None else nonce


def _snp_policy(policy: Mapping[str, Any]) -> SnpPolicy:
    if "vmpl" in policy:
        numbers({"vmpl": [policy["vmpl"]]}, "vmpl", range(4))
    return snp_policy({key: policy[key] for key in ("vmpl",) if key in policy}, product=None)
