"""What each check of evidence asks, in a sentence for a person."""

from collections.abc import Mapping
from typing import Final

SENTENCES: Final[Mapping[str, str]] = {
    "snp.cert_table": "Is there a well-formed certificate table after the report?",
    "snp.report": "Is this a SEV-SNP report of a version that can be believed?",
    "snp.root": "Does the chain end in a root key that is trusted here?",
    "snp.chain": "Are the certificates one complete chain, all valid at this moment?",
    "snp.crl": "Does the root's revocation list, if there is one, leave the chain alone?",
    "snp.signer": "Is the report signed, by the kind of key that the chain is for?",
    "snp.product": "Does the report name a processor of the chain's product line?",
    "snp.tcb_match": "Was the signing key made for exactly the firmware that is reported?",
    "snp.hwid": "Was the signing key made for this very chip?",
    "snp.signature": "Did the processor sign this report, every byte of it?",
    "snp.debug": "Is debugging off? With it, the host reads the guest's memory.",
    "snp.migrate_ma": "Is there no migration agent, who could take the guest elsewhere?",
    "snp.smt": "May other guests' threads share a core?",
    "snp.vmpl": "Did software of the wanted privilege level ask for the report?",
    "snp.measurement": "Was the wanted image launched?",
    "snp.report_data": "Does the guest's own data say what was asked for, such as a nonce?",
    "snp.host_data": "Did the host set the wanted data at launch?",
    "snp.family_id": "Is it the wanted family of images?",
    "snp.image_id": "Is it the wanted image id?",
    "snp.guest_svn": "Is the guest's security version new enough?",
    "snp.id_key": "Did the wanted owner sign the launch?",
    "snp.id_block": "Did any owner sign the launch?",
    "snp.author_key": "Did the wanted author vouch for the owner's key?",
    "snp.author_key_en": "Did any author vouch for the owner's key?",
    "snp.no_author_key": "Is there no author key, as wanted?",
    "snp.chip_id": "Is it one of the wanted chips?",
    "snp.key_kind": "Is the report signed by a chip's key or a cloud's, as wanted?",
    "snp.product_line": "Is it the wanted product line?",
    "snp.provisional": "Is the firmware committed, so that it cannot be rolled back?",
    "snp.platform.required": "Does the platform have the wanted features?",
    "snp.platform.forbidden": "Does the platform have no unwanted features?",
    "snp.revocation": "Was a revocation list looked at, if one must be?",
    "idblock.parse": "Are these an ID block and its authentication information?",
    "idblock.signature": "Did the ID key sign the ID block?",
    "idblock.author_signature": "Did the author key sign the ID key?",
    "measure.launch_digest": "Does this launch give the wanted measurement?",
    "keystone.root": "Is there a device key to believe?",
    "keystone.verified": "Did the device sign the monitor, and the monitor the enclave?",
    "tdx.verified": "Did a genuine platform, under collateral that Intel signed, make this quote?",
    "tdx.collateral": "Is there all the collateral that Intel signs for this platform?",
    "tdx.debug": "Is debugging off? With it, the host reads the guest's memory.",
    "tdx.tcb_status": "Is the platform's firmware as new as is wanted?",
    "tdx.reserved_debug": "Are the other bits clear that put a guest under debugging?",
    "tdx.tcb_evaluation": "Is the collateral of a recent enough evaluation?",
    "tdx.rtmr0": "Is the firmware's configuration as wanted?",
    "tdx.rtmr1": "Is the boot loader and kernel as wanted?",
    "tdx.rtmr2": "Is what the kernel was given as wanted?",
    "tdx.rtmr3": "Is what the guest measured itself as wanted?",
    "tdx.mr_config_id": "Does it have the wanted configuration id?",
    "tdx.mr_owner": "Is it of the wanted owner?",
    "tdx.mr_owner_config": "Does it have the wanted configuration of its owner?",
    "tdx.mr_service_td": "Is it bound to the wanted service guests, or none?",
    "tdx.mr_seam": "Is it run by the wanted TDX module?",
    "tdx.tee_tcb_svn": "Is each part of the TDX firmware new enough?",
    "tdx.xfam": "Does it have the wanted processor features?",
    "tdx.attributes.required": "Does it have the wanted attributes?",
    "tdx.attributes.forbidden": "Does it have no unwanted attributes?",
    "tdx.fmspc": "Is it one of the wanted platforms?",
    "tdx.mr_td": "Was the wanted image launched?",
    "tdx.report_data": "Does the guest's own data say what was asked for, such as a nonce?",
    "tdx.event_log": "Do all the runtime measurements follow from the event log?",
    "sgx.verified": "Did a genuine platform, under collateral that Intel signed, make this quote?",
    "sgx.collateral": "Is there all the collateral that Intel signs for this platform?",
}

_FAMILIES: Final[Mapping[str, str]] = {
    "snp.tcb": "Is each part of the reported firmware new enough?",
    "snp.launch_tcb": "Was each part of the firmware new enough at launch?",
    "snp.committed_tcb": "Is each part of the committed firmware new enough?",
    "snp.current_tcb": "Is each part of the current firmware new enough?",
}


def sentence(check: str) -> str:
    """What this check asks; its own name where nobody has written a sentence."""
    family = check.rpartition(".")[0]
    words = check.replace(".", ": ").replace("_", " ")
    return SENTENCES.get(check) or _FAMILIES.get(family) or f"Does this hold: {words}?"
