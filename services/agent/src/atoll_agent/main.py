"""Entry point: one enclave, one job, then nothing is left. The job may come later.

Exit status 0: the job's end is durable on the bus. 2: this host cannot run the job, or
set us up wrongly. Anything else: the end is not durable. But for 0, the host may start
another enclave for the job.

Standard error goes to the host: it never carries the text of an unexpected error.
"""

import asyncio
import logging
import os
import secrets
import sys
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from atoll import process, settings
from atoll.bus import connect
from atoll.egress.outward import Outward
from atoll.errors import ConfigError, InputError, ManifestError, RefusedError, UnreachableError
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.context import parse
from atoll.telemetry.export import Exporter
from atoll.telemetry.span import Recorder
from atoll.wire import level
from atoll.wire.egress import Allowance
from atoll.wire.messages import ReportKind
from atoll_agent import assignment
from atoll_agent.admission import Standing, require_admission
from atoll_agent.bus_ports import EnclaveBus
from atoll_agent.config import PREFIX, AgentConfig
from atoll_agent.egress.way import Direct, Way
from atoll_agent.enclave import EnclaveKeys, Evidence
from atoll_agent.evidence import opening
from atoll_agent.evidence.choose import Source, choose
from atoll_agent.evidence.kernel import Linux
from atoll_agent.evidence.looking import look
from atoll_agent.evidence.provider import Provider
from atoll_agent.evidence.simulated import SimulatedDevice
from atoll_agent.hosting import SETTING, Host, hosted
from atoll_agent.job import JobRunner
from atoll_agent.leasing import environment
from atoll_agent.telling import tell

_log = logging.getLogger("atoll_agent")

FLUSH_S = 2.0


@dataclass(frozen=True, slots=True)
class Unread:
    """Settings that may not all be there yet."""


async def run_hosted(env: Mapping[str, str], stop: asyncio.Event) -> None:
    """As `run`, over a channel; the host is told how it ended.

    Raises:
        AtollError: what `run` raises, or the channel.
    """
    async with hosted(env[SETTING]) as host:
        try:
            config = await _told(env, host, stop)
            await run(config, stop, host)
        except Exception as error:
            await host.farewell(process.status_of(error))
            raise
        await host.farewell(process.EXIT_OK)


async def _told(env: Mapping[str, str], host: Host, stop: asyncio.Event) -> AgentConfig:
    """Our settings, when there is a job; the wait for that ends with a stop."""
    async with asyncio.TaskGroup() as group:
        told = group.create_task(host.environment(env))
        stopped = group.create_task(stop.wait())
        either: set[asyncio.Task[Any]] = {told, stopped}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for task in either:
            task.cancel()
    if told.cancelled():
        raise UnreachableError("no job came", code="enclave.unused")
    return settings.read(AgentConfig, PREFIX, told.result())


async def run(config: AgentConfig, stop: asyncio.Event, host: Host | None = None) -> None:
    """Run until the job ended, the host is gone, or we are told to stop."""
    level.limit(config.protocol_newest)
    level.write(config.protocol_level)
    if config.launch_settings:
        _log.info("settings that were given: %s", config.launch_settings)
    kernel = Linux()
    handed = config.device_fd is not None or host is not None
    choice = choose(config.tee, look(kernel, device=handed))
    _log.info("evidence by %s", "; ".join(choice.reasons))
    gone = () if host is None else (host.gone(),)
    if choice.source is not Source.SIMULATED:
        chain = config.vtpm_certificates.encode()
        provider = opening.bound(choice, kernel, chain, config.launch_settings)
        await _until(stop, _work(config, provider, host), *gone)
        return
    device = await _simulated(config, host)
    try:
        await _until(stop, _work(config, device, host), device.pump(), *gone)
    finally:
        device.close()


async def _simulated(config: AgentConfig, host: Host | None) -> SimulatedDevice:
    if config.device_fd is not None:
        return await SimulatedDevice.open(config.device_fd)
    if host is None:
        raise AssertionError("it is chosen where it was handed in")
    return await host.device()


async def _until(
    stop: asyncio.Event, work: Coroutine[None, None, None], *more: Coroutine[None, None, None]
) -> None:
    """Work, and end as soon as that ended, anything more did, or we are told to stop.

    Raises:
        UnreachableError: `enclave.stopped`: the work had not ended.
    """
    async with asyncio.TaskGroup() as group:
        working = group.create_task(work)
        others = [group.create_task(one) for one in more]
        others.append(group.create_task(_stopped(stop)))
        await asyncio.wait({working, *others}, return_when=asyncio.FIRST_COMPLETED)
        ended = working.done()
        for task in (working, *others):
            task.cancel()
    if not ended:
        raise UnreachableError("ended before the job did", code="enclave.stopped")


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()


async def _work(config: AgentConfig, provider: Provider, host: Host | None) -> None:
    recorder = Recorder(
        spans.AGENT, instance=config.enclave_id, clock=time.time_ns, random=secrets.token_bytes
    )
    parent = parse(config.traceparent)
    with recorder.span(spans.ENCLAVE_BOOT, parent=parent):
        standing = _standing(config, provider, recorder)
        if host is not None:
            standing.dial = host.dial(standing.as_admitted().urls)
        evidence = await require_admission(standing, config.assign_timeout_s)
    async with connect(standing.as_admitted(), logger=_log) as bus:
        port = EnclaveBus(
            bus,
            recorder,
            enclave_id=config.enclave_id,
            job_id=config.job_id,
            attempt=config.attempt,
        )
        exporter = Exporter(recorder.drain, wiring.bus_publisher(bus))
        try:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(standing.keep(bus))
                runner = JobRunner(
                    bus=port,
                    keys=standing.keys,
                    evidence=evidence,
                    tracer=recorder,
                    enclave_id=config.enclave_id,
                    random=secrets.token_bytes,
                    docker_host=config.docker_host,
                    way=_way(config) if host is None else host.way(),
                )
                task = await _accept(config, standing, evidence, port)
                if task is not None:
                    with recorder.span(spans.ENCLAVE_JOB, parent=parent):
                        await runner.run(task)
                keeping.cancel()
        finally:
            await exporter.flush(FLUSH_S)


def _standing(config: AgentConfig, provider: Provider, recorder: Recorder) -> Standing:
    try:
        manifest_digest = bytes.fromhex(config.manifest_digest)
    except ValueError as error:
        raise ConfigError(f"{PREFIX}MANIFEST_DIGEST is not hex", code="config.invalid") from error
    with recorder.span(spans.MAKE_KEYS):
        keys = EnclaveKeys.generate(secrets.token_bytes)
    return Standing(
        config=config,
        manifest_digest=manifest_digest,
        provider=provider,
        tracer=recorder,
        keys=keys,
    )


def _way(config: AgentConfig) -> Way:
    try:
        return Direct(Outward(Allowance.parse(config.egress)))
    except InputError as error:
        raise ConfigError(f"{PREFIX}EGRESS: {error.message}", code="config.invalid") from error


async def _accept(
    config: AgentConfig,
    standing: Standing,
    evidence: Evidence,
    port: EnclaveBus,
) -> assignment.Task | None:
    try:
        async with asyncio.timeout(config.assign_timeout_s):
            given = await port.assignment()
        return assignment.accept(
            given,
            enclave_id=config.enclave_id,
            job_id=config.job_id,
            attempt=config.attempt,
            manifest_digest=standing.manifest_digest,
            evidence_digest=evidence.digest,
            now_ms=time.time_ns() // 1_000_000,
        )
    except TimeoutError as error:
        raise RefusedError("no assignment came", code="assignment.timeout") from error
    except ManifestError as error:
        # No enclave could run it. An assignment that is not ours is the host's mistake and
        # must not end the job: that one leaves as it is.
        await port.report(ReportKind.FINISHED, reason=tell(error))
        return None


def main() -> int:
    if os.environ.get(SETTING):
        body = partial(_by_channel, dict(os.environ))
        return process.run("atoll-agent", Unread, PREFIX, {}, body, discreet=True)
    env = partial(environment, os.environ)
    return process.run("atoll-agent", AgentConfig, PREFIX, env, run, discreet=True)


async def _by_channel(env: Mapping[str, str], _: Unread, stop: asyncio.Event) -> None:
    await run_hosted(env, stop)


if __name__ == "__main__":
    sys.exit(main())
