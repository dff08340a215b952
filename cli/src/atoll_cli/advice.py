"""What to do about a check that failed, for the person who owns the data. Pure."""

from collections.abc import Mapping
from typing import Final

from atoll.evidence.findings import Finding

_FORGED: Final = (
    "Release nothing. The bytes were changed or made up; fetch the evidence again from the guest "
    "itself, and if it fails again, treat the host as hostile."
)
_MIXED: Final = (
    "The parts do not belong together. Fetch report and certificates for this very machine and "
    "firmware; if they are those, treat the host as hostile."
)
_CERTS: Final = (
    "Give the whole chain of this machine with --certs: for SEV-SNP the VCEK or VLEK, ASK or ASVK, "
    "and ARK; for Intel the PCK certificate, its CA and the root."
)
_ROOT: Final = (
    "Nobody here trusts who signed this. Production evidence ends in AMD's or Intel's own root; "
    "give --root only for a development root or device key that you know first-hand."
)
_STALE: Final = (
    "Fetch the vendor's current files and try again. To judge evidence of the past, say when it "
    "was made with --at, and give what was current then."
)
_DEBUG: Final = "Release nothing: the host can read the guest's memory. Launch without debugging."
_REPLAY: Final = (
    "Release nothing. The report may be old or another session's: send a fresh nonce to the guest "
    "and ask for a new report with it."
)
_OTHER_CODE: Final = (
    "Release nothing until you know what this is. If you changed the image or how it is launched, "
    "compute the new value (`atoll measure snp`) and change the policy; else it is not your code."
)
_UPDATE: Final = (
    "Ask the operator to update firmware and microcode. Accept an older state only by naming it "
    "in the policy, after reading the vendor's advisories."
)
_COLLATERAL: Final = (
    "Get the collateral of this very platform and evaluation from Intel's service or a cache of "
    "it, all parts at one time, unchanged to the byte."
)
_LAUNCH: Final = (
    "The guest was launched with other settings than the policy asks. Launch it again with those, "
    "or change the policy if these are acceptable."
)
_FORM: Final = (
    "This is not well-formed evidence of that kind. Check --kind, and that the file is complete "
    "and binary, not hex, base64 or an error page."
)
_LOG: Final = "Do not believe what the log says: use the log and quote of the same boot, unedited."
_REVOKED: Final = (
    "Release nothing. The vendor has withdrawn the key: this machine cannot be trusted any more."
)
_POLICY_FILE: Final = (
    "Get the policy from its owner again, or name the right owner with --owner. Evidence judged by "
    "a policy that nobody stands behind proves nothing."
)

_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("report", "parse", "cert_table", "malformed", "unsupported"), _FORM),
    **dict.fromkeys(
        ("bad_length", "bad_data_len", "quote_body", "quote_version", "quote_tee"), _FORM
    ),
    **dict.fromkeys(("quote_key_type", "quote_certification", "pck_extension"), _FORM),
    **dict.fromkeys(("signature", "bad_signature", "sm_bad_signature", "chain_signature"), _FORGED),
    **dict.fromkeys(("qe_report_data", "qe_report_signature", "author_signature"), _FORGED),
    **dict.fromkeys(("tpm_bad_signature", "tpm_not_quote", "pcr_digest_mismatch"), _FORGED),
    **dict.fromkeys(("id_signature", "signer", "unsigned"), _FORGED),
    **dict.fromkeys(("runtime_data_binding_mismatch", "pubkey_binding_mismatch"), _MIXED),
    **dict.fromkeys(("product", "product_line", "tcb_match", "tcb_mismatch", "hwid"), _MIXED),
    **dict.fromkeys(("crl_issuer", "chain_names", "chip_id"), _MIXED),
    **dict.fromkeys(("chain", "chain_incomplete", "chain_ca", "chain_extension"), _CERTS),
    **dict.fromkeys(("root", "untrusted_root", "untrusted_device_key", "quote_vendor"), _ROOT),
    **dict.fromkeys(("expired", "not_yet_valid", "crl_expired", "crl_not_yet_valid"), _STALE),
    **dict.fromkeys(("qe_identity_expired", "qe_identity_not_yet_valid"), _STALE),
    **dict.fromkeys(("tcb_info_expired", "tcb_info_not_yet_valid", "crl"), _STALE),
    "revocation": "Give the vendor's current revocation list with --crl.",
    "revoked": _REVOKED,
    **dict.fromkeys(("debug", "reserved_debug", "vendor_debug"), _DEBUG),
    **dict.fromkeys(("report_data", "data_mismatch", "nonce_mismatch", "data"), _REPLAY),
    **dict.fromkeys(("measurement", "mr_td", "mr_enclave", "enclave_hash"), _OTHER_CODE),
    **dict.fromkeys(("enclave_hash_mismatch", "sm_hash_mismatch", "launch_digest"), _OTHER_CODE),
    **dict.fromkeys(("rtmr0", "rtmr1", "rtmr2", "rtmr3", "mr_signer"), _OTHER_CODE),
    **dict.fromkeys(("tcb_status", "tcb", "launch_tcb", "committed_tcb", "current_tcb"), _UPDATE),
    **dict.fromkeys(("tee_tcb_svn", "tee_tcb_svn_2", "tdx_module", "tdx_module_tcb"), _UPDATE),
    **dict.fromkeys(("provisional", "qe_svn", "isv_svn", "guest_svn"), _UPDATE),
    **dict.fromkeys(("collateral", "tcb_evaluation", "tcb_info_fmspc"), _COLLATERAL),
    **dict.fromkeys(("tcb_info_pceid", "tcb_info_type", "tcb_info_signature"), _COLLATERAL),
    **dict.fromkeys(("qe_identity", "qe_identity_type", "qe_identity_signature"), _COLLATERAL),
    **dict.fromkeys(("tcb_not_supported", "crl_signature"), _COLLATERAL),
    **dict.fromkeys(("rtmr_mismatch", "event_digest_mismatch", "event_log"), _LOG),
    "not_verifiable": "Evidence of this kind is only parsed: nothing about it can be proven.",
}

_CHECKS: Final[Mapping[str, str]] = {
    "policy.signature": _POLICY_FILE,
    "policy.not_before": "Judge with the policy that is in force, or wait; --at says for when.",
    "keystone.root": "Give the device's public key with --root, from the maker and not the report.",
    "vtpm.chain": "Name the deployment's vTPM authority as a root, if its hosts are believed.",
    "vtpm.host_tpm": "Say allow_host_tpm in the policy, if the host's own word is enough.",
    "vtpm.boot": _OTHER_CODE,
    "vtpm.kernel": _OTHER_CODE,
    "vtpm.replay": _LOG,
    "vtpm.log": _LOG,
    "snp.smt": _LAUNCH,
    "snp.migrate_ma": "Launch without a migration agent: it could take the guest to any machine.",
    "snp.vmpl": "Ask for the report at the privilege level that the policy names, mostly 0.",
}


def advice(check: Finding) -> str:
    """What to do: by the error inside, else by the check, else by what it compares."""
    code = check.actual.partition(":")[0]
    if code.startswith("evidence."):
        # The check names the step; the error says what about it is wrong.
        inner = _REASONS.get(code.removeprefix("evidence."))
        if inner:
            return inner
    if check.id in _CHECKS:
        return _CHECKS[check.id]
    name = check.id.partition(".")[2]
    return _REASONS.get(name) or _REASONS.get(name.partition(".")[0]) or _LAUNCH
