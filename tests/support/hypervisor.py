"""A libvirt that starts SEV-SNP and TDX guests: what cannot run here, and no more than that.

Domains are libvirt's own, of its test driver, which parses their XML (without the launch security
that it may be too old for), lists and ends them. What a processor and an emulator would do is
this module as a program: it connects to channel and console as QEMU does, gives the settings by
their file as fw_cfg does, answers as the kernel's configfs-tsm with reports that say of the launch
what the XML says, and runs the agent as its first process would.
"""

import asyncio
import base64
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from atoll.channel.dialer import multiplexing
from atoll.errors import AtollError
from atoll.simulated.chain import DevelopmentChain
from atoll.simulated.report import SimulatedProcessor
from atoll_agent import main as agent
from atoll_agent.boot import main as boot
from atoll_agent.boot import ports
from atoll_agent.hosting import Host
from atoll_manager.libvirt.binding import load
from atoll_manager.libvirt.connection import Libvirt
from support.dcap.quotes import Platform, td_report
from support.evidence import MEASUREMENT, REPORT_ID, chain
from support.kernel.configfs import ConfigFs, Driver
from support.kernel.machine import Machine

T = TypeVar("T")
DEVICE_S = 10.0
"""How long the host may take to say that it has none."""
TESTS = Path(__file__).parents[1]


class Hypervisor(Libvirt):
    """Connected as any.

    Args:
        alter: what is done to what the XML says of the settings, on its way to the processor.
    """

    def __init__(self, alter: Callable[[bytes], bytes] = bytes) -> None:
        super().__init__("test:///default")
        self.alter = alter
        self.created: list[str] = []
        """The XML of each domain."""

    async def call(self, work: Callable[[Any], T]) -> T:
        return await super().call(lambda conn: work(_Connection(conn, self)))


class _Connection:
    """libvirt's, but for the start of a domain."""

    def __init__(self, connection: Any, hypervisor: Hypervisor) -> None:
        self._connection = connection
        self._hypervisor = hypervisor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def createXML(self, xml: str, flags: int) -> Any:  # noqa: N802 - libvirt's name
        domain = self._connection.createXML(_for_the_test_driver(xml), flags)
        self._hypervisor.created.append(xml)
        launched = _named_by(ET.fromstring(xml))
        order = {
            "xml": xml,
            "chain": chain().to_pem().decode(),
            "launched": self._hypervisor.alter(launched).hex(),
        }
        emulator = subprocess.Popen(
            [sys.executable, "-m", "support.hypervisor"],
            stdin=subprocess.PIPE,
            env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PATH": os.defpath},
        )
        assert emulator.stdin is not None
        with emulator.stdin as pipe:
            pipe.write(json.dumps(order).encode())

        def forget() -> None:
            emulator.wait()
            with contextlib.suppress(load().libvirtError):
                domain.destroy()

        threading.Thread(target=forget, daemon=True).start()
        return domain


def _for_the_test_driver(xml: str) -> str:
    root = ET.fromstring(xml)
    root.set("type", "test")
    security = root.find("launchSecurity")
    assert security is not None
    root.remove(security)
    return ET.tostring(root, encoding="unicode")


def _named_by(root: ET.Element) -> bytes:
    """HOST_DATA or MRCONFIGID."""
    for name in ("hostData", "mrConfigId"):
        text = root.findtext(f"launchSecurity/{name}")
        if text is not None:
            return base64.b64decode(text, validate=True)
    raise AssertionError("no digest of the settings")


def _processor(root: ET.Element, launched: bytes, keys: DevelopmentChain) -> Machine:
    """The kernel of a guest that was launched so."""
    security = root.find("launchSecurity")
    assert security is not None
    if security.get("type") == "tdx":

        def quote(data: bytes, _: int) -> tuple[bytes, bytes]:
            body = td_report(report_data=data, mr_config_id=launched)
            return Platform(body=body).quote(), b""

        return Machine(files=ConfigFs(driver=Driver("tdx_guest", quote, auxblob=False)))
    guest = SimulatedProcessor(chain=keys).launch(
        MEASUREMENT, report_id=REPORT_ID, host_data=launched
    )

    def report(data: bytes, vmpl: int) -> tuple[bytes, bytes]:
        return guest.attest(data, vmpl=vmpl), keys.table().to_bytes()

    return Machine(files=ConfigFs(driver=Driver("sev_guest", report, floor=0)))


def _connected(root: ET.Element, device: str) -> socket.socket:
    source = root.find(f"devices/{device}/source")
    assert source is not None
    end = socket.socket(socket.AF_UNIX)
    end.connect(source.attrib["path"])
    return end


def main() -> None:
    """The emulator and its guest."""
    order = json.loads(sys.stdin.read())
    root = ET.fromstring(order["xml"])
    channel, console = _connected(root, "channel"), _connected(root, "serial")
    os.dup2(console.fileno(), sys.stderr.fileno())
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    keys = DevelopmentChain.from_pem(order["chain"].encode())
    machine = _processor(root, bytes.fromhex(order["launched"]), keys)
    entry = root.find("sysinfo/entry")
    assert entry is not None

    @contextlib.asynccontextmanager
    async def hosted(_: str) -> AsyncIterator[Host]:
        ends = await asyncio.open_unix_connection(sock=channel)
        async with multiplexing(ends) as dialer:
            reader, writer = await dialer.open("device")
            async with asyncio.timeout(DEVICE_S):
                sys.stderr.write("no device\n" if await reader.read(1) == b"" else "device\n")
            writer.close()
            yield Host(dialer, await dialer.open("status"))

    stand_ins: tuple[tuple[Any, str, Any], ...] = (
        (ports, "link_port", lambda _: None),
        (agent, "hosted", hosted),
        (agent, "Linux", lambda: machine),
    )
    for module, name, stand_in in stand_ins:
        setattr(module, name, stand_in)
    env = boot.read_settings(Path(entry.attrib["file"]))
    try:
        asyncio.run(agent.run_hosted(env, asyncio.Event()))
    except AtollError as error:
        sys.stderr.write(f"{error} ({error.code})\n")


if __name__ == "__main__":
    main()
