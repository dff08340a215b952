import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import ConfigError
from atoll.telemetry.forward import OtlpSettings, from_env, parse_headers

BASE = "OTEL_EXPORTER_OTLP_"


def test_no_endpoint_means_no_forwarding() -> None:
    assert from_env({}) is None
    assert from_env({BASE + "ENDPOINT": "", BASE + "HEADERS": "a=b"}) is None


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({"ENDPOINT": "http://h:4318"}, "http://h:4318/v1/traces"),
        ({"ENDPOINT": "http://h:4318/"}, "http://h:4318/v1/traces"),
        ({"ENDPOINT": "https://h/otlp"}, "https://h/otlp/v1/traces"),
        ({"TRACES_ENDPOINT": "http://h/here"}, "http://h/here"),
        ({"TRACES_ENDPOINT": "http://h/here", "ENDPOINT": "http://other"}, "http://h/here"),
    ],
)
def test_the_endpoint_is_a_base_and_the_traces_endpoint_is_not(
    env: dict[str, str], url: str
) -> None:
    settings = from_env({BASE + name: value for name, value in env.items()})
    assert settings is not None
    assert settings.url == url


def test_a_traces_setting_wins_over_the_general_one() -> None:
    settings = from_env(
        {
            BASE + "ENDPOINT": "http://h",
            BASE + "TIMEOUT": "1000",
            BASE + "TRACES_TIMEOUT": "2500",
            BASE + "HEADERS": "a=1",
            BASE + "TRACES_HEADERS": "b=2",
            BASE + "COMPRESSION": "gzip",
            BASE + "PROTOCOL": "grpc",
            BASE + "TRACES_PROTOCOL": "http/protobuf",
        }
    )
    assert settings == OtlpSettings(
        url="http://h/v1/traces", headers=(("b", "2"),), timeout_s=2.5, gzip=True
    )


@pytest.mark.parametrize(
    "env",
    [
        {"PROTOCOL": "grpc"},
        {"TRACES_PROTOCOL": "http/json"},
        {"COMPRESSION": "zstd"},
        {"TIMEOUT": "soon"},
        {"TIMEOUT": "0"},
        {"TIMEOUT": "-5"},
        {"TIMEOUT": "²"},
        {"CLIENT_KEY": "/key"},
        {"TRACES_CLIENT_CERTIFICATE": "/crt"},
        {"HEADERS": "secret"},
        {"ENDPOINT": "h:4318"},
        {"ENDPOINT": "ftp://h"},
        {"ENDPOINT": "http://"},
        {"ENDPOINT": "http://h:port"},
        {"ENDPOINT": "http://[::1"},
        {"ENDPOINT": "http://me:secret@h"},
        {"ENDPOINT": "http://h/a secret"},
    ],
)
def test_refuses_settings_it_would_have_to_ignore(env: dict[str, str]) -> None:
    full = {BASE + "ENDPOINT": "http://h"} | {BASE + name: value for name, value in env.items()}
    with pytest.raises(ConfigError) as caught:
        from_env(full)
    assert caught.value.code == "config.invalid"
    assert "secret" not in str(caught.value)


def test_headers_are_percent_encoded_pairs() -> None:
    assert parse_headers("authorization=Bearer%20a%3D%2C, x-team = blue ,") == (
        ("authorization", "Bearer a=,"),
        ("x-team", "blue"),
    )
    assert parse_headers("") == ()


@pytest.mark.parametrize("text", ["a", "=b", "a b=c", "ä=b", "a=b%0D%0AX: y", "a=%C3%A4", ":=c"])
def test_refuses_headers_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_headers(text)


@given(st.text(max_size=30))
def test_header_text_gives_headers_or_the_documented_error(text: str) -> None:
    try:
        found = parse_headers(text)
    except ConfigError:
        return
    for key, value in found:
        assert f"{key}{value}".isascii()
        assert f"{key}{value}".isprintable()


def test_credentials_stay_out_of_the_repr() -> None:
    assert "secret" not in repr(OtlpSettings(url="http://h", headers=(("a", "secret"),)))
