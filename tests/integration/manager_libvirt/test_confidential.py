"""SEV-SNP and TDX guests from the driver to their evidence, with all that runs without hardware.

What a processor does is `support.hypervisor`; driver, keeper, channel, bus, agent and attestor are
the real ones.
"""

import asyncio
import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from atoll.bus import KeyValue
from atoll.errors import ConfigError
from atoll.evidence import document as documents
from atoll.evidence.dcap.quote import Quote
from atoll.evidence.document import Tee as EvidenceTee
from atoll.evidence.snp import AttestationReport
from atoll.measure.tdvf import Tdvf
from atoll.wire import schema, topology
from atoll.wire.messages import EvidenceRecord
from atoll.wire.tee import Tee
from atoll_manager.bodies import domain as bodies
from atoll_manager.config import PREFIX, ManagerConfig
from atoll_manager.drivers.libvirt import Guests, LibvirtDriver
from atoll_manager.driving import Driving, prepared
from atoll_manager.launched import LaunchedImage
from atoll_manager.libvirt.connection import Libvirt
from atoll_manager.libvirt.domain import Acceleration
from atoll_manager.probing import asking
from atoll_manager.records import Records
from integration.attestor.enclaves import Yard, yard
from integration.manager.drivers.benches import Plan, a_spec
from support import ovmf
from support.evidence import MANIFEST
from support.hypervisor import Hypervisor
from support.libvirt import binding, qemu
from support.nats import wait_for
from unit.manager.libvirt.test_image import written
from unit.manager.libvirt.test_schema import schemas, validate
from unit.manager.test_settings_and_simulation import ENV

QUOTES = Path("/run/quotes.sock")


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Yard]:
    binding()
    async with yard(tmp_path) as made:
        yield made


@dataclass
class Rig:
    driver: LibvirtDriver
    hypervisor: Hypervisor
    store: Records
    directory: Path

    def console(self) -> str:
        return "".join(it.read_text() for it in self.directory.glob("console-*.log"))

    def log(self) -> str:
        return "".join(it.read_text() for it in self.directory.glob("enclave-*.log"))


@asynccontextmanager
async def rig(
    place: Yard, directory: Path, tee: Tee, alter: Callable[[bytes], bytes] = bytes
) -> AsyncIterator[Rig]:
    """A driver whose guests are of this kind; afterwards nothing of it is left."""
    image = directory / "image"
    image.mkdir()
    guests = Guests(
        image=written(image),
        emulator=Path("/usr/bin/qemu-system-x86_64"),
        acceleration=Acceleration.KVM,
        memory_mib=512,
        tee=tee,
        firmware=directory / "OVMF.fd",
        vcpu_type="EPYC-v4" if tee is Tee.SEV_SNP else "",
        quote_socket=QUOTES,
        host_id="h1",
    )
    plan = Plan(
        bus=place.server.url,
        settings={
            "ATOLL_AGENT_NATS_SENTINEL": place.folder.sentinel.read_text().strip(),
            "ATOLL_AGENT_ASSIGN_TIMEOUT_S": "2",
        },
    )
    async with Hypervisor(alter).connected() as hypervisor, asyncio.TaskGroup() as group:
        assert isinstance(hypervisor, Hypervisor)
        with closing(Records(directory / "enclaves")) as store:
            driver = LibvirtDriver(
                libvirt=hypervisor,
                guests=guests,
                owner=store.instance,
                domains=directory / "domains",
                **(plan.common(directory, store, group) | {"launch": None}),
            )
            yield Rig(driver, hypervisor, store, directory)
            assert await driver.list() == ()
            assert not list((directory / "domains").iterdir())


async def evidence_of(place: Yard, enclave_id: str) -> documents.EvidenceDocument | None:
    entry = await KeyValue(place.operator, topology.EVIDENCE).get(enclave_id)
    if entry is None or entry.value is None:
        return None
    return documents.parse(schema.decode(EvidenceRecord, entry.value).evidence)


SECURITY = {
    Tee.SEV_SNP: (
        '<launchSecurity authorKey="no" kernelHashes="yes" type="sev-snp" vcek="yes">'
        "<policy>0x30000</policy><hostData>{}</hostData></launchSecurity>"
    ),
    Tee.TDX: (
        '<launchSecurity type="tdx"><policy>0x10000000</policy><mrConfigId>{}</mrConfigId>'
        '<quoteGenerationService path="/run/quotes.sock"></quoteGenerationService>'
        "</launchSecurity>"
    ),
}
CPU = {
    Tee.SEV_SNP: (
        '<cpu check="none" match="exact" mode="custom"><model fallback="forbid">EPYC-v4</model>'
        "</cpu>"
    ),
    Tee.TDX: '<cpu check="none" migratable="off" mode="host-passthrough"></cpu>',
}
DIGESTS = {Tee.SEV_SNP: hashlib.sha256, Tee.TDX: hashlib.sha384}


@pytest.mark.parametrize("tee", [Tee.SEV_SNP, Tee.TDX])
async def test_a_guest_is_launched_for_the_settings_that_it_gets_and_its_evidence_says_so(
    tee: Tee, place: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(place, tmp_path, tee) as it:
        seen: list[bytes] = []
        create = it.hypervisor.call

        async def call(work: Any) -> Any:
            folders = list((tmp_path / "domains").iterdir())
            seen.extend((folder / bodies.SETTINGS).read_bytes() for folder in folders)
            return await create(work)

        monkeypatch.setattr(it.hypervisor, "call", call)
        spec = a_spec(it.store.new_enclave_id(), manifest_digest=MANIFEST.hex())
        enclave = await it.driver.start(spec)
        monkeypatch.undo()

        async def published() -> bool:
            return await evidence_of(place, spec.enclave_id) is not None

        await wait_for(published, "its evidence")
        document = await evidence_of(place, spec.enclave_id)
        await enclave.stop(5.0)
        await enclave.wait()
    assert document is not None
    (xml,) = it.hypervisor.created
    # The file as it was before libvirt was asked; the guest read the same.
    assert len(set(seen)) == 1
    raw = seen[0]
    digest = DIGESTS[tee](raw).digest()
    assert SECURITY[tee].format(base64.b64encode(digest).decode()) in xml
    assert CPU[tee] in xml
    assert f'<loader type="rom">{tmp_path}/OVMF.fd</loader>' in xml
    assert '<domain type="kvm">' in xml
    assert validate(xml, schemas(tee.value), tmp_path) == ""
    said = json.loads(raw)
    assert said["ATOLL_AGENT_TEE"] == tee.value
    assert said["ATOLL_AGENT_ENCLAVE_ID"] == spec.enclave_id
    if tee is Tee.SEV_SNP:
        assert document.tee is EvidenceTee.SNP
        assert AttestationReport.from_bytes(document.report).body.host_data == digest
    else:
        assert document.tee is EvidenceTee.TDX
        body = Quote.from_bytes(document.report).body
        assert getattr(body, "mr_config_id", None) == digest
    assert "no device" in it.console(), "nobody plays the processor for it"


async def test_a_guest_that_is_launched_for_other_settings_shows_no_evidence(
    place: Yard, tmp_path: Path
) -> None:
    def flipped(digest: bytes) -> bytes:
        return bytes([digest[0] ^ 1]) + digest[1:]

    async with rig(place, tmp_path, Tee.SEV_SNP, flipped) as it:
        spec = a_spec(it.store.new_enclave_id(), manifest_digest=MANIFEST.hex())
        enclave = await it.driver.start(spec)
        await wait_for(lambda: "evidence.settings" in it.console(), "it says why", within_s=60)
        assert await evidence_of(place, spec.enclave_id) is None
        assert await enclave.wait() != 0
        await enclave.stop(0.0)
    assert await evidence_of(place, spec.enclave_id) is None


async def test_one_that_is_started_in_advance_is_launched_for_settings_without_a_job(
    place: Yard, tmp_path: Path
) -> None:
    async with rig(place, tmp_path, Tee.SEV_SNP) as it:
        enclaves = [await it.driver.prepare() for _ in range(2)]
        files = {
            (folder / bodies.SETTINGS).read_bytes() for folder in (tmp_path / "domains").iterdir()
        }
        spec = a_spec(it.store.new_enclave_id(), manifest_digest=MANIFEST.hex())
        assert await enclaves[0].lease(spec)

        async def published() -> bool:
            return await evidence_of(place, spec.enclave_id) is not None

        await wait_for(published, "its evidence")
        document = await evidence_of(place, spec.enclave_id)
        for enclave in enclaves:
            await enclave.stop(5.0)
            await enclave.wait()
    (raw,) = files
    assert "ATOLL_AGENT_JOB_ID" not in json.loads(raw)
    assert document is not None
    host_data = AttestationReport.from_bytes(document.report).body.host_data
    assert host_data == hashlib.sha256(raw).digest()


def config(tmp_path: Path, tee: str, **more: Any) -> ManagerConfig:
    """A manager's settings for this kind, with an image and a firmware of a few bytes."""
    image = tmp_path / "image"
    image.mkdir(exist_ok=True)
    firmware = tmp_path / "OVMF.fd"
    firmware.write_bytes(ovmf.image() if tee == "sev-snp" else ovmf.td_image())
    values: dict[str, Any] = {
        "nats_url": ENV["ATOLL_MANAGER_NATS_URL"],
        "nats_creds_file": tmp_path / "creds",
        "sentinel_file": tmp_path / "sentinel",
        "host_id": "h1",
        "data_dir": tmp_path,
        "driver": "libvirt",
        "image": str(written(image)),
        "emulator": qemu(),
        "tee": tee,
        "firmware": firmware,
        "acceleration": "kvm",
        "vcpu_type": "EPYC-Milan" if tee == "sev-snp" else "",
    }
    return ManagerConfig(**(values | more))


def quotes(tmp_path: Path) -> Path:
    path = tmp_path / "qgs.socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


@pytest.mark.parametrize("tee", ["sev-snp", "tdx"])
async def test_this_machine_refuses_at_the_start_and_says_why(
    tee: str, embedded: str, tmp_path: Path
) -> None:
    given = config(tmp_path, tee, libvirt_uri=embedded, quote_socket=quotes(tmp_path))
    driving = prepared(given)
    assert driving.tee.value == tee
    with pytest.raises(ConfigError) as caught:
        async with driving.ready():
            pytest.fail("this machine can start such guests: test the real thing")
    assert caught.value.code == "manager.no_tee"
    assert caught.value.message.startswith(f"this host cannot start {tee} guests: ")
    assert "docs/hosts.md" in (caught.value.hint or "")


def manager(place: Yard, tmp_path: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    """A manager in a process of its own; it must end by itself."""
    image = tmp_path / "image"
    image.mkdir()
    (tmp_path / "OVMF.fd").write_bytes(ovmf.image())
    own = {
        "NATS_URL": place.server.url,
        "NATS_CREDS_FILE": str(place.folder.creds("manager")),
        "SENTINEL_FILE": str(place.folder.sentinel),
        "HOST_ID": "h1",
        "DATA_DIR": str(tmp_path / "data"),
        "DRIVER": "libvirt",
        "IMAGE": str(written(image)),
        "LIBVIRT_URI": f"qemu:///embed?root={tmp_path}/libvirt",
        "TEE": "sev-snp",
        "VCPU_TYPE": "EPYC-Milan",
        "FIRMWARE": str(tmp_path / "OVMF.fd"),
        **settings,
    }
    return subprocess.run(
        [sys.executable, "-I", "-m", "atoll_manager.main"],
        env={"PATH": os.defpath} | {PREFIX + name: value for name, value in own.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


async def test_a_manager_of_hardware_that_is_not_there_ends_and_offers_nothing(
    place: Yard, tmp_path: Path
) -> None:
    qemu()
    done = await asyncio.to_thread(manager, place, tmp_path)
    assert done.returncode == 2, done.stderr
    assert "this host cannot start sev-snp guests" in done.stderr
    assert "(manager.no_tee)" in done.stderr
    assert "Traceback" not in done.stderr
    assert await KeyValue(place.operator, topology.HOSTS).get("h1") is None


async def test_without_kvm_there_are_no_such_guests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The emulator is no QEMU, or there is no /dev/kvm: either way no guest comes up under KVM.
    given = config(tmp_path, "sev-snp", emulator=Path("/bin/false"), acceleration="auto")
    with pytest.raises(ConfigError, match="run under KVM only") as caught:
        await Driving(given)._accelerated()
    assert caught.value.code == "manager.no_tee"
    kvm = replace(given, acceleration="kvm")
    assert await Driving(kvm)._accelerated() is Acceleration.KVM


def test_what_is_launched_on_hardware_has_no_simulated_processor(tmp_path: Path) -> None:
    launched = prepared(config(tmp_path, "sev-snp")).launched()
    assert isinstance(launched, LaunchedImage)
    assert launched.launch is None
    assert len(launched.measurement) == 48
    assert launched.state() == launched.image
    tdx = prepared(config(tmp_path, "tdx", quote_socket=quotes(tmp_path))).launched()
    assert tdx.measurement == Tdvf.from_bytes(ovmf.td_image()).mr_td()


async def test_libvirt_here_says_which_processors_its_qemu_has(embedded: str) -> None:
    async with Libvirt(embedded).connected() as libvirt:
        found = await asking._ask(libvirt, str(qemu()))
    assert {"EPYC", "EPYC-Milan", "qemu64"} <= found.vcpu_types
    assert "EPYC-Naples" not in found.vcpu_types
