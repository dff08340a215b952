"""What is in force under a policy's name, and how a store keeps it.

Canonical JSON: {"format": "atoll-policy-state", "format_version": 1, "highest": integer,
"highest_digest": hex, "enforced": document or null, "candidate": document or null}. It is
not signed: whoever can write the store decides what is in force there. The signatures are
checked before, by `signed.verify_policy`.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

from atoll import canonical
from atoll.policy.document import MAX_DOCUMENT, Mode, PolicyDocument, invalid

FORMAT: Final = "atoll-policy-state"
FORMAT_VERSION: Final = 1
MAX_STATE: Final = 2 * MAX_DOCUMENT + 4096
_DIGEST_HEX: Final = 64
_MEMBERS: Final = frozenset(
    {"format", "format_version", "highest", "highest_digest", "enforced", "candidate"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """A legal state. Raises `InputError` `policy.invalid` if it contradicts itself."""

    highest: int
    """The highest version that was ever activated."""
    highest_digest: bytes
    """Of that document."""
    enforced: PolicyDocument | None
    candidate: PolicyDocument | None

    def __post_init__(self) -> None:
        found = [item for item in (self.enforced, self.candidate) if item is not None]
        if not found or len({item.name for item in found}) != 1:
            raise invalid("state holds no document, or documents of different names")
        last = max(found, key=lambda item: item.version)
        if (last.version, last.digest) != (self.highest, self.highest_digest):
            raise invalid("state does not end with its highest version")
        enforces = self.enforced is None or self.enforced.mode is Mode.ENFORCE
        waits = self.candidate is None or self.candidate.mode is not Mode.ENFORCE
        if not enforces or not waits or (self.candidate and self.candidate is not last):
            raise invalid("state has a document in the wrong place")

    @property
    def name(self) -> str:
        """The name that all its documents have."""
        document = self.enforced or self.candidate
        return document.name if document else ""

    def to_bytes(self) -> bytes:
        """The canonical JSON."""
        return canonical.dumps(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "highest": self.highest,
                "highest_digest": self.highest_digest.hex(),
                "enforced": self.enforced.to_plain() if self.enforced else None,
                "candidate": self.candidate.to_plain() if self.candidate else None,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read canonical JSON.

        Raises:
            InputError: `policy.invalid`, `name.invalid` or `json.*`.
        """
        if len(raw) > MAX_STATE:
            raise invalid(f"state is {len(raw)} bytes, at most {MAX_STATE}")
        value = canonical.loads(raw)
        if not isinstance(value, dict) or value.keys() != _MEMBERS or value["format"] != FORMAT:
            raise invalid(f"state is not of the format {FORMAT!r}")
        if value["format_version"] is True or value["format_version"] != FORMAT_VERSION:
            raise invalid(f"state is not of format version {FORMAT_VERSION}")
        highest, digest = value["highest"], value["highest_digest"]
        legal = isinstance(digest, str) and len(digest) == _DIGEST_HEX
        if type(highest) is not int or not legal or not set(digest) <= set("0123456789abcdef"):
            raise invalid("state has a highest version or digest that cannot be")
        return cls(
            highest=highest,
            highest_digest=bytes.fromhex(digest),
            enforced=_document(value["enforced"]),
            candidate=_document(value["candidate"]),
        )


class PolicyStore(Protocol):
    """Where states are kept. `replace` is atomic: another writer's change is never lost."""

    def load(self, name: str) -> PolicyState | None:
        """The state of a name, or None if nothing was ever activated under it."""

    def replace(self, old: PolicyState | None, new: PolicyState) -> None:
        """Store `new` under its name if `old` is still what is there.

        Raises:
            ConflictError: it is not.
        """


def _document(value: Any) -> PolicyDocument | None:
    return None if value is None else PolicyDocument.from_plain(value)
