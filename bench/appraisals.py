"""Requests to the attestor, as a task of `bench.children`.

The task has the operator's login and the simulated processor's key, so that its evidence passes:
what is measured is the attestor's whole work. Every
request is about evidence of its own, with keys and a challenge of its own, made before the
clock starts; every answer is checked after it has stopped.
"""

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from atoll.bus import BusConfig, login_from
from atoll.client.profile import ProfileFile
from atoll.errors import AtollError
from atoll.evidence import document as documents
from atoll.evidence.document import HPKE_KEY_SIZE, SIGNING_KEY_SIZE, EvidenceDocument, Tee
from atoll.evidence.ear import verify_ear
from atoll.evidence.ear_keys import KeyRing
from atoll.measure.agent import agent_image, agent_measurement
from atoll.measure.installed import installed_agent_files
from atoll.simulated.chain import DevelopmentChain
from atoll.simulated.report import SimulatedGuest, SimulatedProcessor
from atoll.wire import endpoints, schema
from atoll.wire.messages import AppraiseReply, AppraiseRequest, NonceReply, NonceRequest
from atoll_cli.deployment.folder import Folder
from bench.load import Load, LoadClient
from bench.report import BenchError

Parameters = dict[str, Any]

ROLE: Final = "operator"
WARM_UPS: Final = 64
"""So many that each of a few attestors gets some."""
NONCES: Final = 64
"""Challenges asked for at a time."""


async def appraisals(given: Parameters, go: Callable[[], Awaitable[None]]) -> Parameters:
    """Ask for `count` challenges or appraisals, `flying` at a time."""
    data = Path(given["data"])
    profile = ProfileFile(Path(given["home"])).load()
    config = BusConfig(
        url=profile.nats_url,
        name="bench",
        login=login_from(Folder(data / "bus").creds(ROLE), ROLE),
        inbox_prefix=f"_INBOX_{ROLE}",
    )
    count, flying = given["count"], given["flying"]
    with LoadClient(config) as client:
        subject = endpoints.NONCE.subject.of()
        ready = [schema.encode(NonceRequest())] * (count + WARM_UPS)
        if given["endpoint"] == "appraise":
            subject = endpoints.APPRAISE.subject.of()
            ready = _requests(client, data, count + WARM_UPS)
        client.ask(subject, ready[:WARM_UPS], flying)
        await go()
        # Nothing else runs here, so nobody is held up.
        load = client.ask(subject, ready[WARM_UPS:], flying)
    if given["endpoint"] == "appraise":
        _check(ready[WARM_UPS:], load, data)
    return {
        "seconds": load.seconds,
        "cpu_seconds": load.cpu_seconds,
        "latencies": load.latencies,
    }


def _requests(client: LoadClient, data: Path, count: int) -> list[bytes]:
    """As many different requests."""
    chain = DevelopmentChain.from_pem((data / "simulated" / "chain.pem").read_bytes())
    measurement = agent_measurement(agent_image(installed_agent_files()))
    guest = SimulatedProcessor(chain=chain).launch(measurement, report_id=secrets.token_bytes(32))
    asked = [schema.encode(NonceRequest())] * count
    answers = client.ask(endpoints.NONCE.subject.of(), asked, NONCES).replies
    return [
        schema.encode(
            AppraiseRequest(evidence=_evidence(chain, guest, schema.decode(NonceReply, raw).nonce))
        )
        for raw in answers
    ]


def _evidence(chain: DevelopmentChain, guest: SimulatedGuest, nonce: bytes) -> bytes:
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


def _check(requests: list[bytes], load: Load, data: Path) -> None:
    """Every answer is a result about its own evidence, affirming and signed.

    Raises:
        BenchError: one is not.
    """
    ring = KeyRing.from_bytes((data / "attestor-keys.json").read_bytes())
    keys = {key.kid: Ed25519PublicKey.from_public_bytes(key.public) for key in ring.keys}
    now = datetime.now(UTC)
    for asked, raw in zip(requests, load.replies, strict=True):
        evidence = schema.decode(AppraiseRequest, asked).evidence
        reply = schema.decode(AppraiseReply, raw)
        try:
            verify_ear(reply.ear, keys, evidence_digest=documents.digest(evidence), now=now)
        except AtollError as error:
            raise BenchError(f"good evidence, and the answer is {reply.reason}") from error
