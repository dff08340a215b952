"""A policy document: what is accepted of each TEE, under a name and a number.

Canonical JSON (RFC 8785) with exactly these members:

| member       | value                                                                    |
| format       | "atoll-policy"                                                           |
| format_version | 1                                                                      |
| name         | 1 to 64 of A-Z a-z 0-9 _ - . ; documents of one name follow each other    |
| version      | 1 to 2^53 - 1; every document has a higher one than that before it       |
| not_before   | seconds since 1970: not to be activated earlier                          |
| mode         | "shadow", "warn" or "enforce"                                            |
| sections     | by TEE: the JSON of its policy. What has no section is not accepted      |

A document is named by SHA-256 of these bytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Self

from atoll import canonical
from atoll.errors import InputError
from atoll.policy.sections import SECTIONS, Policy
from atoll.wire.names import require_name

FORMAT: Final = "atoll-policy"
FORMAT_VERSION: Final = 1
MAX_DOCUMENT: Final = 1 << 20
MAX_TIME: Final = 1 << 40
_MEMBERS: Final = frozenset(
    {"format", "format_version", "name", "version", "not_before", "mode", "sections"}
)


class Mode(Enum):
    """How much a document's verdict counts; see `activation.decide`."""

    SHADOW = "shadow"
    WARN = "warn"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyDocument:
    """A legal document. Raises `InputError` `policy.invalid` or `name.invalid` if it is none."""

    name: str
    version: int
    not_before: int
    mode: Mode
    sections: Mapping[str, Policy]

    def __post_init__(self) -> None:
        require_name(self.name, "policy name")
        _require_number("version", self.version, 1, canonical.MAX_INTEGER)
        _require_number("not_before", self.not_before, 0, MAX_TIME)
        if not isinstance(self.mode, Mode):
            raise invalid(f"has the mode {self.mode!r}")
        for tee, policy in self.sections.items():
            if tee not in SECTIONS or not isinstance(policy, SECTIONS[tee].kind):
                raise invalid(f"has a section {str(tee)[:40]!r} of type {type(policy).__name__}")
        object.__setattr__(self, "sections", MappingProxyType(dict(self.sections)))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.to_bytes()).digest()

    def to_plain(self) -> dict[str, Any]:
        """The members as JSON values."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "version": self.version,
            "not_before": self.not_before,
            "mode": self.mode.value,
            "sections": {
                tee: canonical.loads(SECTIONS[tee].to_json(policy))
                for tee, policy in self.sections.items()
            },
        }

    def to_bytes(self) -> bytes:
        """The canonical JSON."""
        return canonical.dumps(self.to_plain())

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read canonical JSON.

        Raises:
            InputError: `policy.invalid`, `name.invalid` or `json.*`.
        """
        if len(raw) > MAX_DOCUMENT:
            raise invalid(f"is {len(raw)} bytes, at most {MAX_DOCUMENT}")
        return cls.from_plain(canonical.loads(raw))

    @classmethod
    def from_plain(cls, value: Any) -> Self:
        """Read JSON values.

        Raises:
            InputError: `policy.invalid`, `name.invalid` or `json.*`.
        """
        if not isinstance(value, dict) or value.keys() != _MEMBERS:
            raise invalid(f"has not exactly the members {', '.join(sorted(_MEMBERS))}")
        if value["format"] != FORMAT or value["format_version"] is True:
            raise invalid(f"is not of the format {FORMAT!r}")
        if value["format_version"] != FORMAT_VERSION:
            raise invalid(f"is not of format version {FORMAT_VERSION}, the only one known here")
        modes = {mode.value: mode for mode in Mode}
        if not isinstance(value["mode"], str) or value["mode"] not in modes:
            raise invalid(f"has none of the modes {', '.join(modes)}")
        if not isinstance(value["name"], str) or not isinstance(value["sections"], dict):
            raise invalid("has a name that is not text, or sections that are no object")
        return cls(
            name=value["name"],
            version=value["version"],
            not_before=value["not_before"],
            mode=modes[value["mode"]],
            sections={tee: _section(tee, item) for tee, item in value["sections"].items()},
        )


def invalid(why: str) -> InputError:
    """The error for what is no document."""
    return InputError(f"policy document {why}", code="policy.invalid")


def _section(tee: str, value: Any) -> Policy:
    if tee not in SECTIONS:
        raise invalid(f"has a section for {tee[:40]!r}, which this build does not know")
    policy: Policy = SECTIONS[tee].from_json(canonical.dumps(value))
    return policy


def _require_number(name: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise invalid(f"has the {name} {str(value)[:40]}, want {low} to {high}")
