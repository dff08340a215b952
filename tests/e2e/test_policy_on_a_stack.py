"""Policies, kept appraisals and signing keys of a running stack, through the `atoll` command."""

import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support import wat
from support.command import Said, Stack, atoll
from support.stack import wait_until


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guest") / "guest.wasm"
    path.write_bytes(wat.echo())
    return path


def run(stack: Stack, module: Path, into: Path) -> Said:
    return atoll(stack.home, "run", module, "--out", into, "--json")


def in_force(stack: Stack, tmp_path: Path) -> dict[str, Any]:
    """What `policy diff` says of a document that accepts other code than ours."""
    new(stack, tmp_path / "other.json", version=99, measurement="00" * 48)
    said = atoll(stack.home, "policy", "diff", tmp_path / "other.json", "--json")
    assert said.status == 0, said.err
    document: dict[str, Any] = said.document()
    return document


def new(stack: Stack, path: Path, *, version: int, measurement: str, mode: str = "enforce") -> None:
    """A document like the profile's policy, for other code."""
    section = json.loads(json.loads((stack.home / "profile.json").read_bytes())["policy"])
    section["measurements"] = [measurement]
    value = {
        "format": "atoll-policy",
        "format_version": 1,
        "name": "default",
        "version": version,
        "not_before": 0,
        "mode": mode,
        "sections": {"sev-snp": section},
    }
    path.write_text(json.dumps(value))


def measurement(stack: Stack) -> str:
    profile = json.loads((stack.home / "profile.json").read_bytes())
    (found,) = json.loads(profile["policy"])["measurements"]
    return str(found)


def activate(stack: Stack, path: Path, key: str = "operator") -> Said:
    signed = path.with_suffix(".signed")
    signed.unlink(missing_ok=True)
    said = atoll(stack.home, "policy", "sign", path, "--key", key, "-o", signed)
    assert said.status == 0, said.err
    return atoll(stack.home, "policy", "activate", signed, "--json")


def jwks(stack: Stack) -> list[str]:
    url = urlsplit(json.loads((stack.home / "profile.json").read_bytes())["http_url"])
    connection = HTTPConnection(str(url.hostname), url.port, timeout=10)
    try:
        connection.request("GET", "/.well-known/jwks.json")
        answer = connection.getresponse()
        assert answer.status == 200
        return [str(key["kid"]) for key in json.loads(answer.read())["keys"]]
    finally:
        connection.close()


def test_a_replay_says_what_a_stricter_policy_would_refuse_and_then_it_does(
    command_stack: Stack, module: Path, tmp_path: Path
) -> None:
    stack = command_stack
    done = run(stack, module, tmp_path / "one")
    assert done.status == 0, done.err

    strict = tmp_path / "strict.json"
    new(stack, strict, version=2, measurement="00" * 48)
    said = atoll(stack.home, "policy", "diff", strict, "--replay", "--json")
    assert said.status == 0, said.err
    replayed = said.document()["replay"]
    assert replayed["judged"] >= 1
    assert replayed["now_refused"] == replayed["judged"]
    assert replayed["by_finding"] == {"snp.measurement": replayed["judged"]}

    same = tmp_path / "same.json"
    new(stack, same, version=2, measurement=measurement(stack))
    replayed = atoll(stack.home, "policy", "diff", same, "--replay", "--json").document()["replay"]
    assert (replayed["now_refused"], replayed["now_accepted"], replayed["changes"]) == (0, 0, [])

    # On trial it decides nothing.
    new(stack, strict, version=2, measurement="00" * 48, mode="warn")
    assert activate(stack, strict).document()["candidate"] == 2
    assert run(stack, module, tmp_path / "two").status == 0

    # Nobody else may decide, and nothing older comes back.
    new(stack, same, version=1, measurement=measurement(stack))
    refused = activate(stack, same)
    assert (refused.status, refused.document()["error"]["code"]) == (1, "policy.rollback")
    assert atoll(stack.home, "keys", "new", "mallory").status == 0
    new(stack, strict, version=3, measurement="00" * 48)
    refused = activate(stack, strict, key="mallory")
    assert refused.document()["error"]["code"] == "policy.signature"

    # In force it refuses, until a new version says otherwise.
    assert activate(stack, strict).document()["enforced"] == 3
    refused = run(stack, module, tmp_path / "three")
    assert refused.status == 1
    new(stack, same, version=4, measurement=measurement(stack))
    assert activate(stack, same).document()["enforced"] == 4
    assert run(stack, module, tmp_path / "four").status == 0


def test_after_a_restart_the_same_policy_is_in_force_and_the_same_key_signs(
    command_stack: Stack, tmp_path: Path
) -> None:
    before = (in_force(command_stack, tmp_path), jwks(command_stack))
    assert command_stack.stop() == 0
    command_stack.start()
    assert (in_force(command_stack, tmp_path), jwks(command_stack)) == before


def test_a_rotated_key_signs_within_seconds_and_the_old_one_stays_published(
    command_stack: Stack, module: Path, tmp_path: Path
) -> None:
    stack = command_stack
    old = jwks(stack)[0]
    said = atoll(stack.home, "attest", "rotate-key", "--data-dir", stack.data_dir, "--json")
    assert said.status == 0, said.err
    fresh = said.document()["kid"]
    wait_until(lambda: jwks(stack)[:2] == [fresh, old], "the fresh key is published")
    assert run(stack, module, tmp_path / "five").status == 0
