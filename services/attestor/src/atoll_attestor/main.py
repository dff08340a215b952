"""Entry point: read key, policy and roots, answer on the bus until told to stop."""

import asyncio
import hashlib
import logging
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from atoll import process, version
from atoll.bus import BusConfig, Endpoint, Service, connect
from atoll.errors import ConfigError, InputError
from atoll.evidence.policy import policy_from_json
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.telemetry import names as spans
from atoll.telemetry import wiring
from atoll.telemetry.otel import ServiceTracing
from atoll.telemetry.tracing import Tracer
from atoll.wire import endpoints, schema, topology
from atoll.wire.messages import NonceReply, NonceRequest
from atoll_attestor.config import PREFIX, AttestorConfig
from atoll_attestor.nonces import NonceIssuer
from atoll_attestor.verifier import Verifier

_log = logging.getLogger("atoll_attestor")

FLUSH_S = 2.0
MAX_FILE = 1 << 20

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")


async def run(config: AttestorConfig, stop: asyncio.Event) -> None:
    """Serve until told to stop. The composition root: adapters are made here."""
    verifier = make_verifier(config)
    if verifier.trust.has_simulated:
        _log.warning("SIMULATED TEE: evidence under a development root is believed here")
    bus_config = BusConfig(
        url=config.nats_url,
        name="attestor",
        user=config.nats_user,
        password=config.nats_password,
        inbox_prefix=topology.inbox("attestor"),
    )
    async with connect(bus_config, logger=_log) as bus, asyncio.TaskGroup() as group:
        tracing = ServiceTracing(spans.ATTESTOR, wiring.bus_publisher(bus), instance=verifier.kid)
        tasks = [group.create_task(tracing.run())]
        if config.supervised:
            tasks.append(group.create_task(process.wait_for_end_of_input(stop)))
        service = Service(
            bus,
            name="atoll-attestor",
            version=version.VERSION,
            description="Appraises evidence and signs what it is worth.",
            endpoints=rows(verifier, tracing.tracer),
            metadata={"simulated": str(verifier.trust.has_simulated).lower()},
        )
        async with service:
            process.announce_ready(kid=verifier.kid)
            await stop.wait()
        for task in tasks:
            task.cancel()
        await tracing.flush(FLUSH_S)


def make_verifier(config: AttestorConfig) -> Verifier:
    """What the settings and the files that they name amount to.

    Raises:
        ConfigError: `config.unreadable`; `config.invalid`: a file is not what it should be;
            `policy.*`, `json.*`, `trust.development_root`.
    """
    key = _signing_key(config.signing_key_file)
    trust: TrustStore = PRODUCTION
    with _naming(config.development_root_file):
        if config.development_root_file is not None:
            trust = trust.with_development_root(_read(config.development_root_file))
    with _naming(config.policy_file):
        policy = policy_from_json(_read(config.policy_file))
    public = key.public_key().public_bytes_raw()
    return Verifier(
        signing_key=key,
        kid=hashlib.sha256(public).hexdigest()[:16],
        nonces=NonceIssuer(key.private_bytes_raw(), config.nonce_ttl_s * 1000),
        trust=trust,
        policy=policy,
        result_ttl_s=config.result_ttl_s,
    )


def rows(verifier: Verifier, tracer: Tracer) -> list[Endpoint]:
    """The endpoints of `atoll.wire.endpoints` that the attestor owns."""

    async def nonce(request: NonceRequest) -> NonceReply:
        return await verifier.nonce(request, secrets.token_bytes(8))

    return [
        _endpoint(endpoints.NONCE, nonce, tracer),
        _endpoint(endpoints.APPRAISE, verifier.appraise, tracer),
        _endpoint(endpoints.KEYS, verifier.keys, tracer),
    ]


def _endpoint(
    row: endpoints.Endpoint[RequestT, ReplyT],
    operation: Callable[[RequestT], Awaitable[ReplyT]],
    tracer: Tracer,
) -> Endpoint:
    async def handle(payload: bytes, headers: Mapping[str, str]) -> bytes:
        with wiring.serve(tracer, row.subject, headers):
            return schema.encode(await operation(schema.decode(row.request, payload)))

    return Endpoint(name=row.name, subject=row.subject.template, handler=handle)


@contextmanager
def _naming(path: Path | None) -> Iterator[None]:
    """What is wrong with the content of a file is a matter of settings."""
    try:
        yield
    except InputError as error:
        raise ConfigError(f"{path}: {error.message}", code=error.code) from error


def _signing_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} holds no private key in PEM", code="config.invalid") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an Ed25519 key", code="config.invalid")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", code="config.unreadable") from error
    if len(raw) > MAX_FILE:
        raise ConfigError(f"{path} is over {MAX_FILE} bytes", code="config.invalid")
    return raw


def main() -> int:
    return process.run("atoll-attestor", AttestorConfig, PREFIX, os.environ, run)


if __name__ == "__main__":
    sys.exit(main())
