"""Intel's and AMD's services, replayed and misbehaving; documents shared over the bus."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from atoll.bus import Bus, KeyValue, provision
from atoll.bus.jetstream import purge
from atoll.errors import AtollError, InputError
from atoll.evidence.certs import Signer, VekExtensions
from atoll.evidence.products import Product, TcbVersion
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.evidence.x509 import Certificate
from atoll.wire import schema, topology
from atoll.wire.verification import MAX_CHAIN, CollateralRecord
from atoll_attestor.collateral import pcs as client
from atoll_attestor.collateral import store as stores
from atoll_attestor.collateral.fetch import Fetcher, Limits
from atoll_attestor.collateral.kds import Kds, vcek_path
from atoll_attestor.collateral.pcs import Pcs
from atoll_attestor.collateral.store import DocumentStore
from integration.attestor import kds, pcs
from integration.attestor.kds import FakeKds
from support import dcap, intel_pcs, vectors
from support.intel_pcs import Served, envelope
from support.nats import wait_for

TCB = f"intel.tcb.tdx.{dcap.FMSPC}"
PLATFORM = bytes.fromhex(dcap.FMSPC)
MILAN = "snp-milan-v3-05b7438a"
VCEK = "snp/certs/vek-01faeb5deb01.der"


@pytest.fixture
def fake() -> Iterator[FakeKds]:
    with kds.serving() as served:
        yield served


@pytest_asyncio.fixture
async def fresh(bus: Bus) -> AsyncIterator[Bus]:
    await provision(bus, buckets=[topology.COLLATERAL])
    await purge(bus, "KV_collateral", ">")
    yield bus


def intel(fake: FakeKds, bus: Bus, trust: TrustStore | None = None) -> Pcs:
    return Pcs(
        fetcher=Fetcher([fake.base], Limits(attempts=1)),
        store=DocumentStore(bus, trust or intel_pcs.own_trust()),
        base=fake.base + "/",
        root_crl_url=fake.base + pcs.ROOT_CRL,
    )


def amd(fake: FakeKds, bus: Bus) -> Kds:
    fetcher = Fetcher([fake.base], Limits(attempts=1))
    return Kds(fetcher=fetcher, store=DocumentStore(bus, PRODUCTION), base=fake.base)


async def code_of(awaitable: Any) -> str:
    with pytest.raises(AtollError) as caught:
        await awaitable
    return caught.value.code


async def test_intels_recorded_documents_are_fetched_and_believed(
    fresh: Bus, fake: FakeKds
) -> None:
    vectors.require()
    _, documents = intel_pcs.recorded()
    pcs.serve(fake, documents)
    asked = intel(fake, fresh, PRODUCTION)
    fmspc = next(key.rpartition(".")[2] for key in documents if ".tcb." in key)
    await asked.refresh([bytes.fromhex(fmspc)])
    assert set(asked.store.known) == set(documents)
    for key, served in documents.items():
        assert asked.store.known[key].body == served.body


async def test_what_is_known_is_asked_for_again_and_what_fails_stays(
    fresh: Bus, fake: FakeKds, caplog: pytest.LogCaptureFixture
) -> None:
    pcs.serve(fake, intel_pcs.own())
    asked = intel(fake, fresh)
    await asked.refresh([PLATFORM])
    before = dict(asked.store.known)
    assert set(before) == set(intel_pcs.own())
    fake.answers.clear()
    fake.asked.clear()
    await asked.refresh([])
    assert asked.store.known == before
    assert pcs.path(TCB) in fake.asked
    assert "no new CRL of the root" in caplog.text


async def test_a_newer_document_takes_the_place_and_an_older_one_does_not(
    fresh: Bus, fake: FakeKds
) -> None:
    issued = dcap.moment(dcap.NOW - timedelta(hours=1))
    newer = Served(
        body=envelope("tcbInfo", dcap.signed(dcap.tcb_info(issueDate=issued))),
        chain=dcap.tcb_chain(),
    )
    asked = intel(fake, fresh)
    for served, taken in ((intel_pcs.own()[TCB], True), (newer, True), (newer, False)):
        pcs.serve(fake, {TCB: served})
        assert await asked.get_tcb_info("tdx", PLATFORM) is taken
    pcs.serve(fake, intel_pcs.own())
    assert not await asked.get_tcb_info("tdx", PLATFORM)
    assert asked.store.known[TCB].body == newer.body


async def test_another_document_than_was_asked_for_is_not_kept(fresh: Bus, fake: FakeKds) -> None:
    own = intel_pcs.own()
    asked = intel(fake, fresh)
    other = bytes(6)
    pcs.serve(fake, {f"intel.tcb.tdx.{other.hex()}": own[TCB], "intel.qe.sgx": own["intel.qe.tdx"]})
    assert await code_of(asked.get_tcb_info("tdx", other)) == "collateral.other"
    assert await code_of(asked.get_qe_identity("sgx")) == "collateral.other"
    assert not asked.store.known


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "collateral.chain"),
        ({pcs.HEADERS["tcb"]: "nonsense"}, "collateral.chain"),
        ({pcs.HEADERS["qe"]: "A" * (client.MAX_HEADER + 1)}, "collateral.chain"),
        ({pcs.HEADERS["qe"]: "-----BEGIN%20CERTIFICATE-----%0A"}, "evidence.malformed"),
        ({pcs.HEADERS["qe"]: "%FF%FE"}, "collateral.chain"),
    ],
)
async def test_a_chain_that_is_none_is_refused(
    fresh: Bus, fake: FakeKds, headers: dict[str, str], code: str
) -> None:
    body = intel_pcs.own()["intel.qe.tdx"].body
    fake.answers[pcs.path("intel.qe.tdx")] = [kds.body(body, headers)]
    asked = intel(fake, fresh)
    assert await code_of(asked.get_qe_identity("tdx")) == code
    assert not asked.store.known


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (kds.status(404), "collateral.status"),
        (kds.status(503), "collateral.unreachable"),
        (kds.cut(b"half"), "collateral.unreachable"),
    ],
)
async def test_a_service_that_fails_is_told_by_code(
    fresh: Bus, fake: FakeKds, answer: kds.Answer, code: str
) -> None:
    fake.answers[pcs.path(TCB)] = [answer]
    assert await code_of(intel(fake, fresh).get_tcb_info("tdx", PLATFORM)) == code


async def test_changed_documents_are_refused(fresh: Bus, fake: FakeKds) -> None:
    own = intel_pcs.own()
    changed = {key: intel_pcs.flipped(served, len(served.body) // 2) for key, served in own.items()}
    pcs.serve(fake, changed)
    asked = intel(fake, fresh)
    await asked.refresh([PLATFORM])
    assert not asked.store.known


async def test_the_roots_list_waits_until_the_root_is_known(fresh: Bus, fake: FakeKds) -> None:
    pcs.serve(fake, intel_pcs.own())
    asked = intel(fake, fresh)
    assert await code_of(asked.get_root_crl()) == "collateral.chain"
    assert await asked.get_qe_identity("tdx")
    assert await asked.get_root_crl()


async def test_without_a_url_nothing_is_asked_for(fresh: Bus, fake: FakeKds) -> None:
    offline = replace(intel(fake, fresh), fetcher=Fetcher([]))
    assert await code_of(offline.get_tcb_info("tdx", PLATFORM)) == "collateral.not_allowed"
    assert fake.asked == []


async def test_documents_are_shared_and_survive_a_restart(fresh: Bus) -> None:
    one, other = (DocumentStore(fresh, intel_pcs.own_trust()) for _ in range(2))
    async with asyncio.TaskGroup() as group:
        following = [group.create_task(other.follow(item)) for item in stores.PATTERNS]
        for served in intel_pcs.own().values():
            assert await one.offer(served.body, served.chain)
        await wait_for(lambda: len(other.known) == len(one.known), "the other replica has them")
        for task in following:
            task.cancel()
    started = DocumentStore(fresh, intel_pcs.own_trust())
    await started.load()
    assert started.known == one.known == other.known


async def test_what_the_bucket_holds_is_verified_again(fresh: Bus) -> None:
    own = intel_pcs.own()
    bucket = KeyValue(fresh, topology.COLLATERAL)

    def record(served: Served) -> bytes:
        made = CollateralRecord(body=served.body, chain=served.chain, fetched_ms=0)
        return schema.encode(made)

    await bucket.put("intel.qe.sgx", record(own["intel.qe.tdx"]))
    await bucket.put(TCB, record(intel_pcs.flipped(own[TCB], 40)))
    await bucket.put("amd.chain.vcek.Milan", b"no record")
    store = DocumentStore(fresh, intel_pcs.own_trust())
    await store.load()
    assert not store.known
    assert await store.offer(own[TCB].body, own[TCB].chain)


async def test_what_is_too_large_or_too_much_is_not_kept(
    fresh: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = intel_pcs.own()
    store = DocumentStore(fresh, intel_pcs.own_trust())
    large = own[TCB].chain + bytes(MAX_CHAIN)
    assert await code_of(store.offer(own[TCB].body, large)) == "message.invalid"
    monkeypatch.setattr(stores, "MAX_DOCUMENTS", 1)
    assert await store.offer(own[TCB].body, own[TCB].chain)
    qe = own["intel.qe.tdx"]
    assert await code_of(store.offer(qe.body, qe.chain)) == "collateral.full"


@pytest.mark.parametrize("text", ["zz", "00", "00" * 7, ",".join(["00" * 6] * 65)])
def test_platforms_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        client.fmspcs(text)


def test_platforms_are_read_from_a_setting() -> None:
    assert client.fmspcs("") == ()
    assert client.fmspcs(f"{dcap.FMSPC.upper()}, {'00' * 6}") == (PLATFORM, bytes(6))


def genuine_vcek() -> tuple[bytes, bytes, VekExtensions]:
    """A VCEK, its authorities, and what it says."""
    vectors.require()
    der = vectors.read(VCEK)
    found = VekExtensions.of(Certificate.from_bytes(der))
    name = found.product.value.lower()
    chain = vectors.read(f"snp/certs/ask-{name}.pem") + vectors.read(f"snp/certs/ark-{name}.pem")
    return der, chain, found


async def test_amds_recorded_vcek_is_fetched_once(fresh: Bus, fake: FakeKds) -> None:
    der, chain, vek = genuine_vcek()
    assert vek.hwid is not None
    at = vcek_path(vek.product, vek.hwid, vek.tcb)
    chain_at = f"/vcek/v1/{vek.product.value}/cert_chain"
    fake.answers = {at: [kds.body(der)], chain_at: [kds.body(chain)]}
    asked = amd(fake, fresh)
    for _ in range(2):
        found = await asked.get_vcek(vek.product, vek.hwid, vek.tcb)
        assert (found.body, found.chain) == (der, chain)
    assert fake.asked == [chain_at, at]


async def test_the_vcek_of_another_chip_or_tcb_is_not_kept(fresh: Bus, fake: FakeKds) -> None:
    der, chain, vek = genuine_vcek()
    assert vek.hwid is not None
    other_tcb = replace(vek.tcb, microcode=vek.tcb.microcode ^ 1)
    other_chip = bytes([vek.hwid[0] ^ 1]) + vek.hwid[1:]
    fake.answers[f"/vcek/v1/{vek.product.value}/cert_chain"] = [kds.body(chain)]
    asked = amd(fake, fresh)
    for hwid, tcb in ((vek.hwid, other_tcb), (other_chip, vek.tcb)):
        fake.answers[vcek_path(vek.product, hwid, tcb)] = [kds.body(der)]
        assert await code_of(asked.get_vcek(vek.product, hwid, tcb)) == "collateral.other"
    assert not [key for key in asked.store.known if key.startswith("amd.vcek.")]


async def test_every_chain_of_amd_is_fetched_and_what_fails_leaves_the_others(
    fresh: Bus, fake: FakeKds, caplog: pytest.LogCaptureFixture
) -> None:
    vectors.require()
    for name in ("Milan", "Genoa"):
        ark = vectors.read(f"snp/certs/ark-{name.lower()}.pem")
        for kind, file in (("vcek", "ask"), ("vlek", "asvk")):
            pem = vectors.read(f"snp/certs/{file}-{name.lower()}.pem") + ark
            fake.answers[f"/{kind}/v1/{name}/cert_chain"] = [kds.body(pem)]
    fake.answers["/vcek/v1/Turin/cert_chain"] = fake.answers["/vlek/v1/Milan/cert_chain"]
    asked = amd(fake, fresh)
    await asked.refresh()
    wanted = {f"amd.chain.{one.value}.{name}" for one in Signer for name in ("Milan", "Genoa")}
    assert set(asked.store.known) == wanted
    assert "no vcek chain of Turin" in caplog.text
    assert "collateral.other" in caplog.text
    assert "no vlek chain of Turin" in caplog.text


async def test_no_url_is_made_for_a_chip_that_cannot_be(fresh: Bus, fake: FakeKds) -> None:
    tcb = TcbVersion(bootloader=1, tee=2, snp=3, microcode=4)
    asked = amd(fake, fresh)
    for hwid in (bytes(64), b"\x01" * 8, b""):
        assert await code_of(asked.get_vcek(Product.MILAN, hwid, tcb)) == "evidence.hwid"
    simulated = asked.get_vcek(Product.SIMULATED, b"\x01" * 64, tcb)
    assert await code_of(simulated) == "collateral.product"
    assert fake.asked == []


def test_urls_are_amds() -> None:
    tcb = TcbVersion(bootloader=3, tee=0, snp=14, microcode=209)
    chip = b"\xab" * 64
    assert vcek_path(Product.MILAN, chip, tcb) == (
        f"/vcek/v1/Milan/{'ab' * 64}?blSPL=03&teeSPL=00&snpSPL=14&ucodeSPL=209"
    )
    assert vcek_path(Product.TURIN, chip[:8], replace(tcb, fmc=1)) == (
        f"/vcek/v1/Turin/{'ab' * 8}?fmcSPL=01&blSPL=03&teeSPL=00&snpSPL=14&ucodeSPL=209"
    )
