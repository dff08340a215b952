"""Collateral in files, under any names and in any form, and what an attestor does with settings."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from atoll.bus import Bus, provision
from atoll.bus.jetstream import purge
from atoll.errors import ConfigError
from atoll.evidence.certs import Signer
from atoll.evidence.products import Product
from atoll.evidence.trust import PRODUCTION, TrustStore
from atoll.evidence.x509 import ders
from atoll.wire import topology
from atoll_attestor.collateral import importing
from atoll_attestor.collateral.cache import CrlCache
from atoll_attestor.collateral.documents import chain_key
from atoll_attestor.collateral.fetch import Fetcher, Limits
from atoll_attestor.collateral.importing import follow_directory, import_directory
from atoll_attestor.collateral.store import DocumentStore
from atoll_attestor.collateral.supply import Sources, Supply
from integration.attestor import kds, pcs
from support import intel_pcs, vectors
from support.nats import wait_for

SUFFIX = {"tcb": ".json", "qe": ".json", "crl": ".crl"}


@pytest_asyncio.fixture
async def fresh(bus: Bus) -> AsyncIterator[Bus]:
    await provision(bus, buckets=[topology.COLLATERAL])
    await purge(bus, "KV_collateral", ">")
    yield bus


def write_intel(directory: Path) -> set[str]:
    """Documents under names that say nothing, chains apart from them; their keys."""
    own = intel_pcs.own()
    for at, (key, served) in enumerate(own.items()):
        (directory / f"{at}{SUFFIX[key.split('.')[1]]}").write_bytes(served.body)
        for number, der in enumerate(ders(served.chain)):
            (directory / f"{at}-{number}.der").write_bytes(der)
    return set(own)


def caches(bus: Bus, trust: TrustStore) -> tuple[CrlCache, DocumentStore]:
    return CrlCache(bus, trust), DocumentStore(bus, trust)


async def test_intels_documents_find_their_signers(fresh: Bus, tmp_path: Path) -> None:
    wanted = write_intel(tmp_path)
    crls, store = caches(fresh, intel_pcs.own_trust())
    assert await import_directory(crls, store, tmp_path) == len(wanted)
    assert set(store.known) == wanted
    assert await import_directory(crls, store, tmp_path) == 0


async def test_amds_documents_find_their_signers(fresh: Bus, tmp_path: Path) -> None:
    vectors.require()
    vek = vectors.read("snp/certs/vek-01faeb5deb01.der")
    (tmp_path / "chip.der").write_bytes(vek)
    for product in ("milan", "genoa", "turin"):
        for name in (f"ark-{product}.pem", f"ask-{product}.pem", f"asvk-{product}.pem"):
            (tmp_path / name).write_bytes(vectors.read(f"snp/certs/{name}"))
    (tmp_path / "list.der").write_bytes(vectors.read("snp/crls/crl-genoa-2024.der"))
    crls, store = caches(fresh, PRODUCTION)
    assert await import_directory(crls, store, tmp_path) == 8
    chains = {chain_key(of, by) for of in list(Product)[:3] for by in Signer}
    (chip,) = set(store.known) - chains
    assert chip.startswith("amd.vcek.")
    assert store.known[chip].body == vek
    assert set(crls.known) == {Product.GENOA}


async def test_what_has_no_signer_beside_it_is_told(
    fresh: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = intel_pcs.own()
    (tmp_path / "alone.json").write_bytes(own["intel.qe.tdx"].body)
    crl = x509.load_der_x509_crl(own["intel.crl.root"].body).public_bytes(Encoding.PEM)
    (tmp_path / "root.crl").write_bytes(crl)
    (tmp_path / "broken.json").write_bytes(b"{")
    (tmp_path / "broken.pem").write_bytes(b"-----")
    (tmp_path / "ignored.txt").write_bytes(b"-----")
    crls, store = caches(fresh, intel_pcs.own_trust())
    assert await import_directory(crls, store, tmp_path) == 0
    for name in ("alone.json", "root.crl", "broken.json", "broken.pem"):
        assert name in caplog.text
    assert "ignored" not in caplog.text
    (tmp_path / "root.pem").write_bytes(own["intel.crl.root"].chain)
    assert await import_directory(crls, store, tmp_path) == 1
    assert set(store.known) == {"intel.crl.root"}


async def test_too_many_files_are_refused(
    fresh: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_intel(tmp_path)
    monkeypatch.setattr(importing, "MAX_FILES", 1)
    with pytest.raises(ConfigError):
        await import_directory(*caches(fresh, PRODUCTION), tmp_path)


async def test_a_file_that_comes_later_is_taken(fresh: Bus, tmp_path: Path) -> None:
    crls, store = caches(fresh, intel_pcs.own_trust())
    looks = 0

    async def pause(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            write_intel(tmp_path)
        if looks == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await follow_directory(crls, store, tmp_path, pause)
    assert set(store.known) == set(intel_pcs.own())


async def test_a_supply_asks_what_it_may_and_keeps_it(fresh: Bus, tmp_path: Path) -> None:
    own = intel_pcs.own()
    with kds.serving() as fake:
        pcs.serve(fake, own)
        fmspc = next(key.rpartition(".")[2] for key in own if ".tcb." in key)
        sources = Sources(
            directory=tmp_path,
            kds_url=f"{fake.base}/amd",
            pcs_url=f"{fake.base}",
            root_crl_url=fake.base + pcs.ROOT_CRL,
            platforms=(bytes.fromhex(fmspc),),
            refresh_s=3600.0,
        )
        fetcher = Fetcher(sources.bases, Limits(attempts=1))
        crls, store = caches(fresh, intel_pcs.own_trust())
        supply = Supply(crls=crls, store=store, fetcher=fetcher, sources=sources)
        await supply.load()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop) for loop in supply.loops()]
            await wait_for(lambda: set(store.known) == set(own), "everything is there")
            await wait_for(lambda: len([x for x in fake.asked if "amd" in x]) >= 9, "AMD is asked")
            for task in tasks:
                task.cancel()


async def test_offline_nothing_is_asked(fresh: Bus) -> None:
    sources = Sources(
        directory=None, kds_url="", pcs_url="", root_crl_url="", platforms=(), refresh_s=1.0
    )
    assert sources.bases == []
    crls, store = caches(fresh, PRODUCTION)
    supply = Supply(crls=crls, store=store, fetcher=Fetcher([]), sources=sources)
    assert supply.kds is None
    loops = supply.loops()
    for loop in loops:
        loop.close()
    assert len(loops) == 3
