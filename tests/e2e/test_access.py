"""Tokens and audit by the command line, against a stack."""

import json
import urllib.error
import urllib.request
from typing import Any

from support.command import Stack
from support.stack import wait_until


def operator(stack: Stack, *arguments: str) -> Any:
    """An operator's command; its document."""
    said = stack.atoll(*arguments, "--json", "--data-dir", stack.data_dir)
    assert said.status == 0, said
    return said.document()


def status(stack: Stack, token: str, path: str = "/v1/jobs") -> int:
    """What the gateway answers to this token."""
    request = urllib.request.Request(stack.facts["http"] + path)
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)


def test_a_token_lives_from_its_making_to_its_revocation_and_all_is_on_record(
    command_stack: Stack,
) -> None:
    stack = command_stack
    made = operator(
        stack, "token", "create", "--tenant", "clinic", "--role", "viewer", "--expires", "30d"
    )
    token, token_id = made["token"], made["token_id"]
    assert (made["tenant"], made["roles"], made["state"]) == ("clinic", ["viewer"], "live")
    assert status(stack, token) == 200
    assert status(stack, token, "/v1/tokens") == 403
    assert status(stack, token[:-1]) == 401

    listed = operator(stack, "token", "list")["tokens"]
    assert {each["name"] for each in listed} == {"", "first token"}
    assert token not in json.dumps(listed)
    shown = stack.atoll("token", "show", token, "--data-dir", stack.data_dir)
    assert "viewer" in shown.out
    assert token not in shown.out

    assert operator(stack, "token", "revoke", token_id)["state"] == "revoked"
    wait_until(lambda: status(stack, token) == 401, "the gateway refuses it")

    records = operator(stack, "audit", "list")["records"]
    told = [(each["action"], each["outcome"]) for each in records if each["object"] == token_id]
    assert told == [
        ("token_create", "begun"),
        ("token_create", "done"),
        ("token_revoke", "begun"),
        ("token_revoke", "done"),
    ]
    activated = [each for each in records if each["action"] == "policy_activate"]
    assert {each["actor"] for each in activated} == {"operator"}
    assert token not in json.dumps(records)
    only = operator(stack, "audit", "list", "--action", "token_revoke", "--since", "1h")["records"]
    assert [each["action"] for each in only] == ["token_revoke"] * 2
    assert operator(stack, "audit", "list", "--tenant", "nobody")["records"] == []
    verified = operator(stack, "audit", "verify")
    assert verified["whole"] is True
    # Others write as well: services that come and go, at any time.
    after = operator(stack, "audit", "list")["records"]
    assert len(records) <= verified["records"] <= len(after)
    assert after[: len(records)] == records


def test_the_first_token_of_the_stack_is_an_operators(command_stack: Stack) -> None:
    path = command_stack.data_dir / "http-token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert status(command_stack, path.read_text(), "/v1/tokens") == 200
    checked = command_stack.atoll("token", "check", "--json").document()
    assert (checked["roles"], checked["name"]) == (["operator"], "first token")
    given = command_stack.atoll("token", "check", "--token-file", path)
    assert (given.status, "operator" in given.out) == (0, True)


def test_without_the_operators_login_there_is_nothing_to_give(command_stack: Stack) -> None:
    said = command_stack.atoll("token", "list", "--json")
    assert (said.status, said.document()["error"]["code"]) == (1, "operator.missing")
    for bad in (
        ("create", "--role", "king"),
        ("create",),
        ("create", "--role", "viewer", "--expires", "never"),
        ("create", "--role", "viewer", "--tenant", "a.b"),
        ("revoke", "short"),
        ("show", "atoll_000000000000_" + "0" * 49),
    ):
        assert command_stack.atoll("token", *bad).status == 2, bad
    unknown = command_stack.atoll(
        "token", "revoke", "0" * 12, "--json", "--data-dir", command_stack.data_dir
    )
    assert (unknown.status, unknown.document()["error"]["code"]) == (1, "token.not_found")
