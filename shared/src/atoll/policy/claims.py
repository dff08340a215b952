"""What a stored document says of itself, also one that this build no longer takes.

A build that knows more fields than the one before refuses that one's documents, since absence
refuses. Their numbers still count: otherwise an update would be a way to roll a policy back.
"""

from atoll import canonical
from atoll.policy.document import invalid
from atoll.policy.signed import MAX_SIGNED


def claimed_version(raw: bytes) -> int:
    """The version number in a signed document. Checks neither signatures nor the rest.

    Raises:
        InputError: `policy.invalid` or `json.*`: there is none to be found.
    """
    if len(raw) > MAX_SIGNED:
        raise invalid(f"is {len(raw)} bytes, at most {MAX_SIGNED}")
    value = canonical.loads(raw)
    document = value.get("document") if isinstance(value, dict) else None
    version = document.get("version") if isinstance(document, dict) else None
    if type(version) is not int or version < 1:
        raise invalid("has no version")
    return version
