"""What a name may look like.

A name becomes a subject token, a bucket key, a file name and a directory entry in
the guest, so it is confined to what is harmless in all of them.
"""

import re
from typing import Final

from atoll.errors import InputError

TOKEN: Final = r"[A-Za-z0-9_-]{1,64}"  # noqa: S105
"""An id or subject token (NATS ADR-6): no dot, wildcard or space."""

NAME: Final = r"(?!.*\.\.)[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_-])?"
"""A dataset or key name: like a token, and dots are allowed inside (`iris.csv`)."""

CODE: Final = r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*"
"""A stable code of an error or outcome (`evidence.malformed`)."""

MAX_CODE: Final = 64
"""Characters of the longest code."""

_TOKEN: Final = re.compile(TOKEN)
_NAME: Final = re.compile(NAME)
_CODE: Final = re.compile(CODE)


def is_code(text: str) -> bool:
    """Whether `text` is a legal code."""
    return len(text) <= MAX_CODE and _CODE.fullmatch(text) is not None


def require_token(value: str, what: str) -> str:
    """`value`, if it is a legal token.

    Raises:
        InputError: `name.invalid`.
    """
    return _require(_TOKEN, value, what, "1 to 64 of A-Z a-z 0-9 _ -")


def require_name(value: str, what: str) -> str:
    """`value`, if it is a legal name: never `.`, `..`, a path, a wildcard or a hidden file.

    Raises:
        InputError: `name.invalid`.
    """
    want = "1 to 64 of A-Z a-z 0-9 _ - . with no '..' and no dot at either end"
    return _require(_NAME, value, what, want)


def _require(pattern: re.Pattern[str], value: str, what: str, want: str) -> str:
    if not pattern.fullmatch(value):
        raise InputError(
            f"{what} {value[:80]!r} is not a legal name: want {want}", code="name.invalid"
        )
    return value
