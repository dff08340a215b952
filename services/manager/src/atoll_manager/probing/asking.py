"""Asks the machine, libvirt, the container engine and KVM, and joins what they say."""

import os
import socket
from pathlib import Path
from typing import Any, Final

from atoll.errors import AtollError
from atoll_manager.libvirt import acceleration
from atoll_manager.libvirt.connection import SYSTEM, Libvirt
from atoll_manager.libvirt.versions import Release
from atoll_manager.probing import capabilities, reading, verdicts
from atoll_manager.probing.facts import Facts, LibvirtFacts
from atoll_manager.probing.verdicts import Verdict

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


async def _libvirt(uri: str, emulator: str | None) -> LibvirtFacts:
    def look(conn: Any) -> tuple[Release, str]:
        # Of this emulator alone: libvirt would otherwise start each one that is installed.
        xml = conn.getDomainCapabilities(emulator, "x86_64", "q35", None, 0)
        return Release.of(conn.getVersion()), xml

    async with Libvirt(uri).connected() as libvirt:
        qemu, xml = await libvirt.call(look)
        launch = capabilities.launch_security(xml)
        return LibvirtFacts(uri=uri, library=libvirt.library, qemu=qemu, launch=launch)


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
