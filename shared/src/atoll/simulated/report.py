"""A processor that exists only as a key: it launches guests and signs their reports.

It keeps to what a real one does: a guest cannot choose its measurement, host data,
policy or identity after launch, only its report data and the VMPL it asks for.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from atoll.evidence.products import SIMULATED_FAMILY, SIMULATED_MODEL, Product
from atoll.evidence.snp import (
    MAX_VMPL,
    AttestationReport,
    GuestPolicy,
    PlatformInfo,
    ReportBody,
)
from atoll.simulated.chain import DevelopmentChain

REPORT_DATA_SIZE: Final = 64
MIN_ABI: Final = 0x0133
"""Minimum firmware ABI in POLICY: 1.51."""
DEFAULT_POLICY: Final = int(GuestPolicy.RESERVED_ONE | GuestPolicy.SMT) | MIN_ABI
FIRMWARE: Final = (1, 55, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedProcessor:
    """One simulated chip with its certificates."""

    chain: DevelopmentChain

    def launch(
        self,
        measurement: bytes,
        *,
        report_id: bytes,
        host_data: bytes = bytes(32),
        policy: int = DEFAULT_POLICY,
        guest_svn: int = 0,
        family_id: bytes = bytes(16),
        image_id: bytes = bytes(16),
    ) -> "SimulatedGuest":
        """Start a guest whose launch digest is `measurement`.

        Args:
            measurement: 48 bytes, see `measure.agent`.
            report_id: 32 bytes, random for each guest.
            host_data: 32 bytes that the host chose.
            policy: POLICY; the default has neither DEBUG nor MIGRATE_MA.
            guest_svn: security version of the guest.
            family_id: 16 bytes.
            image_id: 16 bytes.
        """
        tcb = self.chain.tcb.to_bytes(Product.SIMULATED)
        body = ReportBody(
            guest_svn=guest_svn,
            policy=policy,
            family_id=family_id,
            image_id=image_id,
            platform_info=int(PlatformInfo.SMT_EN | PlatformInfo.ECC_EN),
            measurement=measurement,
            host_data=host_data,
            report_id=report_id,
            current_tcb=tcb,
            reported_tcb=tcb,
            committed_tcb=tcb,
            launch_tcb=tcb,
            cpuid_fam_id=SIMULATED_FAMILY,
            cpuid_mod_id=SIMULATED_MODEL,
            chip_id=self.chain.chip_id,
            current_version=FIRMWARE,
            committed_version=FIRMWARE,
        )
        return SimulatedGuest(chain=self.chain, body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedGuest:
    """A launched guest; the host holds it, the guest only sees its replies."""

    chain: DevelopmentChain = field(repr=False)
    body: ReportBody

    def attest(self, report_data: bytes, vmpl: int = 0) -> bytes:
        """A signed report of 1184 bytes, version 3.

        Raises:
            ValueError: not 64 bytes of report data, or no such VMPL.
        """
        if len(report_data) != REPORT_DATA_SIZE or not 0 <= vmpl <= MAX_VMPL:
            raise ValueError("want 64 bytes of report data and a VMPL of 0 to 3")
        return sign_body(replace(self.body, report_data=report_data, vmpl=vmpl), self.chain)


def sign_body(body: ReportBody, chain: DevelopmentChain) -> bytes:
    """A report with any body under the chain's VCEK.

    RFC 6979 signatures, so that the same body gives the same report.
    """
    signed = body.to_bytes()
    scheme = ec.ECDSA(SHA384(), deterministic_signing=True)
    r, s = decode_dss_signature(chain.vcek_key.sign(signed, scheme))
    return AttestationReport(
        body=body, signed_bytes=signed, signature_r=r, signature_s=s
    ).to_bytes()
