"""What is done in a block is on record, and an operator's act is not done without."""

import pytest

from atoll.audit import Action, ActorKind, AuditEntry, audited
from atoll.errors import NotFoundError, RefusedError, UnreachableError
from support.audit import MemoryAudit

ENTRY = AuditEntry(action=Action.TOKEN_REVOKE, actor_kind=ActorKind.LOGIN, actor="operator")


async def test_an_operators_act_is_on_record_before_and_after() -> None:
    audit = MemoryAudit()
    async with audited(audit, ENTRY, strict=True) as act:
        assert audit.told() == [("token_revoke", "begun", "")]
        act.about("abc")
    assert audit.told()[1:] == [("token_revoke", "done", "abc")]


async def test_an_operators_act_that_cannot_be_recorded_is_not_done() -> None:
    done = []
    with pytest.raises(RefusedError) as caught:
        async with audited(MemoryAudit(down=True), ENTRY, strict=True):
            done.append(1)
    assert caught.value.code == "audit.unavailable"
    assert done == []


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (NotFoundError("x", code="token.not_found"), "refused", "token.not_found"),
        (UnreachableError("x", code="bus.unreachable"), "failed", "bus.unreachable"),
        (ZeroDivisionError("a secret"), "failed", "internal"),
    ],
)
async def test_how_an_operators_act_failed_is_on_record(
    error: Exception, outcome: str, code: str
) -> None:
    audit = MemoryAudit()
    with pytest.raises(type(error)):
        async with audited(audit, ENTRY, strict=True):
            raise error
    assert (audit.entries[-1].outcome.value, audit.entries[-1].code) == (outcome, code)


async def test_a_users_act_is_recorded_once_it_is_done() -> None:
    audit = MemoryAudit()
    async with audited(audit, ENTRY, strict=False):
        assert audit.entries == []
    assert audit.told() == [("token_revoke", "done", "")]


async def test_a_users_act_that_changed_nothing_or_failed_is_not() -> None:
    audit = MemoryAudit()
    async with audited(audit, ENTRY, strict=False) as act:
        act.changed = False
    with pytest.raises(NotFoundError):
        async with audited(audit, ENTRY, strict=False):
            raise NotFoundError("x")
    assert audit.entries == []


async def test_a_users_act_stands_though_it_cannot_be_recorded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with audited(MemoryAudit(down=True), ENTRY, strict=False) as act:
        act.about("abc")
    assert "not on record: token_revoke done of abc by operator" in caplog.text
