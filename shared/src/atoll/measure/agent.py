"""The agent's code as one byte string, and what a processor would measure of it.

The image is the transcript "atoll agent image v1" over the number of files (8 bytes,
big-endian) and then, in order of path, each path and its content. So it has one
form for one set of files, and tells where it ends.
"""

from collections.abc import Iterable
from typing import Final

from atoll.errors import InputError
from atoll.framing import transcript
from atoll.measure.snp import measure_image

LABEL: Final = "atoll agent image v1"
MAX_FILES: Final = 4096
MAX_IMAGE: Final = 64 << 20


def agent_image(files: Iterable[tuple[str, bytes]]) -> bytes:
    """One image of (path, content), whatever the order they come in.

    Raises:
        InputError: `measure.image`: no files, too many, too large, or a path that is
            empty, absolute, has `..`, is not ASCII, or is there twice.
    """
    ordered = sorted(files)
    paths = [path for path, _ in ordered]
    if not 1 <= len(paths) <= MAX_FILES or len(set(paths)) != len(paths):
        raise _invalid(f"has {len(paths)} files, want 1 to {MAX_FILES} with different paths")
    for path in paths:
        if not path or not path.isascii() or any(p in ("", "..", ".") for p in path.split("/")):
            raise _invalid(f"has a path {path[:80]!r} that is not plain and relative")
    if sum(len(content) for _, content in ordered) > MAX_IMAGE:
        raise _invalid(f"is over {MAX_IMAGE} bytes")
    values = [value for path, content in ordered for value in (path.encode("ascii"), content)]
    return transcript(LABEL, len(paths).to_bytes(8, "big"), *values)


def agent_measurement(image: bytes) -> bytes:
    """The 48-byte launch digest of an image."""
    return measure_image(image)


def _invalid(reason: str) -> InputError:
    return InputError(f"agent image {reason}", code="measure.image")
