"""Tokens: who shows which, and how they come and go."""

from dataclasses import replace

import pytest

from atoll.errors import ConfigError, ConflictError, NotFoundError
from atoll.wire.access import (
    AccessRole,
    CreateTokenRequest,
    TokenListRequest,
    TokenRecord,
    TokenRequest,
)
from atoll_gateway.tokens import DAY_MS, TokenDesk, TokenDirectory
from support.access import (
    EXPIRED,
    FOREIGN,
    OPERATOR,
    OTHER_TENANT,
    REVOKED,
    SUBMITTER,
    UNKNOWN,
    VIEWER,
    MemoryTokens,
    access_token,
    records,
)
from support.gateway import NOW_MS

DAY = NOW_MS // DAY_MS


def make() -> tuple[TokenDesk, TokenDirectory, MemoryTokens]:
    store, directory = MemoryTokens(), TokenDirectory()
    for record in records(NOW_MS):
        directory.note(record, store.write(record))
    return TokenDesk(store, directory, lambda: NOW_MS), directory, store


def creation(name: str = "new", **changes: object) -> CreateTokenRequest:
    token = access_token(name)
    fields: dict[str, object] = {
        "token_id": token.id,
        "digest": token.digest,
        "tenant": "t",
        "roles": (AccessRole.VIEWER,),
    }
    return CreateTokenRequest(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("token", [OPERATOR, SUBMITTER, VIEWER, FOREIGN])
def test_a_live_token_is_found(token: object) -> None:
    _, directory, _ = make()
    held = directory.find(token.text, NOW_MS)  # type: ignore[attr-defined]
    assert held is not None
    assert held.record.token_id == token.id  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        UNKNOWN.text,
        EXPIRED.text,
        REVOKED.text,
        OPERATOR.text[:-1],
        OPERATOR.text + "0",
        OPERATOR.text.upper(),
        replace(OPERATOR, secret=SUBMITTER.secret).text,
        "é" * 40,
    ],
)
def test_nothing_else_is(text: str) -> None:
    assert make()[1].find(text, NOW_MS) is None


def test_what_matches_no_record_matches_none_for_nobody_either() -> None:
    """The stand-in for malformed texts must not be somebody's token."""
    directory = TokenDirectory()
    nobody = replace(OPERATOR, id="0" * 12, secret="0" * 43)
    record = TokenRecord(
        token_id=nobody.id,
        digest=nobody.digest,
        tenant="t",
        roles=(AccessRole.OPERATOR,),
        created_ms=1,
    )
    directory.note(record, 1)
    assert directory.find("malformed", NOW_MS) is None


async def test_a_created_token_counts_at_once_and_expires() -> None:
    desk, directory, _ = make()
    view = await desk.create(creation(lifetime_s=10))
    assert view.expires_ms == NOW_MS + 10_000
    text = access_token("new").text
    assert directory.find(text, NOW_MS) is not None
    assert directory.find(text, NOW_MS + 10_000) is None


async def test_creating_twice_is_creating_once() -> None:
    desk, _, _ = make()
    assert await desk.create(creation()) == await desk.create(creation())


async def test_an_id_stands_for_one_token_for_good() -> None:
    desk, _, _ = make()
    await desk.create(creation())
    with pytest.raises(ConflictError) as caught:
        await desk.create(creation(digest=bytes(32)))
    assert caught.value.code == "token.exists"
    await desk.revoke(TokenRequest(token_id=creation().token_id))
    assert (await desk.create(creation())).disabled


async def test_a_revoked_token_counts_no_longer_and_ends_what_it_holds() -> None:
    desk, directory, _ = make()
    held = directory.find(VIEWER.text, NOW_MS)
    assert held is not None
    assert not held.ended.is_set()
    assert (await desk.revoke(TokenRequest(token_id=VIEWER.id))).disabled
    assert held.ended.is_set()
    assert directory.find(VIEWER.text, NOW_MS) is None
    assert (await desk.revoke(TokenRequest(token_id=VIEWER.id))).disabled


async def test_revoking_what_is_not_there_says_so() -> None:
    desk, _, _ = make()
    for work in (desk.revoke, desk.get):
        with pytest.raises(NotFoundError) as caught:
            await work(TokenRequest(token_id=UNKNOWN.id))
        assert caught.value.code == "token.not_found"


async def test_a_deleted_record_counts_no_longer() -> None:
    _, directory, _ = make()
    directory.forget(VIEWER.id)
    directory.forget("nobody")
    assert directory.find(VIEWER.text, NOW_MS) is None


async def test_an_older_record_does_not_bring_a_token_back() -> None:
    desk, directory, store = make()
    before = await store.get(VIEWER.id)
    assert before is not None
    await desk.revoke(TokenRequest(token_id=VIEWER.id))
    directory.note(*before)
    assert directory.find(VIEWER.text, NOW_MS) is None


async def test_another_gateway_follows() -> None:
    desk, _, store = make()
    await desk.revoke(TokenRequest(token_id=VIEWER.id))
    other = TokenDirectory()
    await other.follow(store)
    assert other.current.is_set()
    assert other.find(VIEWER.text, NOW_MS) is None
    assert other.find(OPERATOR.text, NOW_MS) is not None


async def test_the_list_is_of_a_tenant_or_of_all() -> None:
    desk, _, _ = make()
    everything = (await desk.list(TokenListRequest())).tokens
    assert len(everything) == 6
    (foreign,) = (await desk.list(TokenListRequest(tenant=OTHER_TENANT))).tokens
    assert foreign.token_id == FOREIGN.id


async def test_the_day_of_the_last_use_is_stored_once_a_day() -> None:
    desk, directory, store = make()
    directory.find(VIEWER.text, NOW_MS)
    await desk.store_used()
    stored = await store.get(VIEWER.id)
    assert stored is not None
    assert stored[0].used_day == DAY
    directory.find(VIEWER.text, NOW_MS)
    assert directory.take_used() == {}
    directory.find(VIEWER.text, NOW_MS + DAY_MS)
    assert directory.take_used() == {VIEWER.id: DAY + 1}


async def test_a_use_does_not_undo_a_revocation() -> None:
    desk, directory, store = make()
    directory.find(VIEWER.text, NOW_MS)
    await desk.revoke(TokenRequest(token_id=VIEWER.id))
    await desk.store_used()
    stored = await store.get(VIEWER.id)
    assert stored is not None
    assert stored[0].disabled


async def test_the_first_token_is_an_operators_until_it_is_revoked() -> None:
    store, directory = MemoryTokens(), TokenDirectory()
    desk = TokenDesk(store, directory, lambda: NOW_MS)
    await desk.require(OPERATOR)
    held = directory.find(OPERATOR.text, NOW_MS)
    assert held is not None
    assert held.record.roles == (AccessRole.OPERATOR,)
    await desk.revoke(TokenRequest(token_id=OPERATOR.id))
    await desk.require(OPERATOR)
    assert directory.find(OPERATOR.text, NOW_MS) is None


async def test_a_first_token_of_another_deployment_stops_the_start() -> None:
    desk, _, _ = make()
    with pytest.raises(ConfigError) as caught:
        await desk.require(replace(OPERATOR, secret=SUBMITTER.secret))
    assert caught.value.code == "http.token"
