"""What evidence lacks is fetched while somebody waits: what may be asked, how often, how long."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from atoll.bus import Bus, provision
from atoll.bus.jetstream import purge
from atoll.evidence.certs import VekExtensions
from atoll.evidence.needed import collateral_of
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.evidence.x509 import Certificate
from atoll.wire import topology
from atoll_attestor import ports
from atoll_attestor.collateral.cache import CrlCache, fetch_crl
from atoll_attestor.collateral.fetch import Fetcher, Limits
from atoll_attestor.collateral.kds import Kds, vcek_path
from atoll_attestor.collateral.pcs import Pcs
from atoll_attestor.collateral.store import DocumentStore
from atoll_attestor.gathering import Gathering
from integration.attestor import kds, pcs
from integration.attestor.kds import FakeKds
from support import dcap, intel_pcs, vectors
from unit.attestor import given

MILAN = "snp-milan-v3-05b7438a"
CHAIN = "/vcek/v1/Milan/cert_chain"


@pytest.fixture
def fake() -> Iterator[FakeKds]:
    with kds.serving() as served:
        yield served


@pytest_asyncio.fixture
async def fresh(bus: Bus) -> AsyncIterator[Bus]:
    await provision(bus, buckets=[topology.COLLATERAL])
    await purge(bus, "KV_collateral", ">")
    yield bus


def intel(fake: FakeKds, bus: Bus) -> Pcs:
    return Pcs(
        fetcher=Fetcher([fake.base], Limits(attempts=1)),
        store=DocumentStore(bus, intel_pcs.own_trust()),
        base=fake.base + "/",
        root_crl_url=fake.base + pcs.ROOT_CRL,
    )


def gathering(documents: ports.Documents, trust: TrustStore, **changes: Any) -> Gathering:
    return Gathering(trust=trust, crls=given.MemoryCrls(), documents=documents, **changes)


def milan() -> tuple[dict[str, Any], bytes]:
    """A genuine report's case, and the report."""
    vectors.require()
    case = next(one for one in vectors.of_kind("snp_report") if one["id"] == MILAN)
    return case, vectors.read(case["path"])


async def test_a_vcek_is_fetched_for_a_report_that_came_without(
    fresh: Bus, fake: FakeKds, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, report = milan()
    vcek, ask, ark = (vectors.read(path) for path in case["files"]["certs"])
    vek = VekExtensions.of(Certificate.from_bytes(vcek))
    assert vek.hwid is not None
    fake.answers[CHAIN] = [kds.body(ask + ark)]
    fake.answers[vcek_path(vek.product, vek.hwid, vek.tcb)] = [kds.status(404), kds.body(vcek)]
    store = DocumentStore(fresh, PRODUCTION)
    fetcher = Fetcher([fake.base], Limits(attempts=1))
    asked = Kds(fetcher=fetcher, store=store, base=fake.base)
    found = gathering(store, PRODUCTION, kds=asked)
    monkeypatch.setattr("atoll_attestor.gathering.PAUSE_S", 0.0)
    gathered = [(await found.for_snp(report, ())).files["certs"] for _ in range(3)]
    assert gathered == [(), (vcek, ask + ark), (vcek, ask + ark)]
    assert len(fake.asked) == 3


async def test_what_a_quote_needs_is_fetched_while_somebody_waits(
    fresh: Bus, fake: FakeKds
) -> None:
    pcs.serve(fake, intel_pcs.own())
    asked = intel(fake, fresh)
    found = gathering(asked.store, intel_pcs.own_trust(), pcs=asked)
    quote = dcap.Platform().quote()
    gathered = await found.for_quote(quote, (), dcap.NOW)
    assert gathered.lacks == ""
    assert collateral_of(gathered.files) is not None
    assert len(fake.asked) == 4
    assert (await found.for_quote(quote, (), dcap.NOW)).lacks == ""
    assert len(fake.asked) == 4


async def test_what_has_expired_is_asked_for_again_once_in_a_while(
    fresh: Bus, fake: FakeKds, caplog: pytest.LogCaptureFixture
) -> None:
    pcs.serve(fake, intel_pcs.own())
    asked = intel(fake, fresh)
    found = gathering(asked.store, intel_pcs.own_trust(), pcs=asked)
    quote, late = dcap.Platform().quote(), dcap.NOW + timedelta(days=40)
    assert (await found.for_quote(quote, (), dcap.NOW)).lacks == ""
    fake.asked.clear()
    for _ in range(2):
        assert "collateral.expired" in (await found.for_quote(quote, (), late)).lacks
    assert fake.asked == []
    fresh_start = gathering(asked.store, intel_pcs.own_trust(), pcs=asked)
    for _ in range(2):
        assert "collateral.expired" in (await fresh_start.for_quote(quote, (), late)).lacks
    assert len(fake.asked) == 4


async def test_intel_is_not_asked_about_what_no_trusted_root_stands_behind(
    fresh: Bus, fake: FakeKds
) -> None:
    pcs.serve(fake, intel_pcs.own())
    asked = intel(fake, fresh)
    for trust, quote in (
        (PRODUCTION, dcap.Platform().quote()),
        (intel_pcs.own_trust(), dcap.Platform(qe_signer="root").quote()),
    ):
        gathered = await gathering(asked.store, trust, pcs=asked).for_quote(quote, (), dcap.NOW)
        assert "collateral.missing" in gathered.lacks
    assert fake.asked == []


async def test_a_service_that_does_not_answer_delays_nobody_for_long(
    fresh: Bus, fake: FakeKds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("atoll_attestor.gathering.ASKING_S", 0.05)
    asked = intel(fake, fresh)

    found = gathering(asked.store, intel_pcs.own_trust(), pcs=asked)
    async with found._asking:  # somebody else's fetch that hangs
        gathered = await found.for_quote(dcap.Platform().quote(), (), dcap.NOW)
    assert "collateral.missing" in gathered.lacks
    assert "no answer within" in caplog.text


async def test_the_list_of_a_reports_root_is_fetched_and_shared(fresh: Bus, fake: FakeKds) -> None:
    case, report = milan()
    certs = [vectors.read(path) for path in case["files"]["certs"]]
    (recorded,) = (vectors.read(path) for path in case["files"]["crls"])
    fake.answers[CHAIN] = [kds.body(certs[1] + certs[2])]
    fake.answers["/vcek/v1/Milan/crl"] = [kds.body(recorded)]
    cache, fetcher = CrlCache(fresh, PRODUCTION), Fetcher([fake.base], Limits(attempts=1))
    found = Gathering(
        trust=PRODUCTION,
        crls=cache,
        documents=given.MemoryDocuments(),
        fetch_crl=partial(fetch_crl, cache, fetcher, fake.base),
    )
    for _ in range(2):
        assert (await found.for_snp(report, certs)).files["crls"] == (recorded,)
    assert len(fake.asked) == 2
