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
from atoll.policy.sections import KEYSTONE, SNP, TDX, Policy

GENUINE: Final = frozenset(Product) - {Product.SIMULATED}


def strict(tee: str, measurements: frozenset[bytes]) -> Policy:
    """The template for a TEE; `measurements` are of the code that may run there.

    Raises:
        InputError: `policy.invalid`: an unknown TEE, or digests of another size.
    """
    if tee == SNP:
        return strict_snp(measurements)
    if tee == TDX:
        return strict_tdx(measurements)
    if tee == KEYSTONE:
        return strict_keystone(measurements)
    raise InputError(f"there is no template for {tee[:40]!r}", code="policy.invalid")


def strict_snp(measurements: frozenset[bytes]) -> SnpPolicy:
    """Genuine processors, VCEK, VMPL 0, no debug, no migration, revocation checked."""
    return SnpPolicy(
        measurements=measurements,
        minimum_tcb=UNCHECKED,
        allow_provisional_firmware=False,
        products=GENUINE,
        signers=frozenset({Signer.VCEK}),
        vmpls=frozenset({0}),
        allow_debug=False,
        allow_migrate_ma=False,
        allow_smt=True,
        host_data=UNCHECKED,
        id_key_digests=UNCHECKED,
        author_key_digests=UNCHECKED,
        family_id=UNCHECKED,
        image_id=UNCHECKED,
        chip_ids=UNCHECKED,
        minimum_guest_svn=UNCHECKED,
        platform_info_required=UNCHECKED,
        platform_info_forbidden=UNCHECKED,
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
        report_data=UNCHECKED,
        xfams=UNCHECKED,
        allow_debug=False,
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
