"""Who did what: an append-only stream of records, chained by writer.

    record   what a record says
    chain    linking records, and judging what was read back; pure
    writer   the port that services record through, and it on the bus

A service records through `Audit`, most simply with `audited` around the act. `docs/audit.md`
says what a chain proves and what it does not. May import `atoll.bus` and what is below it.
"""

from atoll.audit.chain import ChainVerifier, Finding, Verdict
from atoll.audit.record import Action, ActorKind, AuditEntry, AuditRecord, Outcome
from atoll.audit.writer import Act, Audit, AuditWriter, audited

__all__ = [
    "Act",
    "Action",
    "ActorKind",
    "Audit",
    "AuditEntry",
    "AuditRecord",
    "AuditWriter",
    "ChainVerifier",
    "Finding",
    "Outcome",
    "Verdict",
    "audited",
]
