"""What a guest writes to its console, kept for the operator within bounds.

The first and the last of it: how it booted, and what it said before it ended. Everything in
it is of the guest's making, so it is kept away from terminals: what is not printable ASCII
becomes a question mark.
"""

from pathlib import Path
from typing import Final

HEAD: Final = 64 << 10
TAIL: Final = 64 << 10
MAX: Final = 256 << 10
"""The file is never longer."""
_LEFT_OUT: Final = b"\n[... left out by the keeper ...]\n"
_KEPT: Final = frozenset(b"\t\n") | frozenset(range(ord(" "), ord("~") + 1))
_PRINTABLE: Final = bytes(c if c in _KEPT else ord("?") for c in range(256))


class Console:
    """The file of one guest's console.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")
        self._size = 0
        path.chmod(0o600)

    def write(self, raw: bytes) -> None:
        """Keep what the guest wrote. A carriage return before a line's end goes."""
        text = raw.replace(b"\r", b"").translate(_PRINTABLE)
        for start in range(0, len(text), TAIL):
            self._append(text[start : start + TAIL])

    def tail(self) -> str:
        """The last of it."""
        self._file.flush()
        self._file.seek(max(0, self._size - TAIL))
        return self._file.read(TAIL).decode("ascii")

    def close(self) -> None:
        self._file.close()

    def _append(self, text: bytes) -> None:
        if self._size + len(text) > MAX:
            self._file.seek(self._size - TAIL)
            kept = self._file.read(TAIL)
            self._file.truncate(HEAD)
            self._file.seek(HEAD)
            self._file.write(_LEFT_OUT + kept)
            self._size = HEAD + len(_LEFT_OUT) + len(kept)
        self._file.seek(self._size)
        self._file.write(text)
        self._file.flush()
        self._size += len(text)
