"""Requests to the attestor, as a task of `bench.children`.

The task has an enclave's login and the simulated processor's key, as a manager and its agent
have together, so that its evidence passes: what is measured is the attestor's whole work.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from atoll.bus import Bus, BusConfig, connect
from atoll.client.profile import ProfileFile
from atoll.evidence import document as documents
from atoll.evidence.document import HPKE_KEY_SIZE, SIGNING_KEY_SIZE, EvidenceDocument, Tee
from atoll.measure.agent import agent_image, agent_measurement
from atoll.measure.installed import installed_agent_files
from atoll.simulated.chain import DevelopmentChain
from atoll.simulated.report import SimulatedProcessor
from atoll.wire import endpoints, schema, topology
from atoll.wire.messages import AppraiseReply, AppraiseRequest, NonceReply, NonceRequest
from bench.report import BenchError

Parameters = dict[str, Any]

TIMEOUT_S: Final = 30.0
ROLE: Final = "enclave"


async def appraisals(given: Parameters, go: Callable[[], Awaitable[None]]) -> Parameters:
    """Ask for `count` challenges or appraisals, `flying` at a time."""
    data = Path(given["data"])
    profile = ProfileFile(Path(given["home"])).load()
    stored = json.loads((data / "secrets.json").read_text("utf-8"))
    config = BusConfig(
        url=profile.nats_url,
        name="bench",
        user=ROLE,
        password=stored["passwords"][ROLE],
        inbox_prefix=topology.inbox(ROLE),
    )
    async with connect(config) as bus:
        nonce = await _nonce(bus)
        evidence = _evidence(data / "simulated" / "chain.pem", nonce)

        async def ask() -> object:
            if given["endpoint"] == "nonce":
                return await _nonce(bus)
            return await _appraise(bus, evidence)

        await ask()
        await go()
        return await _measured(ask, given["count"], given["flying"])


async def _measured(ask: Callable[[], Awaitable[object]], count: int, flying: int) -> Parameters:
    latencies: list[float] = []
    left = iter(range(count))

    async def one_after_the_other() -> None:
        for _ in left:
            began = time.perf_counter()
            await ask()
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(flying):
            group.create_task(one_after_the_other())
    return {"seconds": time.perf_counter() - began, "latencies": latencies}


async def _nonce(bus: Bus) -> bytes:
    row = endpoints.NONCE
    reply = await bus.request(row.subject.of(), schema.encode(NonceRequest()), timeout_s=TIMEOUT_S)
    return schema.decode(NonceReply, reply.payload).nonce


async def _appraise(bus: Bus, evidence: bytes) -> str:
    request = schema.encode(AppraiseRequest(evidence=evidence))
    subject = endpoints.APPRAISE.subject.of()
    reply = await bus.request(subject, request, timeout_s=TIMEOUT_S)
    found = schema.decode(AppraiseReply, reply.payload)
    if found.verdict != "pass":
        raise BenchError(f"the attestor refused good evidence: {found.reason}")
    return found.ear


def _evidence(chain_file: Path, nonce: bytes) -> bytes:
    chain = DevelopmentChain.from_pem(chain_file.read_bytes())
    measurement = agent_measurement(agent_image(installed_agent_files()))
    guest = SimulatedProcessor(chain=chain).launch(measurement, report_id=secrets.token_bytes(32))
    signing, hpke = secrets.token_bytes(SIGNING_KEY_SIZE), secrets.token_bytes(HPKE_KEY_SIZE)
    manifest = secrets.token_bytes(32)
    report = guest.attest(documents.report_data(signing, hpke, manifest, nonce))
    document = EvidenceDocument(
        tee=Tee.SNP,
        enclave_id="bench",
        report=report,
        certs=chain.certificates,
        signing_key=signing,
        hpke_key=hpke,
        manifest_digest=manifest,
        nonce=nonce,
    )
    return documents.encode(document)
