"""Compare a SEV-SNP report with a policy: one finding for every field, always all.

| id                          | field of the policy                                |
| snp.debug                   | allow_debug                                        |
| snp.migrate_ma              | allow_migrate_ma                                   |
| snp.smt                     | allow_smt                                          |
| snp.vmpl                    | vmpls                                              |
| snp.measurement             | measurements                                       |
| snp.host_data               | host_data                                          |
| snp.family_id snp.image_id  | family_id, image_id                                |
| snp.guest_svn               | minimum_guest_svn                                  |
| snp.id_key                  | id_key_digests                                     |
| snp.author_key              | author_key_digests                                 |
| snp.chip_id                 | chip_ids                                           |
| snp.key_kind                | signers                                            |
| snp.product_line            | products                                           |
| snp.tcb.* (five)            | minimum_tcb                                        |
| snp.provisional             | allow_provisional_firmware                         |
| snp.platform.required       | platform_info_required                             |
| snp.platform.forbidden      | platform_info_forbidden                            |
| snp.revocation              | require_crl                                        |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from atoll.evidence.certs import Signer
from atoll.evidence.comparisons import (
    absent,
    equal,
    finding,
    least,
    member,
    unchecked,
)
from atoll.evidence.findings import Finding
from atoll.evidence.policy import UNCHECKED, SnpPolicy, Unchecked
from atoll.evidence.products import Product, TcbVersion, product_of_cpuid
from atoll.evidence.snp import (
    SIGNING_KEY_VCEK,
    SIGNING_KEY_VLEK,
    GuestPolicy,
    ReportBody,
)
from atoll.evidence.verify import VerifiedReport

__all__ = ["Subject", "equal", "finding", "snp_findings"]

_COMPONENTS: Final = ("fmc", "bootloader", "tee", "snp", "microcode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is compared: a verified report, or what an unverified one merely says."""

    body: ReportBody
    product: Product | None
    signer: Signer | None
    reported_tcb: TcbVersion | None
    crl_checked: bool

    @classmethod
    def verified(cls, report: VerifiedReport) -> Self:
        """Of a genuine report."""
        return cls(
            body=report.body,
            product=report.product,
            signer=report.signer,
            reported_tcb=report.reported_tcb,
            crl_checked=report.crl_checked,
        )

    @classmethod
    def claimed(cls, body: ReportBody) -> Self:
        """Of a report that did not verify; its TCB cannot be read without a product."""
        signers = {SIGNING_KEY_VCEK: Signer.VCEK, SIGNING_KEY_VLEK: Signer.VLEK}
        return cls(
            body=body,
            product=product_of_cpuid(body.cpuid_fam_id, body.cpuid_mod_id),
            signer=signers.get(body.signing_key),
            reported_tcb=None,
            crl_checked=False,
        )


def snp_findings(subject: Subject, policy: SnpPolicy) -> tuple[Finding, ...]:
    """One finding for every field of the policy, whatever the others say."""
    body = subject.body
    smt, ma, debug = GuestPolicy.SMT, GuestPolicy.MIGRATE_MA, GuestPolicy.DEBUG
    return (
        absent("snp.debug", "POLICY.DEBUG", body.has(debug), allowed=policy.allow_debug),
        absent(
            "snp.migrate_ma", "POLICY.MIGRATE_MA", body.has(ma), allowed=policy.allow_migrate_ma
        ),
        absent("snp.smt", "POLICY.SMT", body.has(smt), allowed=policy.allow_smt),
        member("snp.vmpl", "VMPL", policy.vmpls, body.vmpl),
        member("snp.measurement", "MEASUREMENT", policy.measurements, body.measurement),
        equal("snp.host_data", "HOST_DATA", policy.host_data, body.host_data),
        equal("snp.family_id", "FAMILY_ID", policy.family_id, body.family_id),
        equal("snp.image_id", "IMAGE_ID", policy.image_id, body.image_id),
        least("snp.guest_svn", "GUEST_SVN", policy.minimum_guest_svn, body.guest_svn),
        member("snp.id_key", "ID_KEY_DIGEST", policy.id_key_digests, body.id_key_digest),
        _author(policy, body),
        member("snp.chip_id", "CHIP_ID", policy.chip_ids, body.chip_id),
        member("snp.key_kind", "SIGNING_KEY", policy.signers, subject.signer),
        member("snp.product_line", "product", policy.products, subject.product),
        *_tcb(policy, subject.reported_tcb),
        _provisional(policy, body),
        *_platform(policy, body),
        _revocation(policy, subject),
    )


def _author(policy: SnpPolicy, body: ReportBody) -> Finding:
    name, field = "snp.author_key", "AUTHOR_KEY_DIGEST"
    # Without AUTHOR_KEY_EN nobody checked the author key, so the digest means nothing.
    actual = body.author_key_digest if body.author_key_en else None
    return member(name, field, policy.author_key_digests, actual)


def _tcb(policy: SnpPolicy, reported: TcbVersion | None) -> Iterator[Finding]:
    for component in _COMPONENTS:
        name, field = f"snp.tcb.{component}", f"REPORTED_TCB.{component}"
        wanted = policy.minimum_tcb
        minimum = UNCHECKED if isinstance(wanted, Unchecked) else getattr(wanted, component)
        if reported is not None:
            yield least(name, field, minimum, getattr(reported, component))
        elif minimum is UNCHECKED:
            yield unchecked(name, field, "not verified")
        else:
            yield finding(name, field, f"at least {minimum}", "not verified")


def _provisional(policy: SnpPolicy, body: ReportBody) -> Finding:
    name, field = "snp.provisional", "COMMITTED_TCB"
    if policy.allow_provisional_firmware:
        return unchecked(name, field, body.committed_tcb.hex())
    passed = body.committed_tcb == body.current_tcb
    passed = passed and body.committed_version == body.current_version
    expected = f"CURRENT_TCB {body.current_tcb.hex()} version {body.current_version}"
    actual = f"{body.committed_tcb.hex()} version {body.committed_version}"
    return finding(name, field, expected, actual, passed=passed)


def _platform(policy: SnpPolicy, body: ReportBody) -> Iterator[Finding]:
    field, actual = "PLATFORM_INFO", f"0x{body.platform_info:x}"
    for name, bits, want in (
        ("snp.platform.required", policy.platform_info_required, True),
        ("snp.platform.forbidden", policy.platform_info_forbidden, False),
    ):
        if isinstance(bits, Unchecked):
            yield unchecked(name, field, actual)
        else:
            got = body.platform_info & bits
            expected = f"0x{int(bits):x} {'set' if want else 'clear'}"
            yield finding(name, field, expected, actual, passed=got == (bits if want else 0))


def _revocation(policy: SnpPolicy, subject: Subject) -> Finding:
    actual = "checked" if subject.crl_checked else "no revocation list was checked"
    if not policy.require_crl:
        return unchecked("snp.revocation", "CRL", actual)
    return finding("snp.revocation", "CRL", "checked", actual, passed=subject.crl_checked)
