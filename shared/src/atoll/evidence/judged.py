"""What the per-kind `judge_*` functions take and give: one published vector, one verdict.

A vector's policy is JSON that others wrote: a key that is absent is not checked, except
where the kind's own default says otherwise. A key that a judge does not know is refused
instead of ignored, because ignoring it would be a check that silently did not happen.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from atoll.errors import EvidenceError, InputError
from atoll.evidence.findings import Finding, first_failed

Verdict = Literal["valid", "invalid", "parse-only"]
Files = Mapping[str, bytes | Sequence[bytes]]
"""What came with the evidence, by role; a role with several files has a sequence."""

_PREFIX: Final = "evidence."


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A verdict and the id of one true reason, which is empty unless it is invalid."""

    verdict: Verdict
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    """Of the policy, once the evidence has proven to be authentic."""
    simulated: bool = False
    """True if it proved so under a root that nothing real stands under."""


VALID: Final = Judged(verdict="valid")


def judged(check: Callable[[], Judged | None]) -> Judged:
    """What `check` returns, VALID for None; invalid if it raises an `EvidenceError`.

    The reason is the error's code without "evidence.".
    """
    try:
        return check() or VALID
    except EvidenceError as error:
        return Judged(verdict="invalid", reason=error.code.removeprefix(_PREFIX))


def appraised(findings: Iterable[Finding], *, simulated: bool) -> Judged:
    """Of authentic evidence: valid unless a finding of the policy failed.

    The reason is "policy_" and the last part of the finding's id.
    """
    listed = tuple(findings)
    failed = first_failed(listed)
    return Judged(
        verdict="invalid" if failed else "valid",
        reason=f"policy_{failed.partition('.')[2]}" if failed else "",
        findings=listed,
        simulated=simulated,
    )


def known(policy: Mapping[str, Any], *keys: str) -> None:
    """Refuse a policy with any other key.

    Raises:
        InputError: `policy.invalid`.
    """
    if unknown := sorted(policy.keys() - set(keys)):
        raise InputError(f"policy has unknown keys {unknown}"[:400], code="policy.invalid")


def octets(policy: Mapping[str, Any], key: str) -> bytes | None:
    """The bytes that the policy names in hexadecimal, or None if it does not.

    Raises:
        InputError: `policy.invalid`: not hexadecimal.
    """
    if key not in policy:
        return None
    try:
        return bytes.fromhex(policy[key])
    except (ValueError, TypeError) as error:
        raise InputError(f"policy.{key} is not hexadecimal", code="policy.invalid") from error


def numbers(policy: Mapping[str, Any], key: str, allowed: Collection[int]) -> tuple[int, ...]:
    """The list of numbers under `key`, each one of `allowed`; empty if the key is absent.

    Raises:
        InputError: `policy.invalid`: something else.
    """
    value = policy.get(key, [])
    legal = isinstance(value, list) and all(type(one) is int and one in allowed for one in value)
    if not legal:
        raise InputError(f"policy.{key} is not a list of {allowed}", code="policy.invalid")
    return tuple(value)


def flag(policy: Mapping[str, Any], key: str) -> bool | None:
    """The boolean under `key`, or None if it is absent.

    Raises:
        InputError: `policy.invalid`: something else.
    """
    value = policy.get(key)
    if value is not None and not isinstance(value, bool):
        raise InputError(f"policy.{key} is not a boolean", code="policy.invalid")
    return value


def one_file(files: Files, role: str) -> bytes:
    """The one file with this role.

    Raises:
        InputError: `input.files`: it is missing, or there are several.
    """
    value = files.get(role)
    if not isinstance(value, bytes):
        raise InputError(f"want exactly one file with the role {role!r}", code="input.files")
    return value


def optional_file(files: Files, role: str) -> bytes | None:
    """The one file with this role, or None if there is none.

    Raises:
        InputError: `input.files`: there are several.
    """
    return one_file(files, role) if role in files else None


def many_files(files: Files, role: str) -> tuple[bytes, ...]:
    """All files with this role, which may be none."""
    value = files.get(role, ())
    return (value,) if isinstance(value, bytes) else tuple(value)


def moment(verify_time: datetime | None) -> datetime:
    """The time to judge at, for kinds that cannot do without.

    Raises:
        InputError: `input.verify_time`: it is missing.
    """
    if verify_time is None:
        raise InputError("this kind needs a verify_time", code="input.verify_time")
    return verify_time
