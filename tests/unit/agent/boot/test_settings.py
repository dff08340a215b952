"""A guest takes the agent's own settings as text, and nothing else that a host may write."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import ConfigError
from atoll.measure.launch_settings import LaunchSettings
from atoll_agent.boot.main import read_settings
from atoll_agent.boot.ports import CHANNEL, wanted_port
from atoll_agent.boot.settings import KNOWN, MAX_SETTINGS, parse_settings

NAME = "ATOLL_AGENT_NATS_URL"


def refusal(raw: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_settings(raw)
    assert caught.value.code == "agent.settings"
    return caught.value.message


def test_known_text_is_taken() -> None:
    assert parse_settings(b' {"ATOLL_AGENT_NATS_URL": "nats://x"} ') == {NAME: "nats://x"}
    assert parse_settings(b"{}") == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b'{"ATOLL_AGENT_NATS_URL": "a"} x',
        b'{"ATOLL_AGENT_NATS_URL": "a", "ATOLL_AGENT_NATS_URL": "b"}',
        b'{"ATOLL_AGENT_NATS_URL": 1}',
        b'{"ATOLL_AGENT_NATS_URL": null}',
        b'{"ATOLL_AGENT_NATS_URL": {"a": "b"}}',
        b'{"ATOLL_AGENT_NATS_URL": "a\\u0000b"}',
        b'{"ATOLL_AGENT_NATS_URL": "\\ud800"}',
        b'{"LD_PRELOAD": "/x.so"}',
        b'{"PYTHONPATH": "/x"}',
        b'{"ATOLL_AGENT_OTHER": "x"}',
        b'{"atoll_agent_nats_url": "x"}',
        b"\xff",
        b"[" * 60_000,
    ],
)
def test_everything_else_is_refused(raw: bytes) -> None:
    refusal(raw)


def test_there_is_a_limit() -> None:
    raw = json.dumps({NAME: "x"}).encode()

    assert parse_settings(raw.ljust(MAX_SETTINGS))
    assert "over" in refusal(raw.ljust(MAX_SETTINGS + 1))


def test_a_value_of_the_host_is_not_repeated_on_the_console() -> None:
    assert "planted" not in refusal(b'{"ATOLL_AGENT_NATS_URL": ["planted"]}')


@given(st.binary(max_size=200) | st.from_type(object).map(lambda value: repr(value).encode()))
def test_whatever_comes_is_settings_or_one_error(raw: bytes) -> None:
    for text in (raw, b'{"ATOLL_AGENT_NATS_URL": "' + raw + b'"}'):
        try:
            found = parse_settings(text)
        except ConfigError as error:
            assert error.code == "agent.settings"  # noqa: PT017 - either is right
        else:
            assert found.keys() <= KNOWN
            assert all("\0" not in value for value in found.values())


def test_what_was_read_is_hashed_and_told_to_the_agent(tmp_path: Path) -> None:
    raw = b' {"ATOLL_AGENT_NATS_URL": "nats://x"}\n'
    (tmp_path / "raw").write_bytes(raw)
    found = read_settings(tmp_path / "raw")
    text = f"sha256:{hashlib.sha256(raw).hexdigest()},sha384:{hashlib.sha384(raw).hexdigest()}"
    assert found == {NAME: "nats://x", "ATOLL_AGENT_LAUNCH_SETTINGS": text}


def test_a_host_cannot_say_itself_what_its_settings_hash_to() -> None:
    said = LaunchSettings.of(b"others").to_text()
    raw = json.dumps({"ATOLL_AGENT_LAUNCH_SETTINGS": said}).encode()
    assert "no setting is called" in refusal(raw)


def test_a_host_that_says_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "raw")
    assert caught.value.code == "agent.settings"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".", "a\n", "x" * 65, "-x"])
def test_a_port_has_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wanted_port(f"serial:{name}")
    assert caught.value.code == "agent.settings"
    assert CHANNEL in caught.value.message


def test_other_channels_have_no_port() -> None:
    assert wanted_port("vsock:1") is None
    assert wanted_port("") is None
    assert wanted_port("serial:atoll.channel") == "atoll.channel"
