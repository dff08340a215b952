"""The page that Prometheus scrapes: over a real socket, also when clients misbehave."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from atoll.errors import ConfigError
from atoll.telemetry.metrics import table
from atoll.telemetry.metrics.metric import Kind
from atoll.telemetry.metrics.prometheus import MAX_SCRAPES, PrometheusMeter, serving
from atoll.telemetry.metrics.wiring import exporting

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def url() -> Iterator[str]:
    with serving("0", PrometheusMeter("manager").registry) as url:
        yield url


def scrape(url: str, accept: str = "text/plain") -> str:
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def test_every_metric_of_a_service_is_on_its_page_with_its_kind(url: str) -> None:
    families = {each.name: each for each in text_string_to_metric_families(scrape(url))}
    wanted = [each for each in table.METRICS if table.MANAGER in each.services]

    for metric in wanted:
        base = metric.name.removesuffix("_total")
        family = families.get(base) or families[metric.name]
        assert family.type == metric.kind.value, metric.name
        assert family.documentation == metric.text
    others = {each.name.removesuffix("_total") for each in table.METRICS if each not in wanted}
    assert not others & set(families)


def test_openmetrics_is_served_to_who_asks_for_it(url: str) -> None:
    page = scrape(url, OPENMETRICS)
    families = list(openmetrics_parser.text_string_to_metric_families(page))  # type: ignore[no-untyped-call]

    assert page.endswith("# EOF\n")
    assert {each.type for each in families} >= {Kind.GAUGE.value, Kind.COUNTER.value}


def test_clients_that_say_nothing_take_no_more_than_their_places(url: str) -> None:
    address = ("127.0.0.1", int(url.split(":")[2].split("/", maxsplit=1)[0]))
    with ExitStack() as stack:
        for _ in range(MAX_SCRAPES):
            silent = stack.enter_context(socket.create_connection(address))
            silent.sendall(b"GET /metrics HT")
        beyond = stack.enter_context(socket.create_connection(address))
        beyond.settimeout(10)
        # Turned away at once, long before the silent ones are.
        assert beyond.recv(1) == b""

    def served() -> bool:
        try:
            return "atoll_build_info" in scrape(url)
        except (urllib.error.URLError, ConnectionError):
            return False

    assert any(served() for _ in range(1000))


@pytest.mark.parametrize("request_", [b"\x00" * 4096, b"GET " + b"/" * 70_000 + b"\r\n\r\n"])
def test_nonsense_ends_its_own_connection_only(url: str, request_: bytes) -> None:
    address = ("127.0.0.1", int(url.split(":")[2].split("/", maxsplit=1)[0]))
    with socket.create_connection(address) as odd:
        odd.settimeout(10)
        odd.sendall(request_)
        odd.shutdown(socket.SHUT_WR)
        while True:
            try:
                if not odd.recv(65_536):
                    break
            except ConnectionError:
                break

    assert "atoll_build_info" in scrape(url)


@pytest.mark.parametrize("address", ["nowhere", "1.2.3.4.5:1", "127.0.0.1:99999", "[::1", "x:-1"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with (
        pytest.raises(ConfigError) as caught,
        serving(address, PrometheusMeter("manager").registry),
    ):
        pass

    assert caught.value.code == "metrics.address"


def test_a_taken_port_is_named(url: str) -> None:
    taken = url.removeprefix("http://").removesuffix("/metrics")
    with (
        pytest.raises(ConfigError) as caught,
        serving(taken, PrometheusMeter("manager").registry),
    ):
        pass

    assert caught.value.code == "metrics.port_in_use"
    assert taken in caught.value.message


async def test_without_an_address_nothing_is_exported() -> None:
    async with exporting("", "gateway") as exported:
        assert not exported.on
        assert exported.facts == {}


async def test_the_page_is_gone_when_the_service_is() -> None:
    async with exporting("0", "gateway") as exported:
        url = exported.facts["metrics"]
        assert url.startswith("http://127.0.0.1:")
        assert 'atoll_build_info{protocol="' in scrape(url)
    with pytest.raises(urllib.error.URLError):
        scrape(url)
