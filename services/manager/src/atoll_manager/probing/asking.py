"""Asks the machine, libvirt, the container engine and KVM, and joins what they say."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any, Final

from atoll.errors import AtollError
from atoll_manager.launched import no_tee
from atoll_manager.libvirt import acceleration
from atoll_manager.libvirt.connection import SYSTEM, Libvirt
from atoll_manager.libvirt.versions import Release
from atoll_manager.probing import capabilities, reading, verdicts
from atoll_manager.probing.facts import Facts, LibvirtFacts
from atoll_manager.probing.verdicts import Verdict

OPENED: Final = {"sev-snp": ("kvm", "sev"), "tdx": ("kvm",)}
"""Devices that the emulator opens by itself, as the account that the manager runs as: libvirt gives
it none, for it is told to change no owners (`atoll_manager.libvirt.domain_xml`)."""
DOCKER: Final = Path("/var/run/docker.sock")
ANSWER_S: Final = 3.0


async def probe(
    *,
    uri: str = SYSTEM,
    kernel: Path | None = None,
    boot: bool = True,
    root: Path = Path("/"),
    docker: Path = DOCKER,
) -> tuple[Verdict, ...]:
    """What this host can do.

    Args:
        uri: the libvirt that would start guests.
        kernel: theirs, to see whether it comes up under KVM.
        boot: whether guests may be started for that.
        root: where /proc, /sys and /dev are.
        docker: the container engine's socket.
    """
    machine = reading.read(root, os.uname().machine)
    emulator = machine.programs.get("qemu-system-x86_64")
    found = None
    if boot and emulator is not None and "kvm" in machine.devices:
        found = await acceleration.probe(Path(emulator), kernel, None)
    libvirt: LibvirtFacts | str
    try:
        libvirt = await _libvirt(uri, emulator)
    except AtollError as error:
        libvirt = error.message
    facts = Facts(machine=machine, libvirt=libvirt, acceleration=found, docker=_engine(docker))
    return verdicts.judge(facts)


async def require(
    libvirt: Libvirt, tee: str, emulator: Path, vcpu_type: str = "", *, root: Path = Path("/")
) -> None:
    """Return if this host can start guests of a kind. None is started to see.

    Args:
        libvirt: connected; it would start them.
        tee: `sev-snp` or `tdx`.
        emulator: QEMU.
        vcpu_type: QEMU's model of their processors, if they have a certain one.
        root: where /proc, /sys and /dev are.

    Raises:
        ConfigError: `manager.no_tee`, with the first thing that is missing.
    """
    machine = await asyncio.to_thread(reading.read, root, os.uname().machine)
    found: LibvirtFacts | str
    try:
        found = await _ask(libvirt, str(emulator))
    except AtollError as error:
        found = error.message
    facts = Facts(machine=machine, libvirt=found, acceleration=None, docker=None)
    (verdict,) = (it for it in verdicts.judge(facts) if it.name == tee)
    if not verdict.able:
        raise no_tee(tee, verdict.reason)
    for name in OPENED[tee]:
        if not os.access(root / "dev" / name, os.R_OK | os.W_OK):
            raise no_tee(tee, f"this account may not read and write /dev/{name}, nor its emulators")
    if vcpu_type and isinstance(found, LibvirtFacts) and vcpu_type not in found.vcpu_types:
        known = ", ".join(sorted(it for it in found.vcpu_types if it.startswith("EPYC")))
        raise no_tee(
            tee, f"libvirt knows no processor {vcpu_type} of this QEMU; of AMD's: {known or 'none'}"
        )


async def _libvirt(uri: str, emulator: str | None) -> LibvirtFacts:
    async with Libvirt(uri).connected() as libvirt:
        return await _ask(libvirt, emulator)


async def _ask(libvirt: Libvirt, emulator: str | None) -> LibvirtFacts:
    def look(conn: Any) -> tuple[Release, str]:
        # Of this emulator alone: libvirt would otherwise start each one that is installed.
        xml = conn.getDomainCapabilities(emulator, "x86_64", "q35", None, 0)
        return Release.of(conn.getVersion()), xml

    qemu, xml = await libvirt.call(look)
    return LibvirtFacts(
        uri=libvirt.uri,
        library=libvirt.library,
        qemu=qemu,
        launch=capabilities.launch_security(xml),
        vcpu_types=capabilities.vcpu_types(xml),
    )


def _engine(path: Path) -> str | None:
    """Why no container engine answers there, or None."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(ANSWER_S)
        try:
            end.connect(str(path))
            end.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            answer = end.recv(64)
        except OSError as error:
            return f"{path}: {error.strerror or 'no answer'}"
    return None if answer.startswith(b"HTTP/1.") else f"{path}: that is no container engine"
