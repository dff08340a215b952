"""What a request asks of evidence by a policy of its own. Pure.

The policy is JSON: requirements, the policy of one TEE, a policy document, or one with
signatures. The asker chose it, so who stands behind it is the asker's affair, with one
exception: signatures that came along must be those of the policy's owners here, because
something that looks signed and is not must not pass for it.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from atoll import canonical
from atoll.errors import InputError
from atoll.policy import signed
from atoll.policy.activation import require_started
from atoll.policy.document import FORMAT, PolicyDocument
from atoll.policy.kinds import requirements
from atoll.policy.records import NO_SECTION
from atoll.policy.signed import verify_policy
from atoll_attestor.policies import Owners

SAFE_DEFAULTS: Final = hashlib.sha256(b"").hexdigest()
"""What stands for the policy of a request that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Requirements, and what they are known by."""

    requirements: dict[str, Any]
    digest: str
    """SHA-256 in hex: of the policy document, or of the request's policy."""
    name: str = ""
    """The document's; empty for requirements."""
    version: int = 0


def asked(raw: bytes, kind: str, owners: Owners, *, now: int) -> Asked:
    """Read the policy of a request about evidence of this kind.

    Args:
        raw: the policy; empty for the safe defaults.
        kind: of `atoll.evidence.judge`.
        owners: who may have signed a document.
        now: in seconds since 1970.

    Raises:
        InputError: `json.malformed`, `policy.invalid`, `name.invalid`: it is no policy;
            `policy.signature`: it is signed, and not by its owners; `policy.no_section`: the
            document says nothing about this kind.
        RefusedError: `policy.not_yet`.
    """
    if not raw:
        return Asked(requirements={}, digest=SAFE_DEFAULTS)
    value = canonical.parse(raw)
    if not isinstance(value, dict):
        raise InputError("the request's policy is no JSON object", code="policy.invalid")
    if value.get("format") == signed.FORMAT:
        whole = canonical.dumps(value)
        document = verify_policy(whole, owners.keys, threshold=owners.threshold).document
    elif value.get("format") == FORMAT:
        document = PolicyDocument.from_plain(value)
    else:
        return Asked(requirements=value, digest=hashlib.sha256(raw).hexdigest())
    require_started(document, now=now)
    found = requirements(kind, document)
    if found is None:
        known = ", ".join(sorted(document.sections)) or "none"
        raise InputError(
            f"policy document has no section about {kind}; its sections: {known}", code=NO_SECTION
        )
    return Asked(
        requirements=found,
        digest=document.digest.hex(),
        name=document.name,
        version=document.version,
    )
