"""What fails before a guest is there is said clearly, and leaves nothing behind."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from atoll.errors import ConfigError, RefusedError
from atoll.measure import guest as guests
from atoll_manager.drivers import libvirt as driving
from atoll_manager.drivers.libvirt import Guests, LibvirtDriver
from atoll_manager.libvirt.connection import Libvirt
from atoll_manager.libvirt.domain import Acceleration, DirectBoot, Domain, Owner
from atoll_manager.libvirt.domain_xml import to_xml
from atoll_manager.records import Records
from integration.manager.drivers.benches import Plan, a_spec
from support.libvirt import qemu
from support.nats import wait_for
from unit.manager.libvirt.test_image import written

pytestmark = pytest.mark.timeout(900)


@dataclass
class Rig:
    driver: LibvirtDriver
    libvirt: Libvirt
    store: Records
    directory: Path

    async def refused(self, **changes: Any) -> str:
        """Why a start is refused; nothing of it is left."""
        with pytest.raises(RefusedError) as caught:
            await self.driver.start(a_spec(self.store.new_enclave_id(), **changes))
        assert caught.value.code == "enclave.start"
        assert await self.driver.list() == ()
        assert await self.names() == []
        folder = self.directory / "domains"
        assert not folder.exists() or not list(folder.iterdir())
        return caught.value.message

    async def create(self, xml: str) -> None:
        """A domain that somebody starts."""
        await self.libvirt.call(lambda conn: conn.createXML(xml, 0))

    async def names(self) -> list[str]:
        return await self.libvirt.call(lambda conn: [it.name() for it in conn.listAllDomains(0)])

    async def none_left(self) -> bool:
        return await self.names() == []


@asynccontextmanager
async def rig(uri: str, directory: Path, image: Path, **changes: Any) -> AsyncIterator[Rig]:
    made = replace(
        Guests(image=image, emulator=qemu(), acceleration=Acceleration.TCG, memory_mib=512),
        **changes,
    )
    async with Libvirt(uri).connected() as libvirt, asyncio.TaskGroup() as group:
        with closing(Records(directory / "enclaves")) as store:
            driver = LibvirtDriver(
                libvirt=libvirt,
                guests=made,
                owner=store.instance,
                domains=directory / "domains",
                **Plan(bus="nats://127.0.0.1:9").common(directory, store, group),
            )
            yield Rig(driver, libvirt, store, directory)


async def test_an_image_that_was_altered_does_not_start(embedded: str, tmp_path: Path) -> None:
    folder = tmp_path / "image"
    folder.mkdir()
    (written(folder) / guests.INITRD_FILE).write_bytes(b"another")
    async with rig(embedded, tmp_path, folder) as it:
        why = await it.refused()
    assert "image.altered" in why
    assert guests.INITRD_FILE in why


async def test_an_image_that_is_missing_does_not_start(embedded: str, tmp_path: Path) -> None:
    async with rig(embedded, tmp_path, tmp_path / "none") as it:
        assert "image.missing" in await it.refused()


async def test_a_kernel_that_is_none_is_refused_with_the_emulators_words(
    embedded: str, tmp_path: Path
) -> None:
    async with rig(embedded, tmp_path, written(tmp_path)) as it:
        why = await it.refused()
    assert "libvirt.refused" in why


async def test_more_memory_than_there_is_does_not_start(embedded: str, tmp_path: Path) -> None:
    async with rig(embedded, tmp_path, written(tmp_path), memory_mib=1 << 24) as it:
        assert "not enough memory" in await it.refused()


async def test_no_room_on_the_disk_is_said(
    embedded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with rig(embedded, tmp_path, written(tmp_path)) as it:
        monkeypatch.setattr(Path, "mkdir", full)
        with pytest.raises(RefusedError, match="No space left"):
            await it.driver.start(a_spec(it.store.new_enclave_id()))
        monkeypatch.undo()


async def test_a_folder_too_deep_for_a_socket_is_said(embedded: str, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    async with rig(embedded, deep, written(tmp_path)) as it:
        assert "too long for a socket" in await it.refused()


async def test_no_libvirt_is_said(embedded: str, tmp_path: Path) -> None:
    async with rig(embedded, tmp_path, written(tmp_path)) as it:
        it.driver._domains._libvirt = Libvirt("qemu:///system")  # which is not connected
        with pytest.raises(RefusedError, match=r"libvirt\.lost"):
            await it.driver.start(a_spec(it.store.new_enclave_id()))
        assert await it.driver.list() == ()


def only(directory: Path, pattern: str) -> str:
    """The text of the one file with such a name."""
    (path,) = directory.glob(pattern)
    return path.read_text()


def bare(directory: Path, name: str, instance: str) -> Domain:
    """A domain with next to nothing."""
    boot = DirectBoot(kernel=directory / "kernel", initrd=None, cmdline="")
    return Domain(
        owner=Owner(enclave_id=name, instance=instance),
        emulator=qemu(),
        acceleration=Acceleration.TCG,
        boot=boot,
        memory_mib=128,
        vcpus=1,
        channel=None,
        console=None,
        settings=None,
    )


def asleep(domain: Domain) -> str:
    """Its XML, without a kernel: it waits in its firmware."""
    xml = to_xml(domain)
    start, end = xml.index("<kernel>"), xml.index("</cmdline>") + len("</cmdline>")
    return xml[:start] + xml[end:]


async def test_domains_that_nobody_keeps_are_ended_and_those_of_others_are_not(
    embedded: str, tmp_path: Path
) -> None:
    async with rig(embedded, tmp_path, tmp_path) as it:
        ours = bare(tmp_path, it.store.new_enclave_id(), it.store.instance)
        others = bare(tmp_path, "e0other", "ffffffffffffffff")
        for domain in (ours, others):
            await it.create(asleep(domain))
        (it.directory / "domains" / "e0left").mkdir(parents=True)
        await it.driver.adopt()
        assert await it.names() == [others.name]
        assert not list((it.directory / "domains").iterdir())
        await it.libvirt.call(lambda conn: conn.lookupByName(others.name).destroy())


async def test_a_name_that_is_taken_is_said(embedded: str, tmp_path: Path) -> None:
    async with rig(embedded, tmp_path, written(tmp_path)) as it:
        spec = a_spec(it.store.new_enclave_id())
        taken = asleep(bare(tmp_path, spec.enclave_id, "ffffffffffffffff"))
        await it.create(taken)
        with pytest.raises(RefusedError, match=r"libvirt\.duplicate"):
            await it.driver.start(spec)
        # It is somebody else's, so it is left alone.
        assert await it.names() == [f"atoll-{spec.enclave_id}"]
        name = f"atoll-{spec.enclave_id}"
        await it.libvirt.call(lambda conn: conn.lookupByName(name).destroy())


async def test_one_that_somebody_pauses_is_ended(
    embedded: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(embedded, tmp_path, tmp_path) as it:
        ours = bare(tmp_path, it.store.new_enclave_id(), it.store.instance)
        xml = asleep(ours)
        await it.create(xml)
        await it.libvirt.call(lambda conn: conn.lookupByName(ours.name).suspend())
        ended = f"{ours.name} is ended: suspended"
        await wait_for(lambda: ended in caplog.text, "it is ended", within_s=120)
        # That is said before it is done.
        await wait_for(it.none_left, "it is gone", within_s=120)


async def test_a_kernel_that_panics_ends_its_enclave_and_its_console_is_kept(
    embedded: str, tmp_path: Path, guest_image: Path
) -> None:
    folder = tmp_path / "image"
    folder.mkdir()
    kernel = (guest_image / guests.KERNEL_FILE).read_bytes()
    image = written(folder, kernel=kernel)
    async with rig(embedded, tmp_path, image) as it:
        enclave = await it.driver.start(a_spec(it.store.new_enclave_id()))
        assert await enclave.wait() == -9
        await enclave.stop(0.0)
    assert "Kernel panic - not syncing" in only(tmp_path, "console-*.log")
    assert "kernel panicked" in only(tmp_path, "enclave-*.log")


def test_a_host_that_cannot_measure_a_boot_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firmware, empty = tmp_path / "OVMF.fd", tmp_path / "empty"
    with pytest.raises(ConfigError) as absent:
        driving.prepared(written(tmp_path), Path("/bin/sh"), firmware)
    assert absent.value.code == "libvirt.no_firmware"
    firmware.touch()
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    for program in ("swtpm", "swtpm_setup"):
        with pytest.raises(ConfigError, match=f"no program {program},") as missing:
            driving.prepared(written(tmp_path), Path("/bin/sh"), firmware)
        assert missing.value.code == "vtpm.no_swtpm"
        (empty / program).touch(mode=0o755)


def test_a_host_that_cannot_start_any_says_so_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as emulator:
        driving.prepared(written(tmp_path), tmp_path / "qemu")
    assert emulator.value.code == "libvirt.no_emulator"
    monkeypatch.setattr(os, "uname", lambda: type("Uname", (), {"machine": "aarch64"}))
    with pytest.raises(ConfigError, match="aarch64") as machine:
        driving.prepared(tmp_path, tmp_path / "qemu")
    assert machine.value.code == "libvirt.architecture"
