"""How an enclave comes onto the bus, and stays.

It connects as an applicant with a bus key of its own, gets a challenge, shows evidence that
answers it, and is given a ticket for minutes. With the ticket it connects as what it is. It
renews the ticket by fresh evidence when half its time is over, and whenever the connection
does not come back: the policy may have changed, and then a new appraisal decides.

While no attestor answers, an applicant waits, and an admitted enclave goes on until its
ticket expires.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from atoll.bus import Admitted, Bus, BusConfig, connect
from atoll.bus.transport import Dial
from atoll.credentials.nkey import KeyPair, Kind
from atoll.errors import EvidenceError, RefusedError, UnreachableError
from atoll.evidence import document as documents
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.tracing import Tracer
from atoll.wire import admission, endpoints, schema, topology
from atoll.wire.admission_messages import AdmitReply, AdmitRequest
from atoll.wire.messages import NonceReply, NonceRequest
from atoll_agent.config import AgentConfig
from atoll_agent.enclave import EnclaveKeys, Evidence, make_evidence
from atoll_agent.evidence.provider import Provider

_log = logging.getLogger(__name__)

ATTESTOR_TIMEOUT_S: Final = 10.0
RETRY_S: Final = 1.0
RETURN_S: Final = 0.5
"""How long a lost connection may take to come back before admission is asked for again."""


@dataclass(kw_only=True)
class Standing:
    """Our keys, and the ticket that we have at the moment."""

    config: AgentConfig
    manifest_digest: bytes
    provider: Provider
    tracer: Tracer
    dial: Dial | None = None
    """Gives streams to the bus; None: TCP."""
    keys: EnclaveKeys = field(repr=False)
    bus_key: KeyPair = field(
        default_factory=lambda: KeyPair.generate(Kind.USER, secrets.token_bytes), repr=False
    )
    ticket: str = field(default="", repr=False)
    expires_ms: int = 0

    def as_admitted(self) -> BusConfig:
        """How we connect by the ticket that we have then."""
        return self._config(lambda: self.ticket, self.config.enclave_id)

    async def admit(self) -> Evidence:
        """Be admitted; the evidence that did it.

        Raises:
            UnreachableError: no bus, or no attestor.
            EvidenceError: there is no quote; `admission.refused`: the evidence did not pass,
                as the attestor published; it is said why in the signed result.
            RefusedError: `admission.revoked`.
        """
        applicant = self._config(
            lambda: admission.application(self.bus_key.public), self.bus_key.public
        )
        async with connect(applicant, logger=_log) as bus:
            evidence, reply = await self._apply(bus)
        if not reply.ticket:
            raise EvidenceError(f"not admitted: {reply.reason}", code="admission.refused")
        self.ticket, self.expires_ms = reply.ticket, reply.expires_ms
        return evidence

    async def keep(self, bus: Bus) -> None:
        """Renew what `bus` was connected with, until cancelled.

        Raises:
            EvidenceError, RefusedError: as `admit`; we may not stay.
        """
        lost = asyncio.Event()
        unhook = bus.on_lost(lost.set)
        try:
            while True:
                left_s = max(0.0, self.expires_ms / 1000 - time.time())
                try:
                    async with asyncio.timeout(left_s / 2):
                        await self._cut_off(bus, lost)
                except TimeoutError:
                    pass
                try:
                    await self.admit()
                except UnreachableError as error:
                    _log.warning("admission cannot be renewed yet: %s", error)
                    await asyncio.sleep(RETRY_S)
                else:
                    lost.clear()
        finally:
            unhook()

    async def _cut_off(self, bus: Bus, lost: asyncio.Event) -> None:
        """Until the connection is lost and does not come back by itself."""
        while True:
            await lost.wait()
            lost.clear()
            try:
                await bus.wait_connected(RETURN_S)
            except UnreachableError:
                return

    async def _apply(self, bus: Bus) -> tuple[Evidence, AdmitReply]:
        config, headers = self.config, wiring.headers(self.tracer)
        raw = await bus.request(
            endpoints.NONCE.subject.of(),
            schema.encode(NonceRequest()),
            timeout_s=ATTESTOR_TIMEOUT_S,
            headers=headers,
            retry=True,
        )
        nonce = schema.decode(NonceReply, raw.payload).nonce
        with self.tracer.span(spans.QUOTE):
            evidence = await make_evidence(
                self.keys,
                self.provider,
                enclave_id=config.enclave_id,
                manifest_digest=self.manifest_digest,
                nonce=nonce,
            )
        work = (config.job_id, config.attempt, config.host_id)
        public = self.bus_key.public
        request = AdmitRequest(
            evidence=evidence.raw,
            bus_key=public,
            job_id=config.job_id,
            attempt=config.attempt,
            host_id=config.host_id,
            signature=self.keys.signing.sign(
                admission.PURPOSE,
                *admission.bound(nonce, documents.digest(evidence.raw), public, work),
            ),
        )
        with self.tracer.span(spans.APPRAISE):
            raw = await bus.request(
                endpoints.ADMIT.subject.of(),
                schema.encode(request),
                timeout_s=ATTESTOR_TIMEOUT_S,
                headers=wiring.headers(self.tracer),
                retry=True,
            )
        return evidence, schema.decode(AdmitReply, raw.payload)

    def _config(self, ticket: Callable[[], str], name: str) -> BusConfig:
        ca = self.config.nats_ca_file
        return BusConfig(
            url=self.config.nats_url,
            domain=self.config.nats_domain,
            name=f"enclave {self.config.enclave_id}",
            login=Admitted("an enclave", self.config.nats_sentinel, self.bus_key, ticket),
            inbox_prefix=f"{topology.inbox('enclave')}.{name}",
            tls_ca_file=str(ca) if ca else None,
            tls_ca=self.config.nats_ca,
            dial=self.dial,
            # Without an attestor, servers turn everybody away.
            patient=True,
        )


async def admitted(standing: Standing) -> Evidence:
    """`Standing.admit`, for as long as it takes an attestor to answer."""
    while True:
        try:
            return await standing.admit()
        except UnreachableError as error:
            _log.warning("not admitted yet: %s", error)
            await asyncio.sleep(RETRY_S)


async def require_admission(standing: Standing, refused_s: float) -> Evidence:
    """`admitted`; after a refusal, give the manager `refused_s` to end us: it reads why in the
    published evidence, and our own end would look like a loss.

    Raises:
        EvidenceError, RefusedError: as `Standing.admit`.
    """
    try:
        return await admitted(standing)
    except (EvidenceError, RefusedError) as error:
        # Who reads the log may not live to see our end.
        _log.warning("not admitted: %s (%s)", error.code, error.hint or "no hint")
        await asyncio.sleep(refused_s)
        raise
