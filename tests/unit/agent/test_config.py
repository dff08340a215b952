"""The agent's settings."""

import pytest

from atoll import settings
from atoll.errors import ConfigError
from atoll_agent.config import PREFIX, AgentConfig

ENV = {
    "ATOLL_AGENT_NATS_URL": "nats://127.0.0.1:4222",
    "ATOLL_AGENT_NATS_SENTINEL": "sentinel",
    "ATOLL_AGENT_HOST_ID": "h1",
    "ATOLL_AGENT_ENCLAVE_ID": "e1",
    "ATOLL_AGENT_JOB_ID": "j1",
    "ATOLL_AGENT_ATTEMPT": "1",
    "ATOLL_AGENT_MANIFEST_DIGEST": "00",
}


def test_settings_are_read() -> None:
    config = settings.read(AgentConfig, PREFIX, ENV)
    assert (config.enclave_id, config.attempt, config.device_fd) == ("e1", 1, None)


@pytest.mark.parametrize("name", sorted(ENV))
def test_no_setting_that_is_needed_may_be_missing(name: str) -> None:
    env = {key: value for key, value in ENV.items() if key != name}
    with pytest.raises(ConfigError) as caught:
        settings.read(AgentConfig, PREFIX, env)
    assert caught.value.code == "config.missing"
