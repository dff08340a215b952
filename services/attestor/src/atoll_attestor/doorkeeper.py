"""Answers the servers that ask who may come in, and ends connections that may no longer be.

The decision is `atoll_attestor.door`. A connection is noted in the bucket `sessions` before it is
allowed, so that any replica can end it. Whatever comes second, the note or what turns the
enclave away, ends the connection: both are followed here.
"""

import asyncio
import json
import logging
import time
from contextlib import aclosing
from typing import Final

from atoll.bus import Bus, KeyValue, Message
from atoll.credentials import callout
from atoll.errors import AtollError, InputError, MessageError
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import OK, UNMETERED, Meter
from atoll.wire import schema, topology
from atoll.wire.admission_messages import (
    ReinstateRequest,
    RevocationRecord,
    Revocations,
    RevocationsRequest,
    RevokedKind,
    RevokeRequest,
    SessionRecord,
)
from atoll_attestor import ports
from atoll_attestor.door import Keyring, decide
from atoll_attestor.turned_away import Revoked, key, turned_away

_log = logging.getLogger(__name__)

QUEUE: Final = "attestors"
KICK_S: Final = 2.0
SWEEP_S: Final = 0.25
"""How soon a changed policy is acted upon."""
MAX_LISTED: Final = 1000


class BusRevocations:
    """Bucket `revocations`."""

    def __init__(self, bus: Bus) -> None:
        self._kv = KeyValue(bus, topology.REVOCATIONS)
        self._now: dict[tuple[RevokedKind, str], RevocationRecord] = {}
        self.changed = asyncio.Event()

    @property
    def now(self) -> Revoked:
        return self._now

    async def load(self) -> None:
        """Know all that holds. Raises: UnreachableError."""
        for entry in await self._kv.entries():
            self._note(entry.value)

    async def follow(self) -> None:
        """Keep up until cancelled."""
        async with aclosing(self._kv.watch()) as entries:
            async for entry in entries:
                if entry.value is None:
                    kind, _, name = entry.key.partition(".")
                    self._now.pop((RevokedKind(kind), name), None)
                else:
                    self._note(entry.value)
                self.changed.set()

    async def add(self, record: RevocationRecord) -> None:
        await self._kv.put(key(record.kind, record.id), schema.encode(record))
        self._now[(record.kind, record.id)] = record

    async def remove(self, kind: RevokedKind, name: str) -> None:
        await self._kv.delete(key(kind, name))
        self._now.pop((kind, name), None)

    def _note(self, raw: bytes | None) -> None:
        if raw is None:
            return
        try:
            record = schema.decode(RevocationRecord, raw)
        except MessageError as error:
            _log.error("a revocation is unreadable: %s", error.message)
            return
        self._now[(record.kind, record.id)] = record


class Doorkeeper:
    """One of the replicas that decide about connections.

    Args:
        bus: with the attestor's login.
        door: with the login to which servers turn, in an account of its own.
        ring: what logins are made with.
        policies: what is in force.
        revocations: who is turned away.
        meter: where connections are counted.
    """

    def __init__(
        self,
        bus: Bus,
        door: Bus,
        ring: Keyring,
        policies: ports.Policies,
        revocations: BusRevocations,
        *,
        meter: Meter = UNMETERED,
    ) -> None:
        self._meter = meter
        self._door = door
        self._ring = ring
        self._policies = policies
        self._revocations = revocations
        self._kv = KeyValue(bus, topology.SESSIONS)
        self._sessions: dict[str, SessionRecord] = {}
        self._ending = asyncio.Lock()

    async def serve(self) -> None:
        """Answer servers until cancelled, each beside the others: one whose connection cannot be
        noted yet must not keep the rest waiting."""
        async with asyncio.TaskGroup() as group:

            async def asked(message: Message) -> None:
                group.create_task(self._answer(message))

            await self._door.subscribe(callout.SUBJECT, asked, queue=QUEUE)
            await asyncio.Event().wait()

    async def follow(self) -> None:
        """Know every connection until cancelled, and end those that may not be."""
        async with aclosing(self._kv.watch()) as entries:
            async for entry in entries:
                if entry.value is None:
                    self._sessions.pop(entry.key, None)
                    continue
                try:
                    session = schema.decode(SessionRecord, entry.value)
                except MessageError as error:
                    _log.error("session %s is unreadable: %s", entry.key, error.message)
                    continue
                self._sessions[entry.key] = session
                if why := self._unwanted(entry.key, session):
                    await self._end(entry.key, session, why)

    async def sweep(self) -> None:
        """End what a new policy or revocation no longer allows, until cancelled."""
        digest = self._policy_digest
        while True:
            try:
                async with asyncio.timeout(SWEEP_S):
                    await self._revocations.changed.wait()
            except TimeoutError:
                if self._policy_digest == digest:
                    continue
            self._revocations.changed.clear()
            digest = self._policy_digest
            await self.end_unwanted()

    async def end_unwanted(self) -> int:
        """End every connection that may not be; how many."""
        async with self._ending:
            return await self._end_all()

    async def _end_all(self) -> int:
        ended, now_ms = 0, time.time_ns() // 1_000_000
        for enclave_id, session in tuple(self._sessions.items()):
            if session.expires_ms <= now_ms:
                self._sessions.pop(enclave_id, None)
            elif why := self._unwanted(enclave_id, session):
                ended += await self._end(enclave_id, session, why)
        return ended

    async def revoke(self, request: RevokeRequest) -> Revocations:
        """Turn enclaves away, and end the connections they have."""
        record = RevocationRecord(
            kind=request.kind,
            id=request.id,
            reason=request.reason,
            revoked_ms=time.time_ns() // 1_000_000,
        )
        # The lock keeps `sweep`, which hears of it as well, from ending them uncounted.
        async with self._ending:
            await self._revocations.add(record)
            _log.warning("%s %s is turned away: %s", record.kind.value, record.id, record.reason)
            return self._listed(await self._end_all())

    async def reinstate(self, request: ReinstateRequest) -> Revocations:
        """Take a revocation back; one that is not there is no error."""
        await self._revocations.remove(request.kind, request.id)
        return self._listed(0)

    async def revocations(self, _request: RevocationsRequest) -> Revocations:
        """What holds."""
        return self._listed(0)

    @property
    def _policy_digest(self) -> str:
        in_force = self._policies.in_force
        return in_force.enforced_digest if in_force else ""

    def _listed(self, ended: int) -> Revocations:
        newest = sorted(self._revocations.now.values(), key=lambda each: -each.revoked_ms)
        return Revocations(revocations=tuple(newest[:MAX_LISTED]), ended=ended)

    def _unwanted(self, enclave_id: str, session: SessionRecord) -> str:
        if session.policy_digest != self._policy_digest:
            return "another policy is in force"
        record = turned_away(self._revocations.now, enclave_id, session)
        return f"{record.kind.value} {record.id[:40]}: {record.reason}" if record else ""

    async def _answer(self, message: Message) -> None:
        try:
            await self._asked(message)
        except AtollError as error:
            # The server asks again, here or elsewhere, when its client tries again.
            _log.warning("a server was not answered: %s (%s)", error, error.code)

    async def _asked(self, message: Message) -> None:
        try:
            request = callout.read(message.payload.decode("ascii", "replace"))
        except InputError as error:
            _log.error("an authorization request is none: %s", error.message)
            return
        now = int(time.time())
        keys = self._ring.keys
        asked_in = keys.callout_account
        try:
            entry = decide(
                request,
                keys,
                policy_digest=self._policy_digest,
                revoked=self._revocations.now,
                now=now,
            )
            if entry.session is not None:
                enclave_id, session = entry.session
                await self._kv.put(enclave_id, schema.encode(session))
        except AtollError as error:
            self._meter.count(table.CONNECTIONS, outcome="refused", code=error.code)
            _log.warning("connection %d refused: %s (%s)", request.connection, error, error.code)
            answer = callout.refuse(request, error.code, by=keys.callout, account=asked_in, now=now)
        else:
            self._meter.count(table.CONNECTIONS, outcome="allowed", code=OK)
            answer = callout.accept(request, entry.jwt, by=keys.callout, account=asked_in, now=now)
        await self._door.publish(message.reply, answer.encode())

    async def _end(self, enclave_id: str, session: SessionRecord, why: str) -> int:
        """1 if the connection was ended here; 0 if it is gone already or its server is away."""
        self._sessions.pop(enclave_id, None)
        body = json.dumps({"cid": session.connection}).encode()
        try:
            reply = await self._door.request(
                callout.KICK.replace("*", session.server_id), body, timeout_s=KICK_S
            )
        except AtollError as error:
            _log.warning("connection of %s cannot be ended: %s", enclave_id, error)
            return 0
        ended = _kicked(reply.payload)
        if ended:
            self._meter.count(table.CUT)
            _log.warning("connection of %s ended: %s", enclave_id, why)
        return int(ended)


def _kicked(raw: bytes) -> bool:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "error" not in value
