"""Requests that no honest client sends: each gets a stable code, none disturbs the others."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgpack
import pytest
import pytest_asyncio

from atoll import canonical
from atoll.client.compose import sign
from atoll.client.connection import AtollClient
from atoll.errors import AtollError, InputError
from atoll.wire import endpoints, schema
from atoll.wire.messages import JobState, PartySignature, SignedManifest, SubmitRequest
from support import wat
from support.client import Draft, drafted, party, see_through
from support.stack import Stack

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


def request(signed: SignedManifest, **more: Any) -> bytes:
    plain = schema.to_plain(SubmitRequest(signed=signed, idempotency_key=secrets.token_hex(8)))
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
    signature = PartySignature(party="me", signature=bytes(64))
    signed = SignedManifest(manifest=b"{" * (2 << 20), signatures=(signature,))
    with pytest.raises(InputError) as caught:
        await client.submit(signed, "key")
    assert caught.value.code == "bus.too_large"
    assert client.bus.connected


async def test_a_manifest_of_half_a_mib_is_refused_by_the_gateway(client: AtollClient) -> None:
    signature = PartySignature(party="me", signature=bytes(64))
    signed = SignedManifest(manifest=b"{" * (1 << 19), signatures=(signature,))
    assert await code_of(client, SUBMIT, request(signed)) == "message.invalid"


async def test_a_submission_with_an_unknown_field_is_refused(
    client: AtollClient, draft: Draft
) -> None:
    assert await code_of(client, SUBMIT, request(draft.signed, priority=9)) == "message.invalid"


def edited(draft: Draft, **changes: Any) -> SignedManifest:
    """The manifest with other fields in its JSON form, properly signed."""
    plain = schema.to_plain(draft.manifest, json=True)
    return sign(canonical.dumps({**plain, **changes}), draft.keys)


MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown version": ({"type": "atoll.manifest/v2"}, "manifest.version"),
    "an unknown field": ({"surprise": True}, "manifest.invalid"),
    "an unknown kind of TEE": ({"tee": "tdx9"}, "manifest.invalid"),
    "a TEE that nobody has": ({"tee": "sev-snp"}, "job.no_such_tee"),
    "no consumers": ({"consumers": []}, "manifest.invalid"),
    "a consumer who is no party": ({"consumers": ["eve"]}, "manifest.invalid"),
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
    signed = edited(draft, datasets={name: asset})
    assert await code_of(client, SUBMIT, request(signed)) == "manifest.invalid"


async def test_a_manifest_that_is_not_canonical_is_refused(
    client: AtollClient, draft: Draft
) -> None:
    spaced = draft.raw.replace(b",", b", ", 1)
    assert await code_of(client, SUBMIT, request(sign(spaced, draft.keys))) == "manifest.invalid"


async def test_a_manifest_that_is_no_text_is_refused(client: AtollClient, draft: Draft) -> None:
    signed = sign(b'{"type":"\xff\xfe"}', draft.keys)
    assert await code_of(client, SUBMIT, request(signed)) == "manifest.invalid"


async def test_a_manifest_that_somebody_else_signed_is_refused(
    client: AtollClient, draft: Draft
) -> None:
    forged = sign(draft.raw, party("me"))
    assert await code_of(client, SUBMIT, request(forged)) == "manifest.signature"


async def test_a_manifest_changed_after_it_was_signed_is_refused(
    client: AtollClient, draft: Draft
) -> None:
    changed = draft.changed(limits=replace(draft.manifest.limits, wall_s=1)).raw
    signed = replace(draft.signed, manifest=changed)
    assert await code_of(client, SUBMIT, request(signed)) == "manifest.signature"


async def test_a_signature_of_nobody_s_is_refused(client: AtollClient, draft: Draft) -> None:
    eve = sign(draft.raw, party("eve")).signatures
    signed = replace(draft.signed, signatures=(*draft.signed.signatures, *eve))
    assert await code_of(client, SUBMIT, request(signed)) == "manifest.foreign_signature"


async def test_one_key_stands_for_one_manifest(client: AtollClient, draft: Draft) -> None:
    first = await client.submit(draft.signed, "the-key")
    again = await client.submit(draft.signed, "the-key")
    assert (again.job_id, again.created_ms) == (first.job_id, first.created_ms)
    other = draft.changed(nonce=secrets.token_bytes(32))
    with pytest.raises(AtollError) as caught:
        await client.submit(other.signed, "the-key")
    assert caught.value.code == "job.idempotency"
    await client.cancel(first.job_id)


async def test_the_stack_still_serves(client: AtollClient, draft: Draft) -> None:
    assert (await see_through(client, draft))[-1].state is JobState.COMPLETED
