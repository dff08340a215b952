"""A survey and attempts as one JSON document, without what names the machine or its chip.

A report or quote has the chip's identity in it, so only its digest goes in, unless the person who
sends it chose otherwise. Values are let in by name, and long hexadecimal in texts of checks, which
may quote a chip's identity, is replaced by a digest.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from atoll.evidence.findings import Outcome
from atoll_cli.selftest.attempt import Attempt, Result

FORMAT: Final = "atoll-selftest/v1"

_IDENTITY: Final = frozenset({"chip_id", "pck_serial"})
_CLAIMS: Final = frozenset(
    {
        # SEV-SNP
        *("version", "vmpl", "policy", "platform_info", "signing_key", "mask_chip_key"),
        *("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb", "current_mit_vector"),
        *("current_version", "committed_version", "cpuid_fam_id", "cpuid_mod_id", "cpuid_step"),
        *("measurement", "host_data"),
        # TDX
        *("quote_version", "tee_tcb_svn", "mrseam", "tdattributes", "xfam", "mrtd", "mrconfigid"),
        *("rtmr0", "rtmr1", "rtmr2", "rtmr3", "fmspc", "pceid", "pcesvn", "pck_cpusvn"),
        "qe_isvsvn",
    }
)
_LONG_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2}){8,}")


class Verdict(Enum):
    """What all of it comes to; the exit status follows."""

    GOOD = "good"
    """Everything that is here gave evidence that verifies."""
    BAD = "bad"
    """Something that is here did not."""
    NOTHING = "nothing"
    """Nothing here could give evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is."""

    guest: dict[str, object]
    host: dict[str, object]
    versions: dict[str, str]
    processor: dict[str, str]


def verdict(attempts: Sequence[Attempt]) -> Verdict:
    """Of all attempts; none at all is `NOTHING`."""
    if not attempts:
        return Verdict.NOTHING
    good = all(one.result is Result.VERIFIED for one in attempts)
    return Verdict.GOOD if good else Verdict.BAD


def document(
    survey: Survey, attempts: Sequence[Attempt], *, made: str, version: str, with_chip_id: bool
) -> dict[str, Any]:
    """The report.

    Args:
        made: when, ISO 8601.
        version: of Atoll.
        with_chip_id: let the chip's identity in, and the evidence itself.
    """
    return {
        "format": FORMAT,
        "made": made,
        "atoll": version,
        "verdict": verdict(attempts).value,
        "guest": survey.guest,
        "host": survey.host,
        "versions": survey.versions,
        "processor": survey.processor,
        "attempts": [_attempt(one, with_chip_id=with_chip_id) for one in attempts],
    }


def _attempt(one: Attempt, *, with_chip_id: bool) -> dict[str, Any]:
    value: dict[str, Any] = {
        "source": one.source.value,
        "result": one.result.value,
        "code": one.code,
        "message": one.message,
        "hint": one.hint,
        "seconds": round(one.seconds, 3),
    }
    if one.quoted is None:
        return value
    value |= {
        "tee": one.tee.value if one.tee else None,
        "product": one.product,
        "tcb_status": one.tcb_status or None,
        "evidence_sha256": hashlib.sha256(one.quoted.report).hexdigest(),
        "evidence_bytes": len(one.quoted.report),
        "certificates": len(one.quoted.certs),
        "checks": {check.id: check.outcome.value for check in one.checks},
        "failed": [
            {
                "id": check.id,
                "expected": _text(check.expected, whole=with_chip_id),
                "actual": _text(check.actual, whole=with_chip_id),
            }
            for check in one.checks
            if check.outcome is Outcome.FAIL
        ],
        "claims": {name: text for name, text in one.claims.items() if name in _CLAIMS},
        "identity": {
            name: _text(text, whole=with_chip_id)
            for name, text in one.claims.items()
            if name in _IDENTITY
        },
    }
    if with_chip_id:
        value["evidence"] = one.quoted.report.hex()
    return value


def _text(text: str, *, whole: bool) -> str:
    return text if whole else _LONG_HEX.sub(_digest, text)


def _digest(found: re.Match[str]) -> str:
    return "sha256:" + hashlib.sha256(bytes.fromhex(found[0])).hexdigest()
