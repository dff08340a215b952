"""HOST:PORT, and nothing that only looks like it."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_cli.stack.address import LOOPBACK, MAX_PORT, is_free, parse


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("example.org:0", ("example.org", 0)),
        (":80", (LOOPBACK, 80)),
        ("80", (LOOPBACK, 80)),
        ("[::1]:80", ("::1", 80)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_an_address_is_read(text: str, want: tuple[str, int]) -> None:
    assert parse(text) == want


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "host", "host:", "host:x", "host:65536", "host:-1", "a b:80", "[::1:80"),
        *("::1]:80", "::1:80", "host:٣", "h:1:2", "host:" + "9" * 5000, "host:80\n", "[]:80"),
        "\0:80",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert caught.value.code == "address.invalid"


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_the_one_error(text: str) -> None:
    try:
        host, port = parse(text)
    except InputError:
        return
    assert host
    assert 0 <= port <= MAX_PORT


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        assert not is_free(LOOPBACK, taken.getsockname()[1])
    assert is_free(LOOPBACK, 0)


@pytest.mark.parametrize("port", [-1, MAX_PORT + 1, 1 << 70])
def test_a_port_that_does_not_exist_is_not_free(port: int) -> None:
    assert not is_free(LOOPBACK, port)
