"""A URL that a stranger chose leads nowhere inside."""

import pytest

from atoll.errors import InputError, RefusedError
from atoll_gateway.webhooks.address import AddressRules, networks

STRICT = AddressRules()
HOME = AddressRules(loopback=True)


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://example.org", "example.org", 443, "/", "example.org"),
        ("https://example.org:8443/a?b=c", "example.org", 8443, "/a?b=c", "example.org:8443"),
        ("https://[2001:4860::1]/x", "2001:4860::1", 443, "/x", "[2001:4860::1]"),
        ("HTTPS://Example.org/", "example.org", 443, "/", "example.org"),
    ],
)
def test_reads_a_url(url: str, host: str, port: int, path: str, authority: str) -> None:
    target = STRICT.parse(url)
    assert (target.tls, target.host, target.port, target.path) == (True, host, port, path)
    assert target.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.org", "//example.org", "http://example.org", "ftp://example.org/"),
        *("https://", "https:///x", "https://user@example.org", "https://u:p@example.org"),
        *("https://example.org/#f", "https://example.org/a b", "https://example.org/\r\nX: y"),
        *("https://exämple.org", "https://example.org:99999", "https://example.org:x"),
        *("https://[::1", "https://a" + "b" * 1024, "file:///etc/passwd", "http://127.0.0.1/"),
        *("http://localhost/", "https://ex%61mple.org/"),
    ],
)
def test_refuses_what_is_no_address_for_it(url: str) -> None:
    with pytest.raises(InputError) as caught:
        STRICT.parse(url)
    assert caught.value.code == "webhook.url"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]/"])
def test_without_tls_only_at_home(url: str) -> None:
    assert not HOME.parse(url).tls
    with pytest.raises(InputError):
        HOME.parse("http://example.org/")


INSIDE = [
    *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::", "2001:db8::1"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_refuses_every_address_that_is_not_public(address: str) -> None:
    target = STRICT.parse("https://example.org/")
    with pytest.raises(RefusedError) as caught:
        STRICT.choose(target, [address])
    assert caught.value.code == "webhook.address"
    # One bad address among good ones is a name that somebody plays with.
    with pytest.raises(RefusedError):
        STRICT.choose(target, ["8.8.8.8", address])


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_takes_public_addresses(address: str) -> None:
    assert STRICT.choose(STRICT.parse("https://example.org/"), [address]) == address


def test_a_name_without_an_address_is_refused() -> None:
    with pytest.raises(RefusedError):
        STRICT.choose(STRICT.parse("https://example.org/"), [])


def test_the_operator_may_allow_networks_of_its_own() -> None:
    rules = AddressRules(networks=networks(["10.1.0.0/16", "fd00::/8"]))
    target = rules.parse("https://hooks.internal/")
    for inside in ("10.1.2.3", "fd00::1", "::ffff:10.1.2.3"):
        assert rules.choose(target, [inside]) == inside
    for outside in ("10.2.0.1", "127.0.0.1", "169.254.169.254"):
        with pytest.raises(RefusedError):
            rules.choose(target, [outside])
    with pytest.raises(InputError):
        networks(["10.1.0.1/16"])
