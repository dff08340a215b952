"""Requests that no honest client sends: each gets a stable code, none disturbs the others."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgpack
import pytest
import pytest_asyncio

from atoll import canonical
from atoll.client.compose import agree
from atoll.client.connection import AtollClient
from atoll.computation.consent import give_consent
from atoll.errors import AtollError, InputError
from atoll.identity import PartyKeys
from atoll.wire import endpoints, schema
from atoll.wire.messages import AgreedManifest, Consent, JobState, SubmitRequest
from support import wat
from support.client import LATER_MS, Draft, drafted, party, see_through
from support.stack import Stack

NO_CONSENT = Consent(party="me", expires_ms=LATER_MS, signature=bytes(64))
SUBMIT = endpoints.SUBMIT.subject.of()
GET = endpoints.GET.subject.of()


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[AtollClient]:
    async with stack.client() as connected:
        yield connected


@pytest_asyncio.fixture
async def draft(client: AtollClient) -> Draft:
    return await drafted(client, party(), wat.echo(), data={"in": b"x"})


async def code_of(client: AtollClient, subject: str, raw: bytes) -> str:
    """What a request is refused with."""
    with pytest.raises(AtollError) as caught:
        await client.bus.request(subject, raw, timeout_s=10.0)
    return caught.value.code


def request(agreed: AgreedManifest, **more: Any) -> bytes:
    plain = schema.to_plain(SubmitRequest(agreed=agreed, idempotency_key=secrets.token_hex(8)))
    return bytes(msgpack.packb({**plain, **more}))


MALFORMED = {
    "nothing": (b"", "message.malformed"),
    "noise": (secrets.token_bytes(2000), "message.malformed"),
    "JSON": (b'{"job_id": "j1"}', "message.malformed"),
    "an array": (msgpack.packb(["j1"]), "message.invalid"),
    "a bomb of arrays": (b"\xdd\xff\xff\xff\xff" * 1000, "message.malformed"),
    "a bomb of maps": (b"\xdf\xff\xff\xff\xff" * 1000, "message.malformed"),
    "a huge string": (b"\xdb\xff\xff\xff\xff", "message.malformed"),
    "deep nesting": (b"\x91" * 5000, "message.malformed"),
    "invalid UTF-8": (b"\x81\xa6job_id\xa2\xff\xfe", "message.malformed"),
    "a key twice": (b"\x82\xa6job_id\xa1a\xa6job_id\xa1b", "message.malformed"),
    "an extension": (b"\x81\xa6job_id\xd4\x01\x00", "message.malformed"),
    "something behind it": (msgpack.packb({"job_id": "j1"}) + b"\xc0", "message.malformed"),
    "an unknown field": (msgpack.packb({"job_id": "j1", "more": 1}), "message.invalid"),
    "a missing field": (msgpack.packb({}), "message.invalid"),
    "another type": (msgpack.packb({"job_id": 7}), "message.invalid"),
    "a name with a dot": (msgpack.packb({"job_id": "a.b"}), "message.invalid"),
    "a name with a star": (msgpack.packb({"job_id": "*"}), "message.invalid"),
    "a name with >": (msgpack.packb({"job_id": ">"}), "message.invalid"),
    "a name with a slash": (msgpack.packb({"job_id": "a/b"}), "message.invalid"),
    "a name with NUL": (msgpack.packb({"job_id": "a\0b"}), "message.invalid"),
    "a name that is ..": (msgpack.packb({"job_id": ".."}), "message.invalid"),
    "a line end": (msgpack.packb({"job_id": "a\n"}), "message.invalid"),
    "an unknown job": (msgpack.packb({"job_id": "j1"}), "job.not_found"),
}


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_bad_request_gets_a_code(client: AtollClient, what: str) -> None:
    raw, code = MALFORMED[what]
    assert await code_of(client, GET, raw) == code


async def test_the_stack_serves_after_all_of_that(client: AtollClient, draft: Draft) -> None:
    assert (await see_through(client, draft))[-1].state is JobState.COMPLETED


async def test_a_manifest_of_2_mib_is_refused_before_it_is_sent(client: AtollClient) -> None:
    agreed = AgreedManifest(manifest=b"{" * (2 << 20), consents=(NO_CONSENT,))
    with pytest.raises(InputError) as caught:
        await client.submit(agreed, "key")
    assert caught.value.code == "bus.too_large"
    assert client.bus.connected


async def test_a_manifest_of_half_a_mib_is_refused_by_the_gateway(client: AtollClient) -> None:
    agreed = AgreedManifest(manifest=b"{" * (1 << 19), consents=(NO_CONSENT,))
    assert await code_of(client, SUBMIT, request(agreed)) == "message.invalid"


async def test_a_submission_with_an_unknown_field_is_refused(
    client: AtollClient, draft: Draft
) -> None:
    assert await code_of(client, SUBMIT, request(draft.agreed, priority=9)) == "message.invalid"


def edited(draft: Draft, **changes: Any) -> AgreedManifest:
    """The manifest with other fields in its JSON form, properly agreed on."""
    plain = schema.to_plain(draft.manifest, json=True)
    return agreed_on(canonical.dumps({**plain, **changes}), draft.keys)


def agreed_on(raw: bytes, *parties: PartyKeys) -> AgreedManifest:
    return agree(raw, *parties, expires_ms=LATER_MS)


MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown version": ({"type": "atoll.manifest/v1"}, "manifest.version"),
    "an unknown field": ({"surprise": True}, "manifest.invalid"),
    "an unknown kind of TEE": ({"tee": {"kind": "tdx9"}}, "manifest.invalid"),
    "a TEE that nobody has": ({"tee": {"kind": "sev-snp"}}, "job.no_such_tee"),
    "no outputs": ({"outputs": {}}, "manifest.invalid"),
    "no consumers": ({"outputs": {"o": {"step": "run", "consumers": []}}}, "manifest.invalid"),
    "a consumer who is no party": (
        {"outputs": {"o": {"step": "run", "consumers": ["eve"]}}},
        "manifest.output",
    ),
    "an output of no step": (
        {"outputs": {"o": {"step": "x", "consumers": ["me"]}}},
        "manifest.output",
    ),
    "no steps": ({"steps": []}, "manifest.invalid"),
    "a nonce that is too short": ({"nonce": "AAAA"}, "manifest.invalid"),
    "no limits": ({"limits": None}, "manifest.invalid"),
}


@pytest.mark.parametrize("what", MANIFESTS)
async def test_a_bad_manifest_gets_a_code(client: AtollClient, draft: Draft, what: str) -> None:
    changes, code = MANIFESTS[what]
    assert await code_of(client, SUBMIT, request(edited(draft, **changes))) == code


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc/passwd", "a\0b", "*", ">", "a\n", ""])
async def test_a_dataset_with_a_dangerous_name_is_refused(
    client: AtollClient, draft: Draft, name: str
) -> None:
    asset = schema.to_plain(draft.assets["in"].ref, json=True)
    agreed = edited(draft, datasets={name: {"asset": asset}})
    assert await code_of(client, SUBMIT, request(agreed)) == "manifest.invalid"


async def test_a_manifest_that_is_not_canonical_is_refused(
    client: AtollClient, draft: Draft
) -> None:
    spaced = draft.raw.replace(b",", b", ", 1)
    assert (
        await code_of(client, SUBMIT, request(agreed_on(spaced, draft.keys))) == "manifest.invalid"
    )


async def test_a_manifest_that_is_no_text_is_refused(client: AtollClient, draft: Draft) -> None:
    agreed = agreed_on(b'{"type":"\xff\xfe"}', draft.keys)
    assert await code_of(client, SUBMIT, request(agreed)) == "manifest.invalid"


async def test_a_manifest_that_somebody_else_signed_is_refused(
    client: AtollClient, draft: Draft
) -> None:
    forged = agreed_on(draft.raw, party("me"))
    assert await code_of(client, SUBMIT, request(forged)) == "consent.signature"


async def test_a_manifest_changed_after_it_was_signed_is_refused(
    client: AtollClient, draft: Draft
) -> None:
    changed = draft.changed(limits=replace(draft.manifest.limits, deadline_ms=1000)).raw
    agreed = replace(draft.agreed, manifest=changed)
    assert await code_of(client, SUBMIT, request(agreed)) == "consent.signature"


async def test_a_signature_of_nobody_s_is_refused(client: AtollClient, draft: Draft) -> None:
    eve = agreed_on(draft.raw, party("eve")).consents
    agreed = replace(draft.agreed, consents=(*draft.agreed.consents, *eve))
    assert await code_of(client, SUBMIT, request(agreed)) == "consent.foreign"


async def test_a_manifest_without_the_consent_of_a_party_is_refused(
    client: AtollClient, draft: Draft
) -> None:
    agreed = replace(draft.agreed, consents=())
    assert await code_of(client, SUBMIT, request(agreed)) == "consent.missing"


async def test_a_consent_that_ended_is_refused(client: AtollClient, draft: Draft) -> None:
    ended = (give_consent(draft.keys, draft.digest, expires_ms=1_800_000_000_000 // 2),)
    agreed = replace(draft.agreed, consents=ended)
    assert await code_of(client, SUBMIT, request(agreed)) == "consent.expired"


async def test_a_consent_to_another_manifest_is_refused(client: AtollClient, draft: Draft) -> None:
    other = draft.changed(nonce=secrets.token_bytes(32))
    agreed = replace(draft.agreed, consents=other.agreed.consents)
    assert await code_of(client, SUBMIT, request(agreed)) == "consent.signature"


async def test_one_key_stands_for_one_manifest(client: AtollClient, draft: Draft) -> None:
    first = await client.submit(draft.agreed, "the-key")
    again = await client.submit(draft.agreed, "the-key")
    assert (again.job_id, again.created_ms) == (first.job_id, first.created_ms)
    other = draft.changed(nonce=secrets.token_bytes(32))
    with pytest.raises(AtollError) as caught:
        await client.submit(other.agreed, "the-key")
    assert caught.value.code == "job.idempotency"
    await client.cancel(first.job_id)


async def test_the_stack_still_serves(client: AtollClient, draft: Draft) -> None:
    assert (await see_through(client, draft))[-1].state is JobState.COMPLETED
