"""No gateway starts on token material, limits or TLS files that are none."""

from pathlib import Path

import pytest

from atoll import settings
from atoll.errors import ConfigError
from atoll_gateway.config import PREFIX, GatewayConfig
from support.access import OPERATOR


def config(tmp_path: Path, **changes: str) -> GatewayConfig:
    env = {
        "nats_url": "nats://127.0.0.1:4222",
        "nats_creds_file": "gateway.creds",
        "http_token_file": str(tmp_path / "http-token"),
        **changes,
    }
    return settings.read(
        GatewayConfig, PREFIX, {PREFIX + name.upper(): value for name, value in env.items()}
    )


def test_the_token_file_holds_a_token(tmp_path: Path) -> None:
    (tmp_path / "http-token").write_text(OPERATOR.text + "\n")
    assert config(tmp_path).first_token() == OPERATOR


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\n",
        b"short",
        b"x" * 68,
        OPERATOR.text[:-1].encode(),
        OPERATOR.text.encode() * 2,
        b"changeme",
        "é".encode() * 40,
        b"atoll_000000000000_",
    ],
)
def test_without_a_whole_token_there_is_no_default(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "http-token").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config(tmp_path).first_token()
    assert caught.value.code == "http.token"


def test_the_token_file_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.read(GatewayConfig, PREFIX, {PREFIX + "NATS_URL": "x"})
    assert caught.value.code == "config.missing"


@pytest.mark.parametrize(
    "name",
    [
        "http_rate_per_token",
        "http_burst_per_token",
        "http_rate_per_address",
        "http_burst_per_address",
        "http_failures_per_minute",
        "http_requests",
        "http_requests_per_token",
        "http_streams_per_token",
        "http_connections",
        "http_connections_per_address",
    ],
)
@pytest.mark.parametrize("value", ["0", "-1"])
def test_a_limit_is_above_zero(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, **{name: value}).limits()
    assert caught.value.code == "http.limits"


def test_certificate_and_key_go_together(tmp_path: Path) -> None:
    assert config(tmp_path).tls_files() is None
    files = config(tmp_path, http_tls_cert_file="c", http_tls_key_file="k").tls_files()
    assert files is not None
    assert files.all == (Path("c"), Path("k"))
    for names in (["cert"], ["key"], ["client_ca"], ["cert", "client_ca"]):
        with pytest.raises(ConfigError) as caught:
            config(tmp_path, **{f"http_tls_{name}_file": "x" for name in names}).tls_files()
        assert caught.value.code == "http.tls_files"
