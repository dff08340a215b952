"""Tenants on one bus: each does its work, and none reaches another's, whatever it tries."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.bus import Bus, BusConfig, Message, Signed, connect
from atoll.bus.jetstream import api
from atoll.client.connection import AtollClient
from atoll.credentials import claims, jwt
from atoll.credentials.claims import Permissions
from atoll.credentials.creds import Credentials
from atoll.credentials.nkey import KeyPair, Kind
from atoll.errors import AtollError, NotFoundError, RefusedError
from atoll.wire import endpoints, schema, subjects, tenancy, topology
from atoll.wire.assets import AssetPutRequest
from atoll.wire.messages import EventType, JobEvent, JobListRequest, JobRequest, JobState
from atoll.wire.subjects import of_tenants
from atoll.wire.webhooks import WebhookAddRequest, WebhookListRequest, WebhookRequest
from atoll_cli.deployment.identities import Identities
from support import wat
from support.client import (
    Draft,
    drafted,
    ended,
    party,
    reached,
    release,
    release_to_the_end,
    see_through,
    submit,
    until,
)
from support.nats import wait_for
from support.stack import Stack, running

A, B = "north", "south"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with two tenants beside its own."""
    with running(tmp_path_factory.mktemp("tenants")) as stack:
        for name in (A, B):
            add(stack, name)
        yield stack


def add(stack: Stack, name: str) -> None:
    said = stack.atoll("tenant", "add", name, "--data-dir", stack.data_dir, "--json")
    assert said.status == 0, said.err
    path = Path(said.document()["login"])
    assert path == stack.folder.tenant_creds(name)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest_asyncio.fixture
async def north(site: Stack) -> AsyncIterator[AtollClient]:
    async with site.client_of(A) as client:
        yield client


@pytest_asyncio.fixture
async def south(site: Stack) -> AsyncIterator[AtollClient]:
    async with site.client_of(B) as client:
        yield client


async def job_of(client: AtollClient) -> tuple[Draft, str]:
    """A job that has run to its end."""
    draft = await drafted(client, party(), wat.echo(), data={"in": b"content"})
    events = await see_through(client, draft)
    assert events[-1].state is JobState.COMPLETED
    return draft, events[-1].job_id


async def listed(client: AtollClient, job_id: str) -> bool:
    return job_id in {view.job_id for view in (await client.list()).jobs}


async def history(client: AtollClient) -> set[str]:
    """The jobs that a tenant's events are about."""
    async with aclosing(client.events(None, follow=False)) as events:
        return {event.job_id async for event in events}


async def test_each_tenant_runs_jobs_and_sees_nothing_of_the_others(
    site: Stack, north: AtollClient, south: AtollClient
) -> None:
    async with site.client() as house:
        jobs = {}
        for client in (north, south, house):
            draft, job_id = await job_of(client)
            jobs[client] = (draft, job_id)
            view = await client.get(job_id)
            outcome = await client.outcome(job_id, view.attempt, digest=view.outcome_digest)
            assert outcome.receipt
        for client, (draft, own) in jobs.items():
            await wait_for(lambda c=client, j=own: listed(c, j), "it is listed")
            assert own in await history(client)
            for other, (_, foreign) in jobs.items():
                if other is client:
                    continue
                assert not await listed(client, foreign)
                assert foreign not in await history(client)
                theirs = await other.get(foreign)
                await nothing_of(client, theirs.job_id, theirs.enclave_id or "", theirs.attempt)
                for asset in jobs[other][0].assets.values():
                    assert await client.asset(asset.ref.asset_id) is None
                    assert not await client.delete_asset(asset.ref.asset_id)
                    assert await other.asset(asset.ref.asset_id) is not None
            # The same asset under another's name is refused.
            asset_id = draft.assets["in"].ref.asset_id
            stranger = next(other for other in jobs if other is not client)
            with pytest.raises(AtollError) as caught:
                await stranger.upload(asset_id, [b"mine now"])
            assert caught.value.code == "asset.exists"
            found = await client.asset(asset_id)
            assert found is not None
            assert found.size != len(b"mine now")


async def nothing_of(client: AtollClient, job_id: str, enclave_id: str, attempt: int) -> None:
    """To this client it is as if the job did not exist."""
    for asked in (
        client.get(job_id),
        client.cancel(job_id),
        client.manifest(job_id),
        client.outcome(job_id, attempt),
        client.result(job_id, "0" * 32),
        client.evidence(enclave_id),
    ):
        with pytest.raises(NotFoundError):
            await asked


async def test_a_party_in_another_tenant_takes_part_as_a_guest(
    site: Stack, north: AtollClient, south: AtollClient
) -> None:
    draft = await drafted(north, party(), wat.echo(), data={"in": b"shared"})
    view = await north.submit(draft.agreed, secrets.token_hex(8), guests=(B,))
    asked = (await until(south, view.job_id, reached(JobState.AWAITING_ASSETS)))[-1]
    assert asked.enclave_id is not None
    assert (await south.manifest(view.job_id)).manifest == draft.raw
    await wait_for(lambda: listed(south, view.job_id), "a guest's list has it")
    with pytest.raises(RefusedError) as caught:
        await south.cancel(view.job_id)
    assert caught.value.code == "job.not_yours"
    async with site.client() as house:
        await nothing_of(house, view.job_id, asked.enclave_id, asked.attempt)
    # The keys go to the enclave from the other tenant.
    await release(south, draft, asked)
    events = await until(south, view.job_id, ended)
    assert events[-1].state is JobState.COMPLETED
    assert [event.seq for event in events] == [*range(1, len(events) + 1)]
    assert events == await until(north, view.job_id, ended)


async def test_a_tenant_cannot_speak_in_anothers_name(
    site: Stack, north: AtollClient, south: AtollClient
) -> None:
    _, job_id = await job_of(north)
    draft = await drafted(north, party(), wat.echo())
    waiting = await submit(north, draft)
    await until(north, waiting.job_id, reached(JobState.AWAITING_ASSETS))
    cancel = schema.encode(JobRequest(job_id=waiting.job_id))
    for name in (A, tenancy.HOUSE, B):
        for row in (endpoints.CANCEL, endpoints.LIST, endpoints.SUBMIT):
            with pytest.raises(AtollError) as caught:
                await south.bus.request(of_tenants(row.subject).of(name), cancel, timeout_s=3.0)
            assert caught.value.code == "bus.permission"
    # Not by headers, of our own or of the server's making.
    account = site.folder.identities().tenants[A].account.public
    forged = {
        "atoll-tenant": A,
        "Nats-Request-Info": json.dumps({"acc": account, "svc": account}),
        "Nats-Subject": of_tenants(endpoints.LIST.subject).of(A),
    }
    asked = schema.encode(JobListRequest())
    reply = await south.bus.request(
        endpoints.LIST.subject.of(), asked, timeout_s=5.0, headers=forged
    )
    jobs = {view.job_id for view in schema.decode(endpoints.LIST.reply, reply.payload).jobs}
    assert not jobs & {job_id, waiting.job_id}
    with pytest.raises(AtollError) as caught:
        await south.bus.request(
            endpoints.CANCEL.subject.of(), cancel, timeout_s=5.0, headers=forged
        )
    assert caught.value.code == "job.not_found"
    # Not by the subject that an answer goes to: it stays in the account of who asked.
    for reply_to in (
        of_tenants(endpoints.CANCEL.subject).of(A),
        f"{topology.inbox('gateway')}.x",
        "$JS.API.STREAM.PURGE.EVENTS",
    ):
        await south.bus.send(endpoints.LIST.subject.of(), asked, reply=reply_to)
    await south.bus.flush()
    assert (await north.get(waiting.job_id)).state is JobState.AWAITING_ASSETS
    assert (await north.cancel(waiting.job_id)).state is JobState.CANCELLED


async def test_a_consumer_that_delivers_to_a_request_asks_nothing(
    site: Stack, north: AtollClient, south: AtollClient
) -> None:
    """A tenant's consumers are in the account of the services, and may deliver to any subject."""
    _, own = await job_of(south)
    draft = await drafted(north, party(), wat.echo())
    waiting = await submit(north, draft)
    await until(north, waiting.job_id, reached(JobState.AWAITING_ASSETS))
    stream = topology.events_of(B).name
    async with site.bus("operator") as operator:
        before = (await api(operator, "STREAM.INFO.EVENTS"))["state"]["messages"]
        for number, target in enumerate(
            (
                of_tenants(endpoints.CANCEL.subject).of(A),
                "$JS.API.STREAM.PURGE.EVENTS",
                subjects.HISTORY.of(A, "job", waiting.job_id, "completed"),
                of_tenants(subjects.INTAKE).of(A, "forged"),
            )
        ):
            name = f"courier{number}"
            pattern = subjects.EVENT.under("job", own)
            config = {
                "name": name,
                "filter_subject": pattern,
                "deliver_subject": target,
                "ack_policy": "explicit",
                "deliver_policy": "all",
            }
            body = {"stream_name": stream, "config": config, "action": "create"}
            await api(south.bus, f"CONSUMER.CREATE.{stream}.{name}.{pattern}", body)
        await asyncio.sleep(1)  # nothing is to happen, and there is nothing to wait for
        after = (await api(operator, "STREAM.INFO.EVENTS"))["state"]["messages"]
    assert after >= before
    assert (await north.get(waiting.job_id)).state is JobState.AWAITING_ASSETS
    assert {event.type for event in await seen(north, waiting.job_id)} <= {
        EventType.SUBMITTED,
        EventType.SCHEDULED,
        EventType.ATTESTING,
        EventType.AWAITING_ASSETS,
    }
    await release_to_the_end(north, draft, waiting.job_id)


async def seen(client: AtollClient, job_id: str) -> list[JobEvent]:
    async with aclosing(client.events(job_id, follow=False)) as events:
        return [event async for event in events]


async def test_a_tenant_hears_nothing_of_others(site: Stack, south: AtollClient) -> None:
    async def ignore(_: Message) -> None:
        """Nobody calls this."""

    for subject in (
        ">",
        "atoll.v1.>",
        "atoll.v1.tenant.*.>",
        subjects.HISTORY.wildcard,
        subjects.EVENT.wildcard,
        of_tenants(subjects.INTAKE).wildcard,
        f"{topology.inbox('gateway')}.>",
        "_R_.>",
    ):
        with pytest.raises(RefusedError) as caught:
            await south.bus.subscribe(subject, ignore)
        assert caught.value.code == "bus.permission", subject
    # The account has nothing in it but what it imports, even for whoever may listen to all of it.
    everything = listener(site.folder.identities(), B)
    heard: list[str] = []

    async def hear(message: Message) -> None:
        heard.append(message.subject)

    async with connect(config(site, everything)) as bus, site.client_of(A) as north:
        subscription = await bus.subscribe(">", hear)
        await job_of(north)
        await bus.flush()
        await subscription.close()
        for subject in (
            of_tenants(endpoints.LIST.subject).of(A),
            of_tenants(endpoints.LIST.subject).of(B),
            "$JS.API.STREAM.NAMES",
            "$JS.atoll.API.STREAM.INFO.KV_jobs",
            "$JS.atoll.API.STREAM.INFO.EVENTS",
            f"$JS.atoll.API.STREAM.INFO.{topology.events_of(A).name}",
            "$JS.atoll.API.STREAM.INFO.KV_tokens",
        ):
            with pytest.raises(AtollError) as refusal:
                await api_or_request(bus, subject)
            assert refusal.value.code in {"bus.no_responders", "bus.no_jetstream"}, subject
    assert [subject for subject in heard if not subject.startswith("_INBOX_client")] == []


async def api_or_request(bus: Bus, subject: str) -> None:
    reply = await bus.request(subject, schema.encode(JobListRequest()), timeout_s=3.0)
    if subject.startswith("$JS.API."):
        # Servers answer this themselves, that the account has no streams.
        assert json.loads(reply.payload)["error"]["err_code"] == 10039
        raise RefusedError("", code="bus.no_jetstream")


def listener(identities: Identities, tenant: str) -> Credentials:
    """As if the tenant's account key itself had been stolen: a user who may do all there."""
    key = KeyPair.generate(Kind.USER, secrets.token_bytes)
    token = jwt.sign(
        claims.user(Permissions(publish=(">",), subscribe=(">",))),
        by=identities.tenants[tenant].account,
        subject=key.public,
        now=int(time.time()) - 60,
    )
    return Credentials(jwt=token, key=key)


def config(stack: Stack, credentials: Credentials) -> BusConfig:
    return BusConfig(
        url=stack.profile.nats_url,
        name="test",
        login=Signed("client", lambda: credentials),
        inbox_prefix="_INBOX_client",
        connect_timeout_s=3.0,
        drain_timeout_s=2.0,
    )


BAD_LOGINS = (
    "expired",
    "truncated",
    "foreign operator",
    "signed by itself",
    "of another tenant's key",
    "over-permissioned",
    "another's key",
)


@pytest.mark.parametrize("what", BAD_LOGINS)
async def test_a_login_that_is_not_the_tenants_is_refused(site: Stack, what: str) -> None:
    identities = site.folder.identities()
    mine, other = identities.tenants[A], identities.tenants[B]
    key = KeyPair.generate(Kind.USER, secrets.token_bytes)
    now = int(time.time())
    scoped = claims.scoped_user(account=mine.account.public, tags={})
    all_of_it = {
        **claims.user(Permissions(publish=(">",), subscribe=(">",))),
        "issuer_account": mine.account.public,
    }
    stranger = Identities.generate(secrets.token_bytes).tenants[tenancy.HOUSE]

    def signed(nats: dict[str, object], by: KeyPair, *, expires: int = 0) -> str:
        return jwt.sign(nats, by=by, subject=key.public, now=now - 600, expires=expires)

    token = {
        "expired": signed(scoped, mine.signer, expires=now - 1),
        "truncated": signed(scoped, mine.signer)[:-20],
        "foreign operator": signed(
            claims.scoped_user(account=stranger.account.public, tags={}), stranger.signer
        ),
        "signed by itself": signed(scoped, KeyPair.generate(Kind.ACCOUNT, secrets.token_bytes)),
        "of another tenant's key": signed(scoped, other.signer),
        # A signing key with a scope makes users of its own shape and no others.
        "over-permissioned": signed(all_of_it, mine.signer),
        "another's key": mine.credentials(now=now).jwt,
    }[what]
    with pytest.raises(AtollError) as caught:
        async with connect(config(site, Credentials(jwt=token, key=key))):
            pass
    assert caught.value.code in {"bus.permission", "bus.unreachable"}


async def test_webhooks_are_their_tenants(north: AtollClient, south: AtollClient) -> None:
    request = WebhookAddRequest(url="https://example.org/hook")
    added = await north.ask(endpoints.WEBHOOK_ADD, request, retry=False)
    name = WebhookRequest(webhook_id=added.webhook.webhook_id)
    assert (await south.ask(endpoints.WEBHOOK_LIST, WebhookListRequest())).webhooks == ()
    for asked in (
        south.ask(endpoints.WEBHOOK_GET, name),
        south.ask(endpoints.WEBHOOK_REMOVE, name),
        south.ask(endpoints.WEBHOOK_TEST, name),
    ):
        with pytest.raises(NotFoundError):
            await asked
    assert (await north.ask(endpoints.WEBHOOK_REMOVE, name)).webhook_id == name.webhook_id


async def test_an_asset_needs_all_its_chunks(north: AtollClient) -> None:
    request = AssetPutRequest(
        asset_id=secrets.token_hex(16),
        upload_id=secrets.token_hex(32),
        size=10,
        chunks=1,
        sha256="0" * 64,
    )
    with pytest.raises(AtollError) as caught:
        await north.ask(endpoints.ASSET_PUT, request)
    assert caught.value.code == "bus.incomplete"


async def test_fresh_keys_end_the_old_ones(site: Stack) -> None:
    name = "rotated"
    add(site, name)
    before = site.folder.identities().tenants[name].credentials(now=int(time.time()))
    async with connect(config(site, before)) as bus:
        said = site.atoll("rotate", "tenant", name, "--data-dir", site.data_dir)
        assert said.status == 0, said.err
        await wait_for(lambda: not bus.connected, "the connection by the old key is cut")
    with pytest.raises(RefusedError):
        async with connect(config(site, before)):
            pass
    async with site.client_of(name) as client:
        assert (await client.list()).jobs == ()


async def test_a_tenant_that_is_removed_is_cut_off_and_stays_out(
    site: Stack, tmp_path: Path
) -> None:
    name = "leaving"
    add(site, name)
    home = tmp_path / "home"
    said = site.atoll(
        *("tenant", "profile", name, "--out", home / "profile.json"),
        *("--data-dir", site.data_dir),
    )
    assert said.status == 0, said.err
    assert (home / "profile.json").stat().st_mode & 0o777 == 0o600
    before = site.folder.identities().tenants[name].credentials(now=int(time.time()))
    async with connect(config(site, before)) as bus, site.client_of(A) as other:
        began = time.monotonic()
        said = site.atoll("tenant", "remove", name, "--data-dir", site.data_dir)
        assert said.status == 0, said.err
        await wait_for(lambda: not bus.connected, f"it is cut (since {began})")
        assert other.bus.connected
    with pytest.raises(RefusedError):
        async with connect(config(site, before)):
            pass
    assert not site.folder.tenant_creds(name).exists()
    for arguments in (("add", name), ("remove", name), ("remove", "nobody"), ("remove", "main")):
        said = site.atoll("tenant", *arguments, "--data-dir", site.data_dir, "--json")
        assert said.status == 1
        assert said.document()["error"]["code"] in {
            "tenant.removed",
            "tenant.not_found",
            "tenant.house",
        }
    # Also when the server reads its files again.
    site.kill_service("nats-server")
    with pytest.raises(AtollError):
        async with connect(config(site, before)):
            pass

    async def up() -> bool:
        try:
            async with site.client_of(A) as client:
                return len((await client.list()).jobs) >= 0
        except AtollError:
            return False

    await wait_for(up, "the others are back", within_s=60)
    with pytest.raises(RefusedError):
        async with connect(config(site, before)):
            pass


def test_what_only_the_operators_own_tenant_sees_is_said_so(site: Stack, tmp_path: Path) -> None:
    home = tmp_path / "home"
    said = site.atoll(
        *("tenant", "profile", A, "--out", home / "profile.json"), *("--data-dir", site.data_dir)
    )
    assert said.status == 0, said.err
    theirs = Stack(tmp_path)
    for arguments in (("hosts", "list"), ("trace", "j1")):
        said = theirs.atoll(*arguments, "--json")
        assert said.status == 1
        assert said.document()["error"]["code"] in {"tenant.not_house", "job.not_found"}
    said = theirs.atoll("status", "--json")
    assert said.status == 0, said.err
    assert said.document()["hosts"] is None
    assert theirs.atoll("doctor").status in {0, 1}
