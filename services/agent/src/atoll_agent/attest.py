"""From fresh keys to published evidence: everything before the enclave knows its work."""

from collections.abc import Callable

from atoll.telemetry import names as spans
from atoll.telemetry.tracing import Tracer
from atoll.wire.messages import ReportKind
from atoll_agent.bus_ports import EnclaveBus
from atoll_agent.enclave import Device, EnclaveKeys, Evidence, make_evidence


async def attest(
    bus: EnclaveBus,
    device: Device,
    tracer: Tracer,
    *,
    enclave_id: str,
    manifest_digest: bytes,
    random: Callable[[int], bytes],
) -> tuple[EnclaveKeys, Evidence]:
    """Make keys, get a quote over them, have it appraised, publish both.

    A refusal by the attestor is published like an approval: the manager and the parties
    read the verdict from the signed result, not from us.
    """
    with tracer.span(spans.MAKE_KEYS):
        keys = EnclaveKeys.generate(random)
    nonce = await bus.nonce()
    with tracer.span(spans.QUOTE):
        evidence = await make_evidence(
            keys, device, enclave_id=enclave_id, manifest_digest=manifest_digest, nonce=nonce
        )
    await bus.report(ReportKind.ATTESTING)
    with tracer.span(spans.APPRAISE):
        reply = await bus.appraise(evidence.raw)
    await bus.publish_evidence(evidence.raw, reply.ear)
    return keys, evidence
