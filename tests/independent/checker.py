"""An independent checker of attestation evidence and Atoll receipts.

It exists to disagree: a second reading of the same specifications, to be held against
`atoll.evidence` on every vector, and small enough to be read in one sitting. `pki`, `snp`,
`tdx`, `keystone` and `receipt` do the work, one page for each, with `cryptography` and the
standard library and nothing else. It answers valid or invalid, keeps no chain of reasons,
fetches nothing, and believes only the roots that it is told.
"""

from collections.abc import Callable
from datetime import datetime

from independent import keystone, receipt, snp, tdx
from independent.pki import REFUSED, Json

KINDS = ("snp_report", "tdx_quote", "keystone_report")


def verdict(case: Json, trust: Json, read: Callable[[str], bytes]) -> tuple[str, str]:
    """("valid", TCB status or "") or ("invalid", why) for one case of a manifest."""
    try:
        return "valid", _check(case, trust, read)
    except REFUSED as error:
        return "invalid", repr(error)


def receipt_verdict(raw: bytes, roots: Json, now: datetime, policy: Json) -> tuple[str, str]:
    """("valid", job id) or ("invalid", why) for a receipt."""
    try:
        return "valid", str(receipt.check(raw, roots, now, policy)["job_id"])
    except REFUSED as error:
        return "invalid", repr(error)


def _check(case: Json, trust: Json, read: Callable[[str], bytes]) -> str:
    raw, policy, files = read(case["path"]), case["policy"], case["files"]
    if case["kind"] == "keystone_report":
        keystone.check(raw, policy)
        return ""
    now = datetime.fromisoformat(case["verify_time"])
    if case["kind"] == "snp_report":
        lists = {role: [read(path) for path in paths] for role, paths in files.items()}
        roots = case.get("trusted_roots", trust["amd_ark_spki_sha256"])
        snp.check(raw, lists, roots, now, policy)
        return ""
    root = case.get("trusted_root_spki", trust["intel_sgx_root_spki_sha256"])
    listed = {role: [some] if isinstance(some, str) else some for role, some in files.items()}
    contents = {role: b"".join(map(read, paths)) for role, paths in listed.items()}
    return tdx.check(raw, contents, root, now, policy)
