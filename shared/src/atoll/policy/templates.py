"""Policies to start from: as strict as can be without knowing the host.

What depends on the machine or the run is unchecked (chip, minimum TCB, host data, keys of id
blocks); `lint` says which of these somebody should fill in.
"""

from typing import Final

from atoll.errors import InputError
from atoll.evidence.certs import Signer
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.keystone.policy import KeystonePolicy
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.products import Product
from atoll.evidence.tdx_policy import TdxPolicy
from atoll.evidence.vtpm.policy import VtpmPolicy
from atoll.policy.sections import KEYSTONE, SNP, TDX, VTPM, Policy

GENUINE: Final = frozenset(Product) - {Product.SIMULATED}


def strict(tee: str, measurements: frozenset[bytes]) -> Policy:
    """The template for a TEE; `measurements` are of the code that may run there: of a machine with
    a virtual TPM the values of PCR 9.

    Raises:
        InputError: `policy.invalid`: an unknown TEE, or digests of another size.
    """
    if tee == SNP:
        return strict_snp(measurements)
    if tee == TDX:
        return strict_tdx(measurements)
    if tee == KEYSTONE:
        return strict_keystone(measurements)
    if tee == VTPM:
        return strict_vtpm(measurements)
    raise InputError(f"there is no template for {tee[:40]!r}", code="policy.invalid")


def strict_snp(measurements: frozenset[bytes]) -> SnpPolicy:
    """Genuine processors, VCEK, VMPL 0, no debug, no migration, revocation checked."""
    return SnpPolicy(
        measurements=measurements,
        minimum_tcb=UNCHECKED,
        minimum_launch_tcb=UNCHECKED,
        minimum_committed_tcb=UNCHECKED,
        minimum_current_tcb=UNCHECKED,
        minimum_current_version=UNCHECKED,
        minimum_committed_version=UNCHECKED,
        minimum_current_build=UNCHECKED,
        minimum_committed_build=UNCHECKED,
        allow_provisional_firmware=False,
        products=GENUINE,
        steppings=UNCHECKED,
        signers=frozenset({Signer.VCEK}),
        csp_ids=UNCHECKED,
        minimum_report_version=UNCHECKED,
        vmpls=frozenset({0}),
        allow_debug=False,
        allow_migrate_ma=False,
        allow_smt=True,
        guest_policy_required=UNCHECKED,
        guest_policy_forbidden=UNCHECKED,
        minimum_guest_abi=UNCHECKED,
        host_data=UNCHECKED,
        require_id_block=False,
        id_key_digests=UNCHECKED,
        require_author_key=False,
        author_key_digests=UNCHECKED,
        family_id=UNCHECKED,
        image_id=UNCHECKED,
        chip_ids=UNCHECKED,
        report_ids=UNCHECKED,
        report_id_mas=UNCHECKED,
        minimum_guest_svn=UNCHECKED,
        platform_info_required=UNCHECKED,
        platform_info_forbidden=UNCHECKED,
        launch_mitigations_required=UNCHECKED,
        current_mitigations_required=UNCHECKED,
        require_crl=True,
    )


def strict_tdx(measurements: frozenset[bytes]) -> TdxPolicy:
    """MRTD is known, the TCB is up to date, no debug."""
    return TdxPolicy(
        mr_tds=measurements,
        rtmr0s=UNCHECKED,
        rtmr1s=UNCHECKED,
        rtmr2s=UNCHECKED,
        rtmr3s=UNCHECKED,
        mr_config_ids=UNCHECKED,
        mr_owners=UNCHECKED,
        mr_owner_configs=UNCHECKED,
        mr_service_tds=UNCHECKED,
        mr_seams=UNCHECKED,
        minimum_tee_tcb_svn=UNCHECKED,
        minimum_tee_tcb_svn_2=UNCHECKED,
        qe_vendor_ids=UNCHECKED,
        minimum_qe_svn=UNCHECKED,
        report_data=UNCHECKED,
        xfams=UNCHECKED,
        allow_debug=False,
        td_attributes=UNCHECKED,
        attributes_required=UNCHECKED,
        attributes_forbidden=UNCHECKED,
        fmspcs=UNCHECKED,
        tcb_statuses=frozenset({TcbStatus.UP_TO_DATE}),
        minimum_tcb_evaluation_data_number=UNCHECKED,
    )


def strict_keystone(measurements: frozenset[bytes]) -> KeystonePolicy:
    """The enclave is known, and the SM key is none that anyone can derive."""
    return KeystonePolicy(
        enclave_hashes=measurements,
        sm_hashes=UNCHECKED,
        data=UNCHECKED,
        allow_derivable_sm_key=False,
    )


def strict_vtpm(measurements: frozenset[bytes]) -> VtpmPolicy:
    """Command line and initrd are known, and that the host owns the TPM is not accepted: whoever
    wants evidence of one to pass says so."""
    return VtpmPolicy(
        allow_host_tpm=False,
        pcr9s=measurements,
        kernel_digests=UNCHECKED,
        pcr0s=UNCHECKED,
        pcr_values=UNCHECKED,
        require_secure_boot=False,
        hosts=UNCHECKED,
    )
