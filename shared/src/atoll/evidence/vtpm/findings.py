"""Compare a verified vTPM with a policy: one finding for every field, always all.

| id               | field of the policy                        |
| vtpm.host_tpm    | allow_host_tpm                             |
| vtpm.host        | hosts                                      |
| vtpm.firmware    | pcr0s                                      |
| vtpm.kernel      | kernel_digests                             |
| vtpm.boot        | pcr9s                                      |
| vtpm.pcr.N       | pcr_values, one for each register          |
| vtpm.pcrs        | pcr_values, if it is unchecked             |
| vtpm.secure_boot | require_secure_boot                        |
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from atoll.evidence.comparisons import finding, member, show, unchecked
from atoll.evidence.eventlog.pcr_log import PcrLog
from atoll.evidence.findings import Finding
from atoll.evidence.policy_forms import Unchecked
from atoll.evidence.vtpm.policy import VtpmPolicy

OWNER: Final = "the host, from which it protects nothing"
"""Who holds the keys of a virtual TPM."""

_FIRMWARE: Final = 0
_BOOT: Final = 9
_MAX_SHOWN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is compared: as proven, or of a report that did not verify as it merely says."""

    registers: Mapping[int, bytes]
    log: PcrLog | None
    host: str | None
    secure_boot: bool | None = field(init=False)
    applications: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        log = self.log
        object.__setattr__(self, "secure_boot", None if log is None else log.secure_boot())
        object.__setattr__(self, "applications", () if log is None else log.applications())


def vtpm_findings(subject: Subject, policy: VtpmPolicy) -> tuple[Finding, ...]:
    """One finding for every field of the policy, whatever the others say."""
    registers = subject.registers
    return (
        _host_tpm(policy),
        member("vtpm.host", "host", policy.hosts, subject.host),
        member("vtpm.firmware", "PCR0", policy.pcr0s, registers.get(_FIRMWARE)),
        _kernel(subject.applications, policy),
        member("vtpm.boot", "PCR9", policy.pcr9s, registers.get(_BOOT)),
        *_values(registers, policy),
        _secure_boot(subject.secure_boot, policy),
    )


def _host_tpm(policy: VtpmPolicy) -> Finding:
    name, owner = "vtpm.host_tpm", "owner of the TPM"
    if policy.allow_host_tpm:
        return unchecked(name, owner, OWNER)
    return finding(name, owner, "not the host", OWNER)


def _kernel(applications: tuple[bytes, ...], policy: VtpmPolicy) -> Finding:
    name, where = "vtpm.kernel", "PCR4 log"
    if len(applications) == 1 or isinstance(policy.kernel_digests, Unchecked):
        only = applications[0] if len(applications) == 1 else None
        return member(name, where, policy.kernel_digests, only)
    started = " ".join(map(show, applications[:_MAX_SHOWN]))
    actual = f"{len(applications)}: {started}" if started else "none"
    return finding(name, where, "exactly one image that was started", actual)


def _values(registers: Mapping[int, bytes], policy: VtpmPolicy) -> tuple[Finding, ...]:
    if isinstance(policy.pcr_values, Unchecked):
        return (unchecked("vtpm.pcrs", "PCRs", f"{len(registers)} quoted"),)
    return tuple(
        member(f"vtpm.pcr.{number}", f"PCR{number}", frozenset({value}), registers.get(number))
        for number, value in sorted(policy.pcr_values.items())
    )


def _secure_boot(on: bool | None, policy: VtpmPolicy) -> Finding:  # noqa: FBT001
    actual = {None: "not proven", False: "off", True: "on"}[on]
    if not policy.require_secure_boot:
        return unchecked("vtpm.secure_boot", "PCR7 log", actual)
    return finding("vtpm.secure_boot", "PCR7 log", "on", actual, passed=on is True)
