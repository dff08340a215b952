"""The attestor's ports on the bus."""

import logging
from contextlib import aclosing

from atoll.audit import Action, ActorKind, Audit, AuditEntry, audited
from atoll.bus import Bus, KeyValue, publish
from atoll.errors import AtollError, InputError, RefusedError
from atoll.policy.records import AppraisalRecord, to_bytes
from atoll.policy.signed import SignedPolicy
from atoll.policy.state import PolicyState
from atoll.wire import schema, subjects, topology
from atoll.wire.messages import EvidenceRecord, PolicyRecord, PolicyView
from atoll_attestor.policies import InForce, Owners, activated, require_no_rollback, verified_state

_log = logging.getLogger(__name__)


class BusPolicies:
    """Bucket `policies`, of which one key is enforced here.

    Args:
        audit: no policy is activated that it does not take on record first.
    """

    def __init__(self, bus: Bus, owners: Owners, audit: Audit) -> None:
        self._kv = KeyValue(bus, topology.POLICIES)
        self._owners = owners
        self._audit = audit
        self._in_force: InForce | None = None

    @property
    def in_force(self) -> InForce | None:
        return self._in_force

    @property
    def state(self) -> PolicyState | None:
        """The same without digests."""
        return self._in_force.state if self._in_force else None

    async def load(self) -> None:
        """Put in force what the bucket holds. Raises: UnreachableError."""
        entry = await self._kv.get(self._owners.name)
        if entry is None or entry.value is None:
            _log.warning("no policy %s: nothing passes until one is active", self._owners.name)
            return
        self._use(entry.value)

    async def follow(self) -> None:
        """Put in force whatever is activated, here or elsewhere; for ever."""
        async with aclosing(self._kv.watch(self._owners.name)) as entries:
            async for entry in entries:
                if entry.value is None:
                    _log.error("policy %s was deleted; it stays in force here", self._owners.name)
                    continue
                self._use(entry.value)

    async def activate(self, signed: bytes, *, now: int) -> PolicyView:
        name = self._owners.name
        entry = await self._kv.get(name)
        before = None
        if entry is not None and entry.value is not None:
            before = _stored(entry.value)
        record, view = activated(before, signed, self._owners, now=now)
        if view.changed:
            raw = schema.encode(record)
            async with audited(self._audit, self._act(signed, view), strict=True):
                if entry is None:
                    await self._kv.create(name, raw)
                else:
                    await self._kv.update(name, raw, revision=entry.revision)
            self._use(raw)
        return view

    def _act(self, signed: bytes, view: PolicyView) -> AuditEntry:
        """For the audit: the owners who signed are who did it."""
        signatures = SignedPolicy.from_bytes(signed).signatures
        owners = sorted(item.name for item in signatures if item.signing_key in self._owners.keys)
        return AuditEntry(
            action=Action.POLICY_ACTIVATE,
            actor_kind=ActorKind.PARTY,
            actor=",".join(owners),
            object=f"{view.name} version {view.highest} sha256:{view.digest}",
        )

    def _use(self, raw: bytes) -> None:
        try:
            found = verified_state(schema.decode(PolicyRecord, raw), self._owners)
            require_no_rollback(self.state, found)
        except (InputError, RefusedError) as error:
            _log.error("policy in the bucket is not used: %s (%s)", error.message, error.code)
            return
        if found != self.state:
            _log.info("policy %s: version %d is active", found.name, found.highest)
            self._in_force = InForce.of(found)


class BusArchive:
    """Stream `APPRAISALS`."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def keep(self, role: str, record: AppraisalRecord) -> None:
        await publish(
            self._bus,
            subjects.APPRAISAL.of(role),
            to_bytes(record),
            msg_id=f"{role}.{record.id}",
        )


class BusEvidence:
    """Bucket `evidence`."""

    def __init__(self, bus: Bus) -> None:
        self._kv = KeyValue(bus, topology.EVIDENCE)

    async def create(self, record: EvidenceRecord) -> None:
        await self._kv.create(record.enclave_id, schema.encode(record))

    async def get(self, enclave_id: str) -> EvidenceRecord | None:
        entry = await self._kv.get(enclave_id)
        if entry is None or entry.value is None:
            return None
        return schema.decode(EvidenceRecord, entry.value)


def _stored(raw: bytes) -> PolicyRecord:
    try:
        return schema.decode(PolicyRecord, raw)
    except InputError as error:
        # Not the caller's fault.
        raise AtollError(f"stored policy: {error.message}") from error
