"""What authentic evidence says, by the specification's names, for appraisals and results."""

import hashlib
from typing import Final

from atoll.evidence.dcap.reports import TdReport
from atoll.evidence.dcap.verify import VerifiedQuote
from atoll.evidence.keystone.report import KeystoneReport
from atoll.evidence.verify import VerifiedReport
from atoll.evidence.vtpm.findings import OWNER
from atoll.evidence.vtpm.verify import VerifiedVtpm

_MAX_IMAGES: Final = 4


def snp_claims(verified: VerifiedReport) -> dict[str, str]:
    """Of a SEV-SNP report."""
    body = verified.body
    tcb = " ".join(f"{name}={value}" for name, value in verified.reported_tcb.components())
    return {
        "product": verified.product.value,
        "signer": verified.signer.value,
        "measurement": body.measurement.hex(),
        "host_data": body.host_data.hex(),
        "report_data": body.report_data.hex(),
        "report_id": body.report_id.hex(),
        "chip_id": body.chip_id.hex(),
        "policy": f"0x{body.policy:x}",
        "platform_info": f"0x{body.platform_info:x}",
        "vmpl": str(body.vmpl),
        "guest_svn": str(body.guest_svn),
        "reported_tcb": tcb,
    }


def tdx_claims(verified: VerifiedQuote) -> dict[str, str]:
    """Of a TD's quote.

    Raises:
        TypeError: the quote is an SGX enclave's.
    """
    report = verified.quote.td_report
    if report is None:
        raise TypeError("tdx_claims wants a TD's quote")
    return {
        **_td(report),
        "tcb_status": verified.tcb.status.value,
        "tcb_advisories": " ".join(verified.tcb.advisory_ids),
        "fmspc": verified.pck.fmspc.hex(),
    }


def _td(report: TdReport) -> dict[str, str]:
    return {
        "mr_td": report.mr_td.hex(),
        "rtmr0": report.rtmr0.hex(),
        "rtmr1": report.rtmr1.hex(),
        "rtmr2": report.rtmr2.hex(),
        "rtmr3": report.rtmr3.hex(),
        "mr_config_id": report.mr_config_id.hex(),
        "mr_owner": report.mr_owner.hex(),
        "mr_owner_config": report.mr_owner_config.hex(),
        "mr_seam": report.mr_seam.hex(),
        "tee_tcb_svn": report.tee_tcb_svn.hex(),
        "td_attributes": f"0x{report.td_attributes:x}",
        "xfam": report.xfam.hex(),
        "report_data": report.report_data.hex(),
    }


def keystone_claims(report: KeystoneReport) -> dict[str, str]:
    """Of a Keystone report that verified."""
    return {
        "enclave_hash": report.enclave_hash.hex(),
        "sm_hash": report.sm_hash.hex(),
        "sm_public_key": report.sm_public_key.hex(),
        "device_public_key": report.device_public_key.hex(),
        "data": report.data.hex(),
    }


def vtpm_claims(verified: VerifiedVtpm) -> dict[str, str]:
    """Of a virtual TPM's quote."""
    return {
        "owner": OWNER,
        "host": verified.ak.host,
        "ak_sha256": hashlib.sha256(verified.ak.spki).hexdigest(),
        **{f"pcr{number}": value.hex() for number, value in verified.registers.items()},
        "boot_images": " ".join(one.hex() for one in verified.log.applications()[:_MAX_IMAGES]),
        "extra_data": verified.quote.attest.extra_data.hex(),
    }
