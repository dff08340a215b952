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
| snp.policy.required         | guest_policy_required                              |
| snp.policy.forbidden        | guest_policy_forbidden                             |
| snp.policy.abi              | minimum_guest_abi                                  |
| snp.id_key                  | id_key_digests                                     |
| snp.id_block                | require_id_block                                   |
| snp.author_key              | author_key_digests                                 |
| snp.author_key_en           | require_author_key                                 |
| snp.chip_id                 | chip_ids                                           |
| snp.report_id               | report_ids                                         |
| snp.report_id_ma            | report_id_mas                                      |
| snp.report_version          | minimum_report_version                             |
| snp.stepping                | steppings                                          |
| snp.key_kind                | signers                                            |
| snp.csp_id                  | csp_ids                                            |
| snp.product_line            | products                                           |
| snp.tcb.* (five)            | minimum_tcb                                        |
| snp.launch_tcb.* (five)     | minimum_launch_tcb                                 |
| snp.committed_tcb.* (five)  | minimum_committed_tcb                              |
| snp.current_tcb.* (five)    | minimum_current_tcb                                |
| snp.current_version         | minimum_current_version                            |
| snp.committed_version       | minimum_committed_version                          |
| snp.current_build           | minimum_current_build                              |
| snp.committed_build         | minimum_committed_build                            |
| snp.provisional             | allow_provisional_firmware                         |
| snp.platform.required       | platform_info_required                             |
| snp.platform.forbidden      | platform_info_forbidden                            |
| snp.launch_mitigations      | launch_mitigations_required                        |
| snp.current_mitigations     | current_mitigations_required                       |
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
    masked,
    member,
    unchecked,
)
from atoll.evidence.findings import Finding
from atoll.evidence.policy import UNCHECKED, SnpPolicy, Unchecked
from atoll.evidence.products import Product, TcbVersion, product_of_cpuid
from atoll.evidence.snp import (
    SIGNING_KEY_VCEK,
    SIGNING_KEY_VLEK,
    AbiVersion,
    GuestPolicy,
    ReportBody,
)
from atoll.evidence.verify import VerifiedReport

__all__ = ["Subject", "equal", "finding", "snp_findings"]

_COMPONENTS: Final = ("fmc", "bootloader", "tee", "snp", "microcode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcbs:
    """The four TCB fields of a genuine report, in its product's layout."""

    reported: TcbVersion
    launch: TcbVersion
    committed: TcbVersion
    current: TcbVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is compared: a verified report, or what an unverified one merely says."""

    body: ReportBody
    product: Product | None
    signer: Signer | None
    csp_id: str | None
    """Of a verified VLEK's certificate."""
    tcbs: Tcbs | None
    crl_checked: bool

    @classmethod
    def verified(cls, report: VerifiedReport) -> Self:
        """Of a genuine report."""
        return cls(
            body=report.body,
            product=report.product,
            signer=report.signer,
            csp_id=report.csp_id,
            tcbs=Tcbs(
                reported=report.reported_tcb,
                launch=report.launch_tcb,
                committed=report.committed_tcb,
                current=report.current_tcb,
            ),
            crl_checked=report.crl_checked,
        )

    @classmethod
    def claimed(cls, body: ReportBody) -> Self:
        """Of a report that did not verify; its TCBs cannot be read without a product."""
        signers = {SIGNING_KEY_VCEK: Signer.VCEK, SIGNING_KEY_VLEK: Signer.VLEK}
        return cls(
            body=body,
            product=product_of_cpuid(body.cpuid_fam_id, body.cpuid_mod_id),
            signer=signers.get(body.signing_key),
            csp_id=None,
            tcbs=None,
            crl_checked=False,
        )


def snp_findings(subject: Subject, policy: SnpPolicy) -> tuple[Finding, ...]:
    """One finding for every field of the policy, whatever the others say."""
    body = subject.body
    return (
        *_guest(policy, body),
        *_launch(policy, body),
        member("snp.chip_id", "CHIP_ID", policy.chip_ids, body.chip_id),
        member("snp.report_id", "REPORT_ID", policy.report_ids, body.report_id),
        member("snp.report_id_ma", "REPORT_ID_MA", policy.report_id_mas, body.report_id_ma),
        least("snp.report_version", "VERSION", policy.minimum_report_version, body.version),
        member("snp.stepping", "CPUID_STEP", policy.steppings, body.stepping),
        member("snp.key_kind", "SIGNING_KEY", policy.signers, subject.signer),
        member("snp.csp_id", "CSP_ID", policy.csp_ids, subject.csp_id),
        member("snp.product_line", "product", policy.products, subject.product),
        *_tcbs(policy, subject.tcbs),
        *_firmware(policy, body),
        _provisional(policy, body),
        *_platform(policy, body),
        _revocation(policy, subject),
    )


def _guest(policy: SnpPolicy, body: ReportBody) -> Iterator[Finding]:
    """How the guest may be run."""
    for name, bit, allowed in (
        ("snp.debug", GuestPolicy.DEBUG, policy.allow_debug),
        ("snp.migrate_ma", GuestPolicy.MIGRATE_MA, policy.allow_migrate_ma),
        ("snp.smt", GuestPolicy.SMT, policy.allow_smt),
    ):
        yield absent(name, f"POLICY.{bit.name}", body.has(bit), allowed=allowed)
    yield member("snp.vmpl", "VMPL", policy.vmpls, body.vmpl)
    for name, bits, want in (
        ("snp.policy.required", policy.guest_policy_required, True),
        ("snp.policy.forbidden", policy.guest_policy_forbidden, False),
    ):
        yield masked(name, "POLICY", bits, body.policy, want=want)
    yield _version("snp.policy.abi", "POLICY.ABI", policy.minimum_guest_abi, body.guest_abi)


def _launch(policy: SnpPolicy, body: ReportBody) -> Iterator[Finding]:
    """What was launched, and who says so."""
    yield member("snp.measurement", "MEASUREMENT", policy.measurements, body.measurement)
    yield equal("snp.host_data", "HOST_DATA", policy.host_data, body.host_data)
    yield equal("snp.family_id", "FAMILY_ID", policy.family_id, body.family_id)
    yield equal("snp.image_id", "IMAGE_ID", policy.image_id, body.image_id)
    yield least("snp.guest_svn", "GUEST_SVN", policy.minimum_guest_svn, body.guest_svn)
    yield member("snp.id_key", "ID_KEY_DIGEST", policy.id_key_digests, body.id_key_digest)
    signed = any(body.id_key_digest)
    yield _required("snp.id_block", "ID_KEY_DIGEST", signed, required=policy.require_id_block)
    enabled = body.author_key_en
    # Without AUTHOR_KEY_EN nobody checked the author key, so the digest means nothing.
    author = body.author_key_digest if enabled else None
    yield member("snp.author_key", "AUTHOR_KEY_DIGEST", policy.author_key_digests, author)
    yield _required(
        "snp.author_key_en", "AUTHOR_KEY_EN", enabled, required=policy.require_author_key
    )


def _required(name: str, field: str, present: bool, *, required: bool) -> Finding:  # noqa: FBT001
    actual = "set" if present else "clear"
    if not required:
        return unchecked(name, field, actual)
    return finding(name, field, "set", actual, passed=present)


def _tcbs(policy: SnpPolicy, tcbs: Tcbs | None) -> Iterator[Finding]:
    for prefix, name, minimum in (
        ("", "reported", policy.minimum_tcb),
        ("launch_", "launch", policy.minimum_launch_tcb),
        ("committed_", "committed", policy.minimum_committed_tcb),
        ("current_", "current", policy.minimum_current_tcb),
    ):
        actual: TcbVersion | None = getattr(tcbs, name) if tcbs else None
        for part in _COMPONENTS:
            wanted = UNCHECKED if isinstance(minimum, Unchecked) else getattr(minimum, part)
            field = f"{name.upper()}_TCB.{part}"
            yield _component(f"snp.{prefix}tcb.{part}", field, wanted, actual, part)


def _component(
    name: str, field: str, minimum: int | Unchecked, actual: TcbVersion | None, part: str
) -> Finding:
    if actual is not None:
        return least(name, field, minimum, getattr(actual, part))
    if minimum is UNCHECKED:
        return unchecked(name, field, "not verified")
    return finding(name, field, f"at least {minimum}", "not verified")


def _firmware(policy: SnpPolicy, body: ReportBody) -> Iterator[Finding]:
    for prefix, field, version, build, actual in (
        (
            "snp.current",
            "CURRENT",
            policy.minimum_current_version,
            policy.minimum_current_build,
            body.current_version,
        ),
        (
            "snp.committed",
            "COMMITTED",
            policy.minimum_committed_version,
            policy.minimum_committed_build,
            body.committed_version,
        ),
    ):
        major, minor, built = actual
        abi = AbiVersion(major, minor)
        yield _version(f"{prefix}_version", f"{field}_MAJOR {field}_MINOR", version, abi)
        yield least(f"{prefix}_build", f"{field}_BUILD", build, built)


def _version(name: str, field: str, minimum: AbiVersion | Unchecked, actual: AbiVersion) -> Finding:
    if isinstance(minimum, Unchecked):
        return unchecked(name, field, str(actual))
    return finding(name, field, f"at least {minimum}", str(actual), passed=actual >= minimum)


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
    for name, bits, want in (
        ("snp.platform.required", policy.platform_info_required, True),
        ("snp.platform.forbidden", policy.platform_info_forbidden, False),
    ):
        yield masked(name, "PLATFORM_INFO", bits, body.platform_info, want=want)
    for name, field, raw, actual in (
        (
            "snp.launch_mitigations",
            "LAUNCH_MIT_VECTOR",
            policy.launch_mitigations_required,
            body.launch_mit_vector,
        ),
        (
            "snp.current_mitigations",
            "CURRENT_MIT_VECTOR",
            policy.current_mitigations_required,
            body.current_mit_vector,
        ),
    ):
        vector = raw if isinstance(raw, Unchecked) else int.from_bytes(raw, "little")
        yield masked(name, field, vector, actual, want=True)


def _revocation(policy: SnpPolicy, subject: Subject) -> Finding:
    actual = "checked" if subject.crl_checked else "no revocation list was checked"
    if not policy.require_crl:
        return unchecked("snp.revocation", "CRL", actual)
    return finding("snp.revocation", "CRL", "checked", actual, passed=subject.crl_checked)
