"""Text for a terminal. Pure.

Names, messages, claims and output come from guests and peers. Anything that is not a
printable character is written as an escape before it reaches a terminal, where it
could rewrite the screen or make one name look like another.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

MAX_SHOWN: Final = 16 << 10
"""Bytes of a guest's output that are shown; more is only said to be there."""

_SECOND_MS: Final = 1000
_KIB: Final = 1024


def printable(text: str) -> str:
    """One line: control, format and unassigned characters become `\\x1b`, `\\u202e`, ..."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def lines(raw: bytes) -> list[str] | None:
    """A guest's output as escaped lines, or None if it is no text or not small."""
    if len(raw) > MAX_SHOWN:
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    return [printable(line.expandtabs(8)) for line in text.removesuffix("\n").split("\n")]


def table(rows: Iterable[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """Rows with their columns aligned; the last column is not padded."""
    listed = [[printable(cell) for cell in row] for row in rows]
    if not listed:
        return []
    widths = [max(len(row[at]) for row in listed) for at in range(len(listed[0]))]
    return [
        (
            indent + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        ).rstrip()
        for row in listed
    ]


def elapsed(ms: int) -> str:
    """A time since the beginning, as `+0.412 s`."""
    return f"+{max(ms, 0) / _SECOND_MS:.3f} s"


def moment(time_ms: int) -> str:
    """A time for people, to the second, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")


def size(count: int) -> str:
    """Bytes with a unit for people."""
    if count < _KIB:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB"):
        value /= _KIB
        if value < _KIB:
            return f"{value:.1f} {unit}"
    return f"{value / _KIB:.1f} GiB"


def painted(text: str, style: str, *, color: bool) -> str:
    """`text` in an SGR style such as `31` or `1;33`, if there is colour."""
    return f"\x1b[{style}m{text}\x1b[0m" if color else text


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x100:  # noqa: PLR2004
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004
