"""The attestor on a real bus: exactly its endpoints, and an error by code for bad requests."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.bus import Bus, Service
from atoll.errors import AtollError, EvidenceError, MessageError
from atoll.evidence import document as documents
from atoll.evidence.ear import verify_ear
from atoll.telemetry.span import Recorder
from atoll.wire import endpoints, schema
from atoll.wire.messages import (
    AppraiseReply,
    AppraiseRequest,
    KeysReply,
    KeysRequest,
    NonceReply,
    NonceRequest,
)
from atoll_attestor.main import make_verifier, rows
from support.evidence import Binding, document
from unit.attestor import files


def recorder() -> Recorder:
    return Recorder("atoll-attestor", instance="k", clock=lambda: 1, random=secrets.token_bytes)


@pytest_asyncio.fixture
async def attestor(bus: Bus, tmp_path: Path) -> AsyncIterator[Bus]:
    """The service, and a connection to ask it over."""
    served = rows(make_verifier(files.write(tmp_path)), recorder())
    async with Service(
        bus, name="atoll-attestor", version="0.0.0", description="a test", endpoints=served
    ):
        yield bus


async def ask(bus: Bus, row: "endpoints.Endpoint[object, object]", raw: bytes) -> bytes:
    return (await bus.request(row.subject.of(), raw, timeout_s=5)).payload


async def test_exactly_the_rows_of_the_table_are_served(tmp_path: Path) -> None:
    served = rows(make_verifier(files.write(tmp_path)), recorder())
    owned = {row.subject.template for row in endpoints.ENDPOINTS if row.owner == "attestor"}
    assert {endpoint.subject for endpoint in served} == owned


async def test_from_a_challenge_to_a_word_that_verifies(attestor: Bus) -> None:
    raw = await ask(attestor, endpoints.NONCE, schema.encode(NonceRequest()))  # type: ignore[arg-type]
    nonce = schema.decode(NonceReply, raw).nonce
    evidence = documents.encode(document(binding=Binding(nonce=nonce)))
    request = schema.encode(AppraiseRequest(evidence=evidence))
    raw = await ask(attestor, endpoints.APPRAISE, request)  # type: ignore[arg-type]
    answer = schema.decode(AppraiseReply, raw)
    raw = await ask(attestor, endpoints.KEYS, schema.encode(KeysRequest()))  # type: ignore[arg-type]
    (key,) = schema.decode(KeysReply, raw).keys
    ear = verify_ear(
        answer.ear,
        {key.kid: files.KEY.public_key()},
        evidence_digest=documents.digest(evidence),
        now=datetime.now(UTC),
    )
    assert ear.nonce == nonce


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", MessageError),
        (b"\xc1", MessageError),
        (schema.encode(NonceRequest()), MessageError),
        (schema.encode(AppraiseRequest(evidence=b"no document")), EvidenceError),
        (schema.encode(AppraiseRequest(evidence=documents.encode(document()))), EvidenceError),
    ],
)
async def test_a_bad_request_is_answered_by_code_and_the_next_one_is_served(
    attestor: Bus, raw: bytes, kind: type[AtollError]
) -> None:
    with pytest.raises(kind) as caught:
        await ask(attestor, endpoints.APPRAISE, raw)  # type: ignore[arg-type]
    assert caught.value.code.startswith(("message.", "evidence."))
    assert await ask(attestor, endpoints.NONCE, schema.encode(NonceRequest()))  # type: ignore[arg-type]
