"""An audit in memory."""

from dataclasses import dataclass, field

from atoll.audit import AuditEntry
from atoll.errors import RefusedError


@dataclass
class MemoryAudit:
    """Keeps what it is told, while it is up."""

    entries: list[AuditEntry] = field(default_factory=list)
    down: bool = False

    async def record(self, entry: AuditEntry) -> None:
        if self.down:
            raise RefusedError("the stream is full", code="audit.unavailable")
        self.entries.append(entry)

    def told(self) -> list[tuple[str, str, str]]:
        """Action, outcome and object of each entry."""
        return [(each.action.value, each.outcome.value, each.object) for each in self.entries]
