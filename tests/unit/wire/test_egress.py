"""A host's list: what it lets out, by names as they stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll.wire import schema
from atoll.wire.egress import HOST, MAX_RULES, Allowance, Place, Rule, is_address, is_host

HOSTS = st.from_regex(HOST, fullmatch=True).filter(lambda it: len(it) <= 120)
PORTS = st.integers(1, 65_535)


@schema.message
class Said:
    """As they stand in messages."""

    place: Place = "a:1"
    rule: Rule = "a:1"


LIST = Allowance.parse(("Example.org:443", "*.cloud.example:443", "10.0.0.5:5432", " a:1 "))


@pytest.mark.parametrize(
    ("host", "port", "permitted"),
    [
        ("example.org", 443, True),
        ("example.org", 80, False),
        ("www.example.org", 443, False),
        ("example.org.evil.example", 443, False),
        ("a.cloud.example", 443, True),
        ("b.a.cloud.example", 443, True),
        ("cloud.example", 443, False),
        ("notcloud.example", 443, False),
        ("a.cloud.example", 444, False),
        ("10.0.0.5", 5432, True),
        ("10.0.0.5", 443, False),
        ("a", 1, True),
    ],
)
def test_what_a_list_lets_out(host: str, port: int, *, permitted: bool) -> None:
    assert LIST.permits(host, port) is permitted


def test_the_empty_list_lets_nothing_out() -> None:
    assert Allowance.parse(()) == Allowance()
    assert not Allowance().permits("example.org", 443)


def test_a_name_above_an_address_does_not_let_the_address_out() -> None:
    assert not Allowance.parse(("*.1:80",)).permits("127.0.0.1", 80)


@pytest.mark.parametrize(
    "rule",
    [
        *("", "example.org", ":443", "example.org:0", "example.org:65536", "example.org:0443"),
        *("*:443", "*.*.org:443", "a.*.org:443", "*.10.0.0.5:443", "-a.org:1", "a-.org:1"),
        *("[::1]:443", "http://example.org:443", "exa mple.org:1", "a..b:1", "a.org.:1"),
        *("x" * 64 + ":1", "a." * 127 + "ab:1", "\u00fc.example:1", "a:1\nb:1"),
    ],
)
def test_refuses_what_is_no_rule(rule: str) -> None:
    with pytest.raises(InputError) as caught:
        Allowance.parse((rule,))
    assert caught.value.code == "egress.rule"


def test_a_list_has_an_end() -> None:
    Allowance.parse(f"h{n}:1" for n in range(MAX_RULES))
    with pytest.raises(InputError):
        Allowance.parse(f"h{n}:1" for n in range(MAX_RULES + 1))


def test_the_first_that_is_not_let_out_is_named() -> None:
    places = ("example.org:443", "x.cloud.example:443")
    assert LIST.first_refused(places) is None
    assert LIST.first_refused((*places, "b:1", "c:1")) == "b:1"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1", True),
        *((text, False) for text in ("127.1", "2130706433", "0x7f.1", "127.0.0.01", "a.b", "::1")),
    ],
)
def test_an_address_is_one_in_its_usual_form(text: str, *, found: bool) -> None:
    assert is_address(text) is found


@given(HOSTS, PORTS)
def test_a_host_is_let_out_by_itself_and_by_what_is_above_it(host: str, port: int) -> None:
    assert is_host(host)
    assert Allowance((f"{host}:{port}",)).permits(host, port)
    assert not Allowance((f"*.{host}:{port}",)).permits(host, port)
    assert Allowance((f"*.{host}:{port}",)).permits(f"a.{host}", port) is not is_address(
        f"a.{host}"
    )


@given(st.text(max_size=300), st.text(max_size=300), PORTS)
def test_any_text_is_a_rule_or_refused(rule: str, host: str, port: int) -> None:
    try:
        found = Allowance.parse((rule,))
    except InputError as error:
        assert error.code == "egress.rule"  # noqa: PT017
        return
    (kept,) = found.rules
    assert schema.from_plain(Said, {"rule": kept}).rule == kept
    assert found.permits(host, port) <= (kept == f"{host}:{port}" or kept.startswith("*."))


@given(HOSTS, PORTS)
def test_what_a_manifest_can_name_is_a_place(host: str, port: int) -> None:
    schema.from_plain(Said, {"place": f"{host}:{port}"})
