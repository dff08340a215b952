"""What a guest left under /results, judged without following or trusting anything.

Rules: at most `output_files` names and `output_bytes` bytes; only regular files and
directories, which their owner can list and enter; every name is printable UTF-8 without a
backslash (it becomes a path on a consumer's machine), at most 255 bytes; at most 16 names and
1024 bytes in a path. A guest can make symbolic links and arbitrarily deep directories, and
while it runs it may change the tree under us, so an entry that vanishes is skipped: the scan
that counts is the one after the guest is gone.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from atoll_agent.sandbox.limits import MAX_DEPTH, MAX_NAME, MAX_PATH, Limits
from atoll_agent.sandbox.outcome import Kind, ResultFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """`problem` is None when every rule holds; otherwise `files` is empty."""

    problem: Kind | None
    entries: int
    size: int
    files: tuple[ResultFile, ...] = field(repr=False)


def is_legal_name(raw: bytes) -> bool:
    """Whether `raw` may be one name in a result's path."""
    if not 0 < len(raw) <= MAX_NAME or raw in (b".", b".."):
        return False
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return text.isprintable() and "\\" not in text and "/" not in text


def scan(root: Path, limits: Limits) -> Scan:
    """Walk the tree at `root` and stop at the first broken rule.

    Reads names and sizes only. Does not follow links, and does not open files.
    """
    files: list[ResultFile] = []
    entries = size = 0
    waiting: list[tuple[bytes, ...]] = [()]
    base = os.fsencode(root)

    def stop(problem: Kind) -> Scan:
        return Scan(problem=problem, entries=entries, size=size, files=())

    while waiting:
        parts = waiting.pop()
        left = limits.output_files - entries
        for name, mode, length in _entries(os.path.join(base, *parts), left + 1):  # noqa: PTH118
            entries += 1
            size += length if stat.S_ISREG(mode) else 0
            if entries > limits.output_files or size > limits.output_bytes:
                return stop(Kind.OUTPUT_LIMIT)
            if not is_legal_name(name) or len(parts) >= MAX_DEPTH:
                return stop(Kind.OUTPUT_NAMES)
            path = (*parts, name)
            if sum(map(len, path)) + len(parts) > MAX_PATH:
                return stop(Kind.OUTPUT_NAMES)
            if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                # What is below could be neither counted nor sent.
                return stop(Kind.OUTPUT_KIND)
            if stat.S_ISDIR(mode):
                waiting.append(path)
            elif stat.S_ISREG(mode):
                files.append(ResultFile(name=b"/".join(path).decode("utf-8"), size=length))
            else:
                return stop(Kind.OUTPUT_KIND)
    files.sort(key=lambda file: file.name.encode("utf-8"))
    return Scan(problem=None, entries=entries, size=size, files=tuple(files))


def _entries(directory: bytes, enough: int) -> list[tuple[bytes, int, int]]:
    found: list[tuple[bytes, int, int]] = []
    try:
        with os.scandir(directory) as listing:
            for entry in listing:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                found.append((entry.name, status.st_mode, status.st_size))
                if len(found) >= enough:
                    break
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return found
    return found
