"""An independent checker of attestation evidence and Atoll receipts.

It exists to disagree: a second reading of the same specifications, to be held against
`atoll.evidence` on every vector. `pki`, `snp`, `tdx`, `keystone` and `receipt` do the
work; all use `cryptography` and the standard library and nothing else. It answers valid
or invalid, keeps no chain of reasons, and is not made for speed.

It does not fetch anything and believes only the roots that it is told.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from independent import keystone, receipt, snp, tdx
from independent.pki import RefusedError

KINDS = ("snp_report", "tdx_quote", "keystone_report")


def verdict(
    case: Mapping[str, Any], trust: Mapping[str, Any], read: Callable[[str], bytes]
) -> tuple[str, str]:
    """("valid", TCB status or "") or ("invalid", why) for one case of a manifest."""
    try:
        return "valid", _check(case, trust, read)
    except RefusedError as error:
        return "invalid", str(error)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        # JSON or DER that is signed and yet not of its form.
        return "invalid", f"malformed: {error!r}"


def receipt_verdict(
    raw: bytes, *, roots: Mapping[str, str], now: datetime, policy: Mapping[str, Any]
) -> tuple[str, str]:
    """("valid", job id) or ("invalid", why) for a receipt."""
    try:
        predicate = receipt.check(raw, roots=roots, now=now, policy=policy)
        return "valid", str(predicate["job_id"])
    except RefusedError as error:
        return "invalid", str(error)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return "invalid", f"malformed: {error!r}"


def _check(case: Mapping[str, Any], trust: Mapping[str, Any], read: Callable[[str], bytes]) -> str:
    raw, policy, files = read(case["path"]), case["policy"], case["files"]
    if case["kind"] == "keystone_report":
        keystone.check(raw, policy)
        return ""
    now = datetime.fromisoformat(case["verify_time"])
    if case["kind"] == "snp_report":
        certs, crls = ([read(path) for path in files.get(role, [])] for role in ("certs", "crls"))
        roots = case.get("trusted_roots", trust["amd_ark_spki_sha256"])
        snp.check(raw, certs, crls, roots=roots, now=now, policy=policy)
        return ""
    root = case.get("trusted_root_spki", trust["intel_sgx_root_spki_sha256"])
    contents = {role: read(path) for role, path in files.items()}
    return tdx.check(raw, contents, roots=[root], now=now, policy=policy)
