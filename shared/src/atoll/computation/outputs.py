"""Who gets what of a computation, in which form and how much of it.

An output is the results of one step, sealed for its consumers. Its policy is kept inside the
enclave: what breaks it never leaves.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Final

from atoll.computation.media import MAX_CHECKED, OCTETS, MediaType, is_of
from atoll.computation.steps import StepName
from atoll.errors import ManifestError
from atoll.wire.schema import Name, Pattern, Range, Size, message

_ANY: Final = "**"
_WILD: Final = frozenset({"*", _ANY})

MAX_OUTPUTS: Final = 16
MAX_CONSUMERS: Final = 16

NamePattern = Annotated[str, Size(1, 256), Pattern(r"[^\\\x00-\x1f\x7f]+")]
"""A path in which `*` stands for anything but `/`, and `**` for anything."""


@message
class Output:
    """The results of a step for some consumers."""

    step: StepName
    consumers: Annotated[tuple[Name, ...], Size(1, MAX_CONSUMERS)]
    max_bytes: Annotated[int, Range(0, 16 << 30)] = 256 << 20
    """Of all files and logs together: an upper bound of what the algorithm can tell."""
    max_files: Annotated[int, Range(0, 4096)] = 1024
    names: Annotated[tuple[NamePattern, ...], Size(1, 64)] = ("**",)
    """Every file must fit one of these."""
    media_types: Annotated[tuple[MediaType, ...], Size(0, 8)] = ()
    """Every file must be of one of these; none named: of whatever type."""
    logs: bool = True
    """Whether standard output and error go along, also when a step fails. Without them nobody
    finds out why; with them an algorithm can tell things by failing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Why an output may not leave. `code` is fixed; nothing here repeats a guest's words."""

    code: str
    message: str


BYTES: Final = Breach(code="output.bytes", message="the results are over the output's byte budget")
FILES: Final = Breach(code="output.files", message="the results are more files than the output has")
NAMES: Final = Breach(
    code="output.name", message="a result has a name that the output does not allow"
)
TYPES: Final = Breach(
    code="output.type", message="a result is of no media type that the output allows"
)


def breach(
    output: Output, files: Iterable[tuple[str, int]], *, log_bytes: int = 0
) -> Breach | None:
    """The first rule about names and sizes that these files break, or None.

    Args:
        output: the policy.
        files: path below `/results`, and size.
        log_bytes: of what goes along.
    """
    listed = list(files)
    if len(listed) > output.max_files:
        return FILES
    if sum(size for _, size in listed) + log_bytes > output.max_bytes:
        return BYTES
    if not all(any(fits(pattern, name) for pattern in output.names) for name, _ in listed):
        return NAMES
    if looks_inside(output) and any(size > MAX_CHECKED for _, size in listed):
        return TYPES
    return None


def type_breach(output: Output, content: bytes) -> Breach | None:
    """`TYPES` if a file is of none of the types that the output allows."""
    if not output.media_types or any(is_of(one, content) for one in output.media_types):
        return None
    return TYPES


def looks_inside(output: Output) -> bool:
    """Whether `type_breach` has anything to find, so that files must be read for it."""
    return bool(output.media_types) and OCTETS not in output.media_types


def require_outputs(
    outputs: Mapping[str, Output], steps: Iterable[str], parties: Mapping[str, bool]
) -> None:
    """Check what outputs say about the rest of a manifest.

    Args:
        outputs: by name.
        steps: the names of all.
        parties: whether each has a key that results can be sealed to.

    Raises:
        ManifestError: `manifest.output`; `manifest.consumer_without_key`.
    """
    known = set(steps)
    for name, output in outputs.items():
        if output.step not in known:
            raise _error("output", f"output {name!r} is of {output.step!r}, which is no step")
        if len(set(output.consumers)) != len(output.consumers):
            raise _error("output", f"output {name!r} has a consumer twice")
        if len(set(output.media_types)) != len(output.media_types):
            raise _error("output", f"output {name!r} has a media type twice")
        for consumer in output.consumers:
            if consumer not in parties:
                raise _error("output", f"consumer {consumer!r} of output {name!r} is no party")
            if not parties[consumer]:
                raise _error(
                    "consumer_without_key",
                    f"consumer {consumer!r} has no HPKE key to seal a result to",
                )


def fits(pattern: str, name: str) -> bool:
    """Whether a whole path fits a pattern, in time proportional to both lengths.

    Not by a regular expression: a pattern that its author chose well would keep one busy for
    ever.
    """
    parts = _parts(pattern)
    places = _after_wildcards(parts, {0})
    for letter in name:
        moved = {
            place if wild else place + 1
            for place in places
            if place < len(parts)
            for wild in (parts[place] in _WILD,)
            if (wild and (letter != "/" or parts[place] == _ANY)) or parts[place] == letter
        }
        places = _after_wildcards(parts, moved)
    return len(parts) in places


@cache
def _parts(pattern: str) -> tuple[str, ...]:
    """Letters, `*` and `**`. No letter is a star, so they cannot be confused."""
    return tuple(re.findall(r"\*\*|.", pattern, re.DOTALL))


def _after_wildcards(parts: tuple[str, ...], places: set[int]) -> set[int]:
    """Those places, and where they lead if wildcards stand for nothing."""
    found = set[int]()
    for start in places:
        place = start
        while place not in found:
            found.add(place)
            if place < len(parts) and parts[place] in _WILD:
                place += 1
    return found


def _error(code: str, why: str) -> ManifestError:
    return ManifestError(f"manifest: {why}", code=f"manifest.{code}")
