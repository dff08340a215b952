"""How soon a gateway serves that starts with a ledger."""

import asyncio
import secrets
import time
from contextlib import suppress
from typing import Final

from atoll.client.connection import AtollClient, open_client
from atoll.client.profile import ProfileFile
from atoll.errors import NotFoundError, UnreachableError
from atoll.telemetry import names as spans
from atoll.telemetry.span import Recorder
from bench.deployment import Deployment
from bench.machine import cpu_of, peak_resident
from bench.scale import MIB

PATIENCE_S: Final = 300.0


async def settled(deployment: Deployment) -> dict[str, float]:
    """Wait until a gateway that was started a moment ago has read the ledger; what that took.

    Raises:
        BenchError: it did not.
    """
    pid = deployment.services["gateway"].pid
    recorder = Recorder(spans.CLI, instance="bench", clock=time.time_ns, random=secrets.token_bytes)
    profile = ProfileFile(deployment.home).load()
    async with open_client(profile, recorder) as client:
        began = time.perf_counter()
        with suppress(NotFoundError):
            await client.get("jnobody")
        answered = time.perf_counter()
        async with asyncio.timeout(PATIENCE_S):
            while not await _lists(client):
                pass
        listed = time.perf_counter()
    return {
        "start s": deployment.gateway_start_s,
        "first answer s": answered - began,
        "list s": listed - began,
        "gateway cpu s": cpu_of(pid),
        "gateway MiB": peak_resident(pid) / MIB,
    }


async def _lists(client: AtollClient) -> bool:
    try:
        await client.list(limit=1)
    except UnreachableError:
        return False
    return True
