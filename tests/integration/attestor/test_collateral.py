"""Collateral from a server that may do anything, from files, and shared over the bus."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from atoll.bus import Bus, KeyValue, provision
from atoll.bus.jetstream import purge
from atoll.errors import AtollError, ConfigError, EvidenceError
from atoll.evidence.products import Product
from atoll.evidence.trust import PRODUCTION
from atoll.wire import schema, topology
from atoll_attestor.collateral.cache import CrlCache, keep_fresh, refresh
from atoll_attestor.collateral.fetch import Fetcher, Limits
from atoll_attestor.collateral.importing import import_directory
from atoll_attestor.collateral.store import DocumentStore
from integration.attestor import kds
from integration.attestor.kds import FakeKds
from support import vectors
from support.crls import DAY, crl, record
from support.evidence import NOW, chain, trust
from support.nats import wait_for

LIMITS = Limits(max_bytes=1000, timeout_s=5, attempts=3, first_pause_s=1.0, max_pause_s=10)
SLOW = Limits(timeout_s=0.2, attempts=1)


@pytest.fixture
def fake() -> Iterator[FakeKds]:
    with kds.serving() as served:
        yield served


@pytest_asyncio.fixture
async def fresh(bus: Bus) -> AsyncIterator[Bus]:
    await provision(bus, buckets=[topology.COLLATERAL])
    await purge(bus, "KV_collateral", ">")
    yield bus


class Pauses:
    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


async def code_of(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(AtollError) as caught:
        await fetcher.get(url)
    return caught.value.code


async def test_a_document_below_an_allowed_url_is_fetched(fake: FakeKds) -> None:
    fake.answers["/a/doc?x=1"] = [kds.body(b"content")]
    assert await Fetcher([f"{fake.base}/a"], LIMITS).get(f"{fake.base}/a/doc?x=1") == b"content"


async def test_nothing_else_is_asked_for(fake: FakeKds) -> None:
    fetcher = Fetcher([f"{fake.base}/a"], LIMITS)
    for url in (
        f"{fake.base}/b",
        f"{fake.base}/ab",
        f"{fake.base}/a/../b",
        f"{fake.base}/a/b#c",
        f"{fake.base}/a/b c",
        f"{fake.base.replace('127.0.0.1', 'user@127.0.0.1')}/a/b",
        "http://example.com/a/b",
        "https://127.0.0.1/a/b",
        "file:///a/b",
        "nonsense",
        "http://[/a",
    ):
        assert await code_of(fetcher, url) == "collateral.not_allowed", url
    assert await code_of(Fetcher([]), f"{fake.base}/a/b") == "collateral.not_allowed"
    assert fake.asked == []


@pytest.mark.parametrize(
    "base", ["http://example.com", "ftp://127.0.0.1", "", "https://", "https://a@b", "https://a?b"]
)
def test_a_base_that_is_no_https_url_stops_the_start(base: str) -> None:
    with pytest.raises(ConfigError):
        Fetcher([base])


async def test_a_server_that_is_busy_is_asked_again_when_it_says(fake: FakeKds) -> None:
    busy = [kds.status(429, Retry_After="7"), kds.status(503), kds.body(b"late")]
    fake.answers["/doc"] = busy
    pauses = Pauses()
    assert await Fetcher([fake.base], LIMITS, pause=pauses).get(f"{fake.base}/doc") == b"late"
    assert pauses.taken == [7.0, 2.0]


async def test_a_server_cannot_make_us_wait_for_long(fake: FakeKds) -> None:
    fake.answers["/doc"] = [kds.status(429, Retry_After="86400")]
    pauses = Pauses()
    fetcher = Fetcher([fake.base], LIMITS, pause=pauses)
    assert await code_of(fetcher, f"{fake.base}/doc") == "collateral.unreachable"
    assert pauses.taken == [10, 10]


@pytest.mark.parametrize(
    ("answer", "code", "times"),
    [
        (kds.status(404), "collateral.status", 1),
        (kds.status(302, Location="/other"), "collateral.status", 1),
        (kds.status(206), "collateral.status", 1),
        (kds.body(bytes(1001)), "collateral.too_large", 1),
        (kds.cut(b"half"), "collateral.unreachable", 3),
        (kds.raw(b"SSH-2.0-x\r\n"), "collateral.unreachable", 3),
        (kds.raw(b""), "collateral.unreachable", 3),
        (kds.raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n"), "collateral.unreachable", 3),
    ],
)
async def test_a_bad_answer_is_refused_by_code(
    fake: FakeKds, answer: kds.Answer, code: str, times: int
) -> None:
    fake.answers["/doc"] = [answer]
    fetcher = Fetcher([fake.base], LIMITS, pause=Pauses())
    assert await code_of(fetcher, f"{fake.base}/doc") == code
    assert fake.asked == ["/doc"] * times


async def test_a_server_that_drips_is_hung_up_on(fake: FakeKds) -> None:
    done = threading.Event()
    fake.answers["/doc"] = [kds.dripping(done)]
    try:
        assert await code_of(Fetcher([fake.base], SLOW), f"{fake.base}/doc") == (
            "collateral.unreachable"
        )
    finally:
        done.set()


async def test_a_list_is_kept_for_all_replicas_and_after_a_restart(fresh: Bus) -> None:
    one, other = CrlCache(fresh, trust()), CrlCache(fresh, trust())
    async with asyncio.TaskGroup() as group:
        following = group.create_task(other.follow())
        assert await one.offer(record(crl()))
        await wait_for(lambda: bool(other.known), "the other replica has it")
        following.cancel()
    started = CrlCache(fresh, trust())
    await started.load()
    assert started.known == one.known


async def test_only_a_newer_list_takes_the_place(fresh: Bus) -> None:
    cache = CrlCache(fresh, trust())
    older, newer = crl(start=NOW - 2 * DAY), crl(start=NOW - timedelta(hours=1))
    assert await cache.offer(record(newer))
    assert not await cache.offer(record(older))
    assert not await cache.offer(record(newer))
    assert cache.known[Product.SIMULATED].crl == newer


async def test_a_list_that_no_root_signed_is_not_kept_nor_used_from_the_bucket(fresh: Bus) -> None:
    cache = CrlCache(fresh, trust())
    forged = record(crl(signer="ask"))
    with pytest.raises(EvidenceError):
        await cache.offer(forged)
    bucket = KeyValue(fresh, topology.COLLATERAL)
    await bucket.put("crl.Simulated", schema.encode(forged))
    await bucket.put("crl.Milan", b"no record")
    await cache.load()
    assert not cache.known
    assert await cache.offer(record(crl()))


async def test_files_are_taken_and_useless_ones_told(
    fresh: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ark.pem").write_bytes(chain().ark_pem)
    (tmp_path / "bad.pem").write_bytes(b"-----no")
    (tmp_path / "bad.crl").write_bytes(b"garbage")
    (tmp_path / "huge.crl").write_bytes(bytes(100_000))
    (tmp_path / "good.crl").write_bytes(crl())
    cache, store = CrlCache(fresh, trust()), DocumentStore(fresh, trust())
    assert await import_directory(cache, store, tmp_path) == 1
    assert set(cache.known) == {Product.SIMULATED}
    for name in ("bad.pem", "bad.crl", "huge.crl"):
        assert name in caplog.text
    with pytest.raises(ConfigError):
        await import_directory(cache, store, tmp_path / "missing")


async def test_amds_lists_are_fetched_and_what_fails_leaves_the_others(
    fresh: Bus, fake: FakeKds
) -> None:
    vectors.require()
    pem = vectors.read("snp/certs/ask-genoa.pem") + vectors.read("snp/certs/ark-genoa.pem")
    genoa = vectors.read("snp/crls/crl-genoa-2024.der")
    fake.answers = {
        "/vcek/v1/Milan/cert_chain": [kds.body(b"-----garbage")],
        "/vcek/v1/Genoa/cert_chain": [kds.body(pem)],
        "/vcek/v1/Genoa/crl": [kds.body(genoa)],
        "/vcek/v1/Turin/cert_chain": [kds.body(pem)],
        "/vcek/v1/Turin/crl": [kds.body(genoa)],
    }
    cache = CrlCache(fresh, PRODUCTION)
    fetcher = Fetcher([fake.base], Limits(attempts=1))
    await refresh(cache, fetcher, fake.base)
    assert {product: found.crl for product, found in cache.known.items()} == {Product.GENOA: genoa}
    fake.answers = {}
    await refresh(cache, fetcher, fake.base)
    assert set(cache.known) == {Product.GENOA}


async def test_it_is_asked_now_and_then(fresh: Bus, fake: FakeKds) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise asyncio.CancelledError

    fetcher = Fetcher([fake.base], Limits(attempts=1))
    with pytest.raises(asyncio.CancelledError):
        await keep_fresh(CrlCache(fresh, PRODUCTION), fetcher, fake.base, 60.0, pause)
    assert pauses == [60.0, 60.0]
    assert len(fake.asked) == 6
