"""Compare a verified Keystone report with a policy: one finding for every field, always all.

| id                    | field of the policy    |
| keystone.sm_hash      | sm_hashes              |
| keystone.sm_key       | allow_derivable_sm_key |
| keystone.enclave_hash | enclave_hashes         |
| keystone.data         | data                   |
"""

from atoll.evidence.comparisons import equal, finding, member, unchecked
from atoll.evidence.findings import Finding
from atoll.evidence.keystone.policy import KeystonePolicy
from atoll.evidence.keystone.report import KeystoneReport
from atoll.evidence.keystone.verify import VerifiedKeystone, sm_key_is_derivable


def keystone_findings(verified: VerifiedKeystone, policy: KeystonePolicy) -> tuple[Finding, ...]:
    """One finding for every field of the policy, whatever the others say."""
    return claimed_keystone_findings(verified.report, policy)


def claimed_keystone_findings(
    report: KeystoneReport, policy: KeystonePolicy
) -> tuple[Finding, ...]:
    """The same of a report that did not verify: what it merely says."""
    return (
        member("keystone.sm_hash", "sm_hash", policy.sm_hashes, report.sm_hash),
        _sm_key(report, policy),
        member("keystone.enclave_hash", "enclave_hash", policy.enclave_hashes, report.enclave_hash),
        equal("keystone.data", "data", policy.data, report.data),
    )


def _sm_key(report: KeystoneReport, policy: KeystonePolicy) -> Finding:
    name, field = "keystone.sm_key", "sm_public_key"
    if policy.allow_derivable_sm_key:
        return unchecked(name, field, report.sm_public_key.hex())
    derivable = sm_key_is_derivable(report)
    actual = "one of 256 derivable keys" if derivable else "not derivable"
    return finding(name, field, "not derivable from two bytes", actual, passed=not derivable)
