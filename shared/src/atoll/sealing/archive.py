r"""The result archive: what a job gave back, as one tar that is the same for the same results.

Entries, in ascending order of the bytes of their paths, each once:

    exit.json       canonical JSON {"exit_code": n or null, "outcome": "...", "step": "..."}
    results/<path>  every regular file that the guest left under /results
    stderr, stdout  what it wrote there

then two zero blocks and nothing else. `atoll.sealing.tar` says how a header looks; any `tar`
reads it. Directories are implied by files, empty ones are not kept.

Paths are the safe subset, checked the same way when writing and reading: UTF-8, components of
1 to 255 bytes that are not `.` or `..`, at most 32 of them and 4104 bytes in all; no NUL or
other control character, no backslash, no invisible or direction-changing character (they make
a name look like another). A file is never also a directory. Not judged: names that a file
system takes for equal (case, Unicode normalization) and names that Windows reserves. Whoever
unpacks creates each file exclusively, below a fresh directory. `atoll.sealing.unpack` reads.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from atoll import canonical
from atoll.errors import InputError
from atoll.sealing.stream import Buffer
from atoll.sealing.tar import (
    END,
    LONG_NAME,
    MAX_FILE_SIZE,
    MAX_SHORT_NAME,
    PAX_NAME,
    Kind,
    TarHeader,
    malformed,
    padding,
    pax_path,
)
from atoll.wire import names

EXIT: Final = "exit.json"
STDOUT: Final = "stdout"
STDERR: Final = "stderr"
RESULTS: Final = "results/"
MAX_PATH: Final = 4104
MAX_COMPONENT: Final = 255
MAX_DEPTH: Final = 32
MAX_EXIT_RECORD: Final = 256

_REQUIRED: Final = (EXIT, STDERR, STDOUT)
_HARMFUL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\\\\\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_OUTCOME: Final = re.compile(names.CODE)
_STEP: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveEntry:
    """A file to be written: `chunks()` is called once, when its turn comes."""

    name: str
    size: int
    chunks: Callable[[], Iterable[Buffer]]

    @classmethod
    def of(cls, name: str, content: bytes) -> Self:
        """An entry whose content is in memory."""
        return cls(name=name, size=len(content), chunks=lambda: (content,))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord:
    """How the run ended; `exit_code` is `None` if the guest did not come to exit.

    `step` is the one that this is about: the output's own, or the one before it that failed.
    """

    exit_code: int | None
    outcome: str
    step: str

    def to_bytes(self) -> bytes:
        """The content of `exit.json`."""
        return canonical.dumps(
            {"exit_code": self.exit_code, "outcome": self.outcome, "step": self.step}
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Parse the content of `exit.json`.

        Raises:
            InputError: `archive.exit`.
        """
        try:
            value = canonical.loads(raw[: MAX_EXIT_RECORD + 1])
        except InputError as error:
            raise InputError(f"{EXIT}: {error.message}", code="archive.exit") from error
        if not isinstance(value, dict) or value.keys() != {"exit_code", "outcome", "step"}:
            raise InputError(f"{EXIT}: want exit_code, outcome and step", code="archive.exit")
        code, outcome, step = value["exit_code"], value["outcome"], value["step"]
        if code is not None and (isinstance(code, bool) or not isinstance(code, int)):
            raise InputError(f"{EXIT}: exit_code is not an integer", code="archive.exit")
        if not isinstance(outcome, str) or not _OUTCOME.fullmatch(outcome):
            raise InputError(f"{EXIT}: outcome is not a code", code="archive.exit")
        if not isinstance(step, str) or not _STEP.fullmatch(step):
            raise InputError(f"{EXIT}: step is not a name", code="archive.exit")
        return cls(exit_code=code, outcome=outcome, step=step)


def require_path(path: str) -> str:
    """`path`, if it may stand in a result archive.

    Raises:
        InputError: `archive.name`.
    """
    require_safe_path(path)
    if path not in _REQUIRED and not path.startswith(RESULTS):
        raise _name_error(path, f"is neither below {RESULTS} nor one of {', '.join(_REQUIRED)}")
    return path


def require_safe_path(path: str) -> str:
    """`path`, if it is of the safe subset, wherever it lies.

    Raises:
        InputError: `archive.name`.
    """
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _name_error(path, "is not UTF-8") from error
    if len(raw) > MAX_PATH:
        raise _name_error(path, f"is {len(raw)} bytes, at most {MAX_PATH} are taken")
    if _HARMFUL.search(path):
        raise _name_error(path, "has a control, invisible or backslash character")
    components = path.split("/")
    if len(components) > MAX_DEPTH:
        raise _name_error(path, f"is {len(components)} deep, at most {MAX_DEPTH} are taken")
    for component in components:
        if component in ("", ".", ".."):
            raise _name_error(path, f"has the component {component!r}")
        if len(component.encode("utf-8")) > MAX_COMPONENT:
            raise _name_error(path, f"has a component of over {MAX_COMPONENT} bytes")
    return path


def _name_error(path: str, why: str) -> InputError:
    return InputError(f"archive: path {path[:80]!r} {why}", code="archive.name")


class ArchiveNames:
    """The names so far: legal, ascending, none below another."""

    __slots__ = ("_last", "_seen")

    def __init__(self) -> None:
        self._seen: Final[set[str]] = set()
        self._last = b""

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, path: str) -> None:
        """Take the next name.

        Raises:
            InputError: `archive.name`.
        """
        raw = require_path(path).encode("utf-8")
        if raw <= self._last:
            raise _name_error(path, "stands twice or out of order")
        # A file sorts before everything below it, so the ancestors were already seen.
        parent = path.rpartition("/")[0]
        while parent:
            if parent in self._seen:
                raise _name_error(path, f"is below the file {parent[:80]!r}")
            parent = parent.rpartition("/")[0]
        self._seen.add(path)
        self._last = raw

    def require_complete(self) -> None:
        """Return if the three entries that every archive has were there.

        Raises:
            InputError: `archive.malformed`.
        """
        for name in _REQUIRED:
            if name not in self._seen:
                raise malformed(f"entry {name} is missing")


def write_archive(entries: Iterable[ArchiveEntry]) -> Iterator[bytes]:
    """The archive of `entries` in pieces; the order in which they are given does not matter.

    Holds one piece of one entry at a time, and the names of all. Every name is checked before
    the first byte comes out.

    Raises:
        InputError: `archive.name`; `archive.malformed`, one of `exit.json`, `stdout`, `stderr`
            is missing; `archive.size`, an entry is over 8 GiB or its content has another size
            than it says.
    """
    ordered = sorted(entries, key=lambda entry: entry.name.encode("utf-8", "surrogatepass"))
    names = ArchiveNames()
    for entry in ordered:
        names.add(entry.name)
        if not 0 <= entry.size <= MAX_FILE_SIZE:
            raise InputError(f"{entry.name} has {entry.size} bytes", code="archive.size")
    names.require_complete()
    for entry in ordered:
        yield from entry_pieces(entry)
    yield END


def entry_pieces(entry: ArchiveEntry) -> Iterator[bytes]:
    """The blocks of one entry, whose name and size were checked before.

    Raises:
        InputError: `archive.size`, the content has another size than the entry says.
    """
    yield _head(entry)
    left = entry.size
    for piece in entry.chunks():
        left -= len(piece)
        if left < 0:
            break
        yield bytes(piece)
    if left:
        raise InputError(
            f"content of {entry.name} is not of {entry.size} bytes", code="archive.size"
        )
    if padding(entry.size):
        yield bytes(padding(entry.size))


def _head(entry: ArchiveEntry) -> bytes:
    path = entry.name.encode("utf-8")
    if len(path) <= MAX_SHORT_NAME:
        return TarHeader(name=path, size=entry.size, kind=Kind.FILE).to_bytes()
    record = pax_path(path)
    return b"".join(
        (
            TarHeader(name=PAX_NAME, size=len(record), kind=Kind.PAX).to_bytes(),
            record,
            bytes(padding(len(record))),
            TarHeader(name=LONG_NAME, size=entry.size, kind=Kind.FILE).to_bytes(),
        )
    )
