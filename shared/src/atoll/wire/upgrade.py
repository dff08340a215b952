"""What is said about protocol levels: the one in force, and what each service speaks."""

from enum import Enum
from typing import Annotated, Final

from atoll.wire.schema import Range, Size, Timestamp, Token, message

Level = Annotated[int, Range(1, 1 << 16)]

IN_FORCE: Final = "level"
"""The one key of the bucket `protocol`."""


@message
class LevelRecord:
    """The level in force (bucket `protocol`), written with the operator's login only."""

    version: Annotated[int, Range(1, 1)] = 1
    level: Level
    raising: Annotated[int, Range(0, 1 << 16)] = 0
    """The level that somebody is about to raise it to; 0: nobody is. Who starts must speak it."""

    @property
    def to_speak(self) -> int:
        """What a service that starts must speak."""
        return max(self.level, self.raising)


class Kind(Enum):
    GATEWAY = "gateway"
    ATTESTOR = "attestor"
    MANAGER = "manager"


@message
class SpeakerRecord:
    """A service's word about what it speaks (bucket `speakers`, expires unless renewed). Its form
    belongs to no level: releases of all levels read it."""

    version: Annotated[int, Range(1, 1)] = 1
    kind: Kind
    name: Token
    """A host's id; of others, one run of one process."""
    machine: Annotated[str, Size(0, 255)]
    """The machine's own name, for people."""
    release: Annotated[str, Size(1, 64)]
    started_ms: Timestamp
    oldest: Level
    newest: Level
    """Of the service, and of the enclaves that it sees to."""
    written: Level
    """The level that it writes now."""

    @property
    def key(self) -> str:
        """Where it stands in its bucket."""
        return f"{self.kind.value}.{self.name}"
