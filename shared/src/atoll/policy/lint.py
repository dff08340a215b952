"""What a person should look at before signing a document.

| id               | severity | what                                                     |
| lint.no_section  | error    | no TEE is accepted at all                                |
| lint.any_code    | error    | nothing says which code runs                             |
| lint.debug       | error    | the host may read the enclave's memory                   |
| lint.derivable   | error    | Keystone's publicly known SM keys are accepted           |
| lint.nothing     | error    | an empty set, which no evidence can meet                 |
| lint.simulated   | warning  | the development TEE is accepted, or a TPM of the host    |
| lint.any_kernel  | warning  | nothing says which kernel or firmware started the code   |
| lint.migration   | warning  | a migration agent may take the guest away                |
| lint.rollback    | warning  | provisional firmware, or no minimum for the TCB          |
| lint.revocation  | warning  | no revocation list is asked for                          |
| lint.tcb_status  | warning  | other TCB statuses than UpToDate are accepted            |
| lint.any_cloud   | warning  | VLEKs are accepted of whatever cloud and region          |
| lint.privilege   | warning  | the requester's VMPL is not checked                      |
| lint.one_run     | warning  | a field is pinned that is different in every run         |
| lint.future      | warning  | it cannot be activated yet                               |
| lint.mode        | note     | it does not refuse anything while in this mode           |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from atoll.evidence.certs import Signer
from atoll.evidence.dcap.tcb_info import TcbStatus
from atoll.evidence.policy import SnpPolicy
from atoll.evidence.policy_forms import UNCHECKED
from atoll.evidence.products import Product
from atoll.evidence.tdx_policy import TdxPolicy
from atoll.evidence.vtpm.policy import VtpmPolicy
from atoll.policy.document import Mode, PolicyDocument
from atoll.policy.sections import SECTIONS, Policy


class Severity(Enum):
    """An error is something that hardly anybody can mean."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing to look at."""

    id: str
    severity: Severity
    path: str
    message: str


def lint(document: PolicyDocument, *, now: int) -> tuple[Remark, ...]:
    """Every remark, errors first. `now` is in seconds since 1970."""
    found = list(_whole(document, now))
    for tee, policy in document.sections.items():
        found += _any(tee, policy)
        found += _particular(tee, policy)
    order = list(Severity)
    return tuple(sorted(found, key=lambda item: (order.index(item.severity), item.path, item.id)))


def _whole(document: PolicyDocument, now: int) -> Iterator[Remark]:
    if not document.sections:
        yield _error("lint.no_section", "sections", "is empty, so no evidence can pass")
    if document.not_before > now:
        yield _warning("lint.future", "not_before", "is in the future")
    if document.mode is not Mode.ENFORCE:
        yield Remark(
            id="lint.mode",
            severity=Severity.NOTE,
            path="mode",
            message=f"is {document.mode.value}: the enforced document before it still decides",
        )


def _any(tee: str, policy: Policy) -> Iterator[Remark]:
    section = SECTIONS[tee]
    path = f"sections.{tee}"
    values: dict[str, Any] = {name: getattr(policy, name) for name in policy.__slots__}
    if all(values[name] is UNCHECKED for name in section.identity):
        names = ", ".join(section.identity)
        yield _error("lint.any_code", path, f"checks none of {names}: any code passes")
    for name, value in values.items():
        if value == frozenset():
            yield _error("lint.nothing", f"{path}.{name}", "is empty, so nothing can pass")
        if name in section.fresh and value is not UNCHECKED:
            yield _warning("lint.one_run", f"{path}.{name}", "is different in every run")
    if values.get("allow_debug") is True:
        yield _error("lint.debug", f"{path}.allow_debug", "lets the host read the memory")


def _particular(tee: str, policy: Policy) -> Iterator[Remark]:
    path = f"sections.{tee}"
    if isinstance(policy, SnpPolicy):
        yield from _snp(path, policy)
    elif isinstance(policy, TdxPolicy):
        yield from _tdx(path, policy)
    elif isinstance(policy, VtpmPolicy):
        yield from _vtpm(path, policy)
    elif policy.allow_derivable_sm_key:
        yield _error(
            "lint.derivable",
            f"{path}.allow_derivable_sm_key",
            "accepts keys that anyone can derive",
        )


def _snp(path: str, policy: SnpPolicy) -> Iterator[Remark]:
    products = policy.products
    if products is UNCHECKED or Product.SIMULATED in products:
        yield _warning("lint.simulated", f"{path}.products", "accepts the development TEE")
    if policy.allow_migrate_ma:
        yield _warning("lint.migration", f"{path}.allow_migrate_ma", "lets the guest be taken away")
    if policy.allow_provisional_firmware:
        where = f"{path}.allow_provisional_firmware"
        yield _warning("lint.rollback", where, "accepts firmware that can be rolled back")
    if policy.minimum_tcb is UNCHECKED:
        yield _warning("lint.rollback", f"{path}.minimum_tcb", "accepts firmware of any age")
    if not policy.require_crl:
        yield _warning("lint.revocation", f"{path}.require_crl", "accepts revoked certificates")
    vlek = policy.signers is UNCHECKED or Signer.VLEK in policy.signers
    if vlek and policy.csp_ids is UNCHECKED:
        where = f"{path}.csp_ids"
        yield _warning("lint.any_cloud", where, "accepts the keys of any cloud and region")
    if policy.vmpls is UNCHECKED:
        yield _warning("lint.privilege", f"{path}.vmpls", "accepts reports from any level")


def _tdx(path: str, policy: TdxPolicy) -> Iterator[Remark]:
    if policy.tcb_statuses - {TcbStatus.UP_TO_DATE}:
        yield _warning("lint.tcb_status", f"{path}.tcb_statuses", "accepts a TCB with known faults")
    if policy.minimum_tcb_evaluation_data_number is UNCHECKED:
        where = f"{path}.minimum_tcb_evaluation_data_number"
        yield _warning("lint.rollback", where, "accepts collateral of any age that is valid")


def _vtpm(path: str, policy: VtpmPolicy) -> Iterator[Remark]:
    if policy.allow_host_tpm:
        where = f"{path}.allow_host_tpm"
        yield _warning("lint.simulated", where, "accepts the host's word: nothing is protected")
    for name in ("kernel_digests", "pcr0s"):
        if getattr(policy, name) is UNCHECKED:
            yield _warning("lint.any_kernel", f"{path}.{name}", "accepts whatever starts the code")


def _error(name: str, path: str, message: str) -> Remark:
    return Remark(id=name, severity=Severity.ERROR, path=path, message=message)


def _warning(name: str, path: str, message: str) -> Remark:
    return Remark(id=name, severity=Severity.WARNING, path=path, message=message)
