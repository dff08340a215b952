"""What may stand in a subject and in a header, checked before the server sees it.

nats-py refuses only whitespace, and the server closes the connection on some of the
rest. Tokens are printable ASCII without space, dot or wildcard (ADR-6 is stricter:
`atoll.wire.names` holds ids to it; here `$KV` and base64url padding must pass).
"""

import re
from collections.abc import Mapping
from typing import Final

from atoll.errors import InputError

_TOKEN: Final = r"[!-)+,\-/0-=?-~]+"  # noqa: S105
_SUBJECT: Final = re.compile(rf"{_TOKEN}(?:\.{_TOKEN})*")
_FILTER: Final = re.compile(rf"(?:(?:{_TOKEN}|\*)\.)*(?:{_TOKEN}|\*|>)")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE: Final = re.compile(r"[!-~](?:[ -~]{0,4094}[!-~])?")
_KEY: Final = re.compile(r"[-/_=A-Za-z0-9]+(?:\.[-/_=A-Za-z0-9]+)*")
_KEY_PATTERN: Final = re.compile(r"(?:(?:[-/_=A-Za-z0-9]+|\*)\.)*(?:[-/_=A-Za-z0-9]+|\*|>)")

MAX_SUBJECT: Final = 512
"""Characters. The server's control line is 4096 bytes and holds up to three subjects."""


def require_subject(subject: str) -> str:
    """`subject`, if one can publish to it."""
    if len(subject) > MAX_SUBJECT or not _SUBJECT.fullmatch(subject):
        raise InputError(f"{subject[:80]!r} is not a subject", code="bus.subject")
    return subject


def require_filter(subject: str) -> str:
    """`subject`, if one can subscribe to it: wildcards are allowed."""
    if len(subject) > MAX_SUBJECT or not _FILTER.fullmatch(subject):
        raise InputError(f"{subject[:80]!r} is not a subject filter", code="bus.subject")
    return subject


def require_key(key: str) -> str:
    """`key`, if it can be a key of a bucket (ADR-8, "Valid keys")."""
    if len(key) > MAX_SUBJECT or not _KEY.fullmatch(key):
        raise InputError(f"{key[:80]!r} is not a key", code="bus.key")
    return key


def require_key_pattern(pattern: str) -> str:
    """`pattern`, if it can select keys of a bucket."""
    if len(pattern) > MAX_SUBJECT or not _KEY_PATTERN.fullmatch(pattern):
        raise InputError(f"{pattern[:80]!r} is not a key pattern", code="bus.key")
    return pattern


def require_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """A copy of `headers`, if each is one line of printable ASCII."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise InputError(
                f"header {name[:80]!r} is not printable ASCII on one line", code="bus.header"
            )
    return dict(headers)
