"""The protocol level: which fields this process reads, and which it writes.

Every field has a level since which it exists: `Annotated[..., Since(2)]`, or 1. A release reads
all levels from `OLDEST` to `NEWEST`. A bus has one level in force (bucket `protocol`), and
everything is written as that level has it, so that whoever speaks it can read it, whatever else
it speaks (ADR 17).

What a process reads and writes is one value for the whole process, not an argument of each call:
a call that forgot it would write what an older peer refuses, and no test of one release finds that.
"""

from dataclasses import dataclass
from typing import Final

from atoll.errors import ConfigError

OLDEST: Final = 1
"""The oldest level in force that this release can take part in."""

NEWEST: Final = 2
"""The newest one. What each level brought is in `docs/operations.md`."""

METADATA: Final = "protocol"
"""A service that does not have it is of a release without levels."""


@dataclass(frozen=True, slots=True)
class Since:
    """The level that a field came with. Such a field has a default: older peers leave it out."""

    level: int


@dataclass(slots=True)
class _Own:
    newest: int = NEWEST
    written: int = NEWEST


_own = _Own()


def newest() -> int:
    """The newest level that this process reads."""
    return _own.newest


def written() -> int:
    """The level that this process writes."""
    return _own.written


def metadata() -> dict[str, str]:
    """What a service says of itself where services are discovered (ADR-32)."""
    return {METADATA: f"{OLDEST}-{_own.newest}"}


def require_known(level: int) -> None:
    """Raises: ConfigError `protocol.limit`: this release has no such level."""
    if not OLDEST <= level <= NEWEST:
        raise ConfigError(
            f"protocol level {level}: this release speaks {OLDEST} to {NEWEST}",
            code="protocol.limit",
        )


def limit(level: int) -> None:
    """Read no more than the release that had `level` as its newest; before anything is read.

    Raises:
        ConfigError: as `require_known` does.
    """
    require_known(level)
    _own.newest = level
    _own.written = min(_own.written, level)


def write(level: int) -> None:
    """Write `level` from now on.

    Raises:
        ConfigError: as `require` does.
    """
    require(level)
    _own.written = level


def take_part(in_force: int) -> None:
    """As one who asks and never writes anew what others wrote: on several buses, by the oldest.

    Raises:
        ConfigError: as `require` does.
    """
    require(in_force)
    _own.written = min(_own.written, in_force)


def heard(level: int) -> None:
    """A peer's own entry is of `level`: then that is in force, and we had not heard of it. To
    write the entry as an older level has it would lose what the peer wrote."""
    _own.written = max(_own.written, level)


def require(in_force: int) -> None:
    """Return if this process can take part where `in_force` is the level in force, or is about to.

    Raises:
        ConfigError: `protocol.too_old`, `protocol.too_new`: it cannot; both numbers are named.
    """
    if in_force > _own.newest:
        raise ConfigError(
            f"protocol level {in_force} is needed on this bus, and this release speaks "
            f"{OLDEST} to {_own.newest}",
            code="protocol.too_old",
            hint="install a newer release here",
        )
    if in_force < OLDEST:
        raise ConfigError(
            f"protocol level {in_force} is needed on this bus, and this release speaks "
            f"{OLDEST} to {_own.newest}",
            code="protocol.too_new",
            hint="let `atoll upgrade finish` of the release before raise it first",
        )
