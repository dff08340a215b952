"""Driver `libvirt`: an enclave is a virtual machine, and has a keeper.

The keeper (`atoll_manager.bodies.domain`) listens on the guest's channel and console; this
part checks the image, lets libvirt start the domain, and takes away what others left. A
domain is transient: when its guest ends, libvirt forgets it.

Somebody else's hand on one of our domains is not ours to judge: one that is paused or was
given a device is ended, which its keeper notices, and its job runs elsewhere.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atoll.errors import AtollError, ConfigError, NotFoundError, RefusedError
from atoll.wire.messages import Tee
from atoll_manager.bodies.domain import CHANNEL, CONSOLE, MAX_SETTINGS, SETTINGS, TPM
from atoll_manager.drivers.apart import Apart, egress_of, needs_of, servers
from atoll_manager.drivers.driver import EnclaveSpec
from atoll_manager.drivers.kept import KeptDriver
from atoll_manager.libvirt import image as images
from atoll_manager.libvirt.connection import Change, DomainEvent, Found, Libvirt, Lost
from atoll_manager.libvirt.domain import MAX_SOCKET_PATH, NAME, Acceleration, Domain, Owner
from atoll_manager.libvirt.domain_xml import to_xml
from atoll_manager.libvirt.identity import owner_of
from atoll_manager.libvirt.launching import launch_of
from atoll_manager.memory import free_memory
from atoll_manager.records import EnclaveRecord
from atoll_manager.vtpm import swtpm
from atoll_manager.vtpm.instance import CONTROL

OVERHEAD_BYTES: Final = 128 << 20
"""What an emulator takes beside the guest's memory."""
MIB: Final = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guests:
    """What all guests of this host have in common."""

    image: Path
    """A folder that `atoll image build` wrote."""
    emulator: Path
    acceleration: Acceleration
    memory_mib: int = 0
    """Of each; 0: as its job asks."""
    tee: Tee = Tee.SIMULATED
    firmware: Path | None = None
    """Of guests whose boot is measured."""
    vcpu_type: str = ""
    """QEMU's model, where the launch is measured with it; empty: what there is."""
    quote_socket: Path = Path("/var/run/tdx-qgs/qgs.socket")
    """Of the quote generation service, for the kind tdx."""
    vtpm_authority: Path | None = None
    """The file of who certifies virtual TPMs; for the kind vtpm."""
    host_id: str = ""
    user: tuple[int, int] | None = None
    """Whom a daemon of libvirt's runs the emulator as; None: by its own setting."""


class LibvirtDriver(KeptDriver):
    """Starts domains.

    Args:
        libvirt: connected.
        guests: what they are.
        owner: who this host is, for good.
        domains: a folder for sockets and settings, with a short path.
        common: as of `KeptDriver`.
    """

    def __init__(
        self, *, libvirt: Libvirt, guests: Guests, owner: str, domains: Path, **common: Any
    ) -> None:
        self._domains = _Domains(libvirt, guests, owner, domains, common)
        super().__init__(self._domains, **common)
        libvirt.listen(self._heard)

    def _heard(self, event: DomainEvent | Lost | Found) -> None:
        if isinstance(event, DomainEvent) and event.change in {Change.SUSPENDED, Change.CHANGED}:
            task = self._domains.end(event.name, event.change.value)
            self._group.create_task(task, name=f"domain {event.name}")


class _Domains(Apart):
    def __init__(
        self,
        libvirt: Libvirt,
        guests: Guests,
        owner: str,
        domains: Path,
        common: Mapping[str, Any],
    ) -> None:
        self._libvirt = libvirt
        self._guests = guests
        self._owner = owner
        self._folder = domains.absolute()
        self._logs: Path = common["log_dir"]
        self._bus = servers(common["settings"]["ATOLL_AGENT_NATS_URL"])
        self._egress = egress_of(common["settings"])

    async def order(self, spec: EnclaveSpec) -> dict[str, Any]:
        folder = self._folder / spec.enclave_id
        if len(os.fsencode(folder / CHANNEL)) > MAX_SOCKET_PATH:
            raise _refused(f"{folder} is too long for a socket: give the host a shorter DATA_DIR")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(f"{self._folder}: {error.strerror}") from error
        authority = self._guests.vtpm_authority
        vtpm = {"authority": str(authority), "host_id": self._guests.host_id}
        return {
            "kind": "domain",
            **({} if authority is None else {"vtpm": vtpm}),
            **({} if self._guests.tee is Tee.SIMULATED else {"tee": self._guests.tee.value}),
            "name": NAME.format(spec.enclave_id),
            "folder": str(folder),
            "console": str((self._logs / f"console-{spec.enclave_id}.log").absolute()),
            "bus": self._bus,
            "egress": self._egress,
        }

    async def answer(self, spec: EnclaveSpec, asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked.keys() != {"start"}:
            raise AssertionError(f"enclave {spec.enclave_id}: nobody asks for {sorted(asked)}")
        try:
            checked = await asyncio.to_thread(images.check, self._guests.image)
            xml = await asyncio.to_thread(lambda: to_xml(self._domain(spec, checked)))
            await self._libvirt.call(lambda conn: conn.createXML(xml, 0))
        except AtollError as error:
            raise _refused(f"{error.message} ({error.code})") from error
        return {}

    def _domain(self, spec: EnclaveSpec, checked: images.CheckedImage) -> Domain:
        guests = self._guests
        needs = needs_of(spec, guests.tee)
        memory_mib = guests.memory_mib or -(-needs.memory_bytes // MIB)
        free = free_memory()
        if memory_mib * MIB + OVERHEAD_BYTES > free:
            raise _refused(
                f"not enough memory: {memory_mib} MiB and the emulator's, {free // MIB} MiB free"
            )
        folder = self._folder / spec.enclave_id
        return Domain(
            owner=Owner(enclave_id=spec.enclave_id, instance=self._owner),
            emulator=guests.emulator,
            acceleration=guests.acceleration,
            boot=checked.boot,
            memory_mib=memory_mib,
            vcpus=max(1, needs.cpus),
            channel=folder / CHANNEL,
            console=folder / CONSOLE,
            settings=folder / SETTINGS,
            firmware=guests.firmware,
            cpu=guests.vcpu_type,
            launch=launch_of(guests.tee, _settings(folder / SETTINGS), guests.quote_socket),
            vtpm=None if guests.vtpm_authority is None else folder / TPM / CONTROL,
            user=guests.user,
        )

    async def clear(self, record: EnclaveRecord) -> None:
        if record.name:
            await self.end(record.name, "")
            folder = self._folder / record.name.removeprefix(NAME.format(""))
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def reap(self, keep: AbstractSet[str]) -> None:
        def ours(conn: Any) -> list[str]:
            found = [(it.name(), owner_of(it.XMLDesc(0))) for it in conn.listAllDomains(0)]
            return [name for name, it in found if it is not None and it.instance == self._owner]

        try:
            names = await self._libvirt.call(ours)
        except AtollError as error:
            _log.warning("domains without a keeper may stay: %s", error.message)
            names = []
        for name in sorted(set(names) - keep):
            await self.end(name, "nobody keeps it")
        if self._folder.is_dir():
            for folder in self._folder.iterdir():
                if NAME.format(folder.name) not in keep:
                    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def end(self, name: str, why: str) -> None:
        """End a domain of this host, if there is one; its memory goes with it."""

        def destroy(conn: Any) -> bool:
            domain = conn.lookupByName(name)
            owner = owner_of(domain.XMLDesc(0))
            if owner is None or owner.instance != self._owner:
                return False
            domain.destroy()
            return True

        try:
            if await self._libvirt.call(destroy) and why:
                _log.warning("domain %s is ended: %s", name, why)
        except NotFoundError:
            pass
        except AtollError as error:
            _log.warning("domain %s may stay: %s", name, error.message)


def prepared(image: Path, emulator: Path, firmware: Path | None = None) -> images.CheckedImage:
    """What a host needs before it starts any. Blocks.

    Args:
        image: the folder of the guest's image.
        emulator: QEMU.
        firmware: what starts guests whose boot is measured; None: none are.

    Raises:
        ConfigError: `libvirt.architecture`, `libvirt.no_emulator`, `libvirt.no_firmware`,
            `vtpm.no_swtpm`; as `images.check`.
        InputError: `domain.invalid`.
    """
    if os.uname().machine != "x86_64":
        raise ConfigError(
            f"this host is {os.uname().machine}: the guest's image is for x86_64",
            code="libvirt.architecture",
        )
    if not os.access(emulator, os.X_OK):
        raise ConfigError(
            f"{emulator} is not there, or cannot be run (Debian: qemu-system-x86)",
            code="libvirt.no_emulator",
        )
    if firmware is not None:
        if not os.access(firmware, os.R_OK):
            raise ConfigError(
                f"{firmware} is not there, or cannot be read (Debian: ovmf)",
                code="libvirt.no_firmware",
            )
        for name in swtpm.PROGRAMS:
            swtpm.program(name)
    return images.check(image)


def _settings(path: Path) -> bytes:
    """What the guest will read: its keeper has written it before it asked for a start."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_SETTINGS)
    except OSError as error:
        raise _refused(f"{path}: {error.strerror}") from error


def _refused(reason: str) -> RefusedError:
    return RefusedError(reason, code="enclave.start")
