"""Where the bus is: one server or several."""

import pytest

from atoll.bus import BusConfig
from atoll.errors import ConfigError, InputError


def config(url: str, domain: str = "") -> BusConfig:
    return BusConfig(
        url=url, name="t", user="u", password="p", inbox_prefix="_INBOX_u", domain=domain
    )


def test_several_servers_stand_between_commas() -> None:
    assert config("tls://a:4222, tls://b:4222").urls == ["tls://a:4222", "tls://b:4222"]
    assert config("nats://a:4222").urls == ["nats://a:4222"]


@pytest.mark.parametrize(
    "url", ["", "nats://a:1,", ",", "nats://a:1,tls://b:1", ",".join(["nats://a:1"] * 17)]
)
def test_refuses_what_is_no_list_of_servers_of_one_kind(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(url)
    assert caught.value.code == "config.invalid"


def test_a_domain_stands_in_the_subjects_of_the_api() -> None:
    assert config("nats://a:1").api == "$JS.API"
    assert config("nats://a:1", "hub").api == "$JS.hub.API"
    with pytest.raises(InputError):
        config("nats://a:1", "hub.>")
