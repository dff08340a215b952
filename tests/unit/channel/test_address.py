"""Where a channel is, how a stream names its service, and how many may be opened."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.channel import greeting
from atoll.channel.address import Address, Kind
from atoll.channel.limits import Limits, Opens
from atoll.errors import ConfigError, MessageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("serial:atoll.channel", Address(Kind.SERIAL, "atoll.channel")),
        ("vsock:4222", Address(Kind.VSOCK, port=4222)),
        ("unix:/run/atoll/sock", Address(Kind.UNIX, "/run/atoll/sock")),
        ("tcp:10.0.2.2:4000", Address(Kind.TCP, "10.0.2.2", 4000)),
        ("tcp:[fe80::1]:4000", Address(Kind.TCP, "fe80::1", 4000)),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "serial:", "serial:../etc", "vsock:0", "vsock:4294967295", "vsock:+1"),
        *("vsock:\u0661", "unix:x", "unix:/a\0b", "tcp:host", "tcp:host:0", "tcp:host:65536"),
        *("tcp::1", "udp:h:1", "tcp:a b:1", "unix:/" + "x" * 600),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse(text)
    assert caught.value.code == "channel.address"


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        assert Address.parse(str(Address.parse(text))) == Address.parse(text)
    except ConfigError as error:
        assert error.code == "channel.address"  # noqa: PT017


def test_a_stream_says_what_it_wants() -> None:
    assert greeting.encode("bus") == b"atoll.channel 1 bus\n"
    assert greeting.decode(b"atoll.channel 1 bus.2\n") == "bus.2"


@given(st.binary(max_size=80))
def test_any_line_is_a_greeting_or_refused(line: bytes) -> None:
    try:
        assert greeting.encode(greeting.decode(line)) == line
    except MessageError as error:
        assert error.code in {"channel.greeting", "channel.service"}  # noqa: PT017


@pytest.mark.parametrize(
    "line", [b"atoll.channel 1 bus", b"atoll.channel 2 bus\n", b"bus\n", b"atoll.channel 1 B\n"]
)
def test_a_line_that_is_no_greeting_is_refused(line: bytes) -> None:
    with pytest.raises(MessageError):
        greeting.decode(line)


def test_a_burst_of_opens_is_fine_and_then_so_many_a_second() -> None:
    opens = Opens(Limits(burst=3, opens_per_s=2.0), now=10.0)
    for _ in range(3):
        opens.count(10.0)
    opens.count(10.5)
    with pytest.raises(MessageError) as caught:
        opens.count(10.6)
    assert caught.value.code == "channel.opens"


def test_nothing_is_saved_up_beyond_the_burst() -> None:
    opens = Opens(Limits(burst=1, opens_per_s=2.0), now=0.0)
    opens.count(1000.0)
    with pytest.raises(MessageError):
        opens.count(1000.0)
