"""A domain as libvirt's XML (libvirt, "Domain XML format"), in canonical form (C14N 2.0).

Built as a tree: settings are data, whatever characters they have. Elements stand in the
order of libvirt's own output.
"""

import base64
import xml.etree.ElementTree as ET
from typing import Final
from xml.etree.ElementTree import Element, SubElement

from atoll_manager.libvirt.domain import Acceleration, Domain, SnpLaunch, TdxLaunch

NAMESPACE: Final = "urn:atoll:enclave:1"
"""Of our element in a domain's metadata."""
CHANNEL: Final = "atoll.channel"
SETTINGS: Final = "opt/atoll/settings"

ET.register_namespace("atoll", NAMESPACE)


def to_xml(domain: Domain) -> str:
    """The XML to create it by; the same for the same domain."""
    kvm = domain.acceleration is Acceleration.KVM
    root = Element("domain", type="kvm" if kvm else "qemu")
    _text(root, "name", domain.name)
    _text(root, "title", f"Atoll enclave {domain.owner.enclave_id}")
    SubElement(
        SubElement(root, "metadata"),
        f"{{{NAMESPACE}}}enclave",
        id=domain.owner.enclave_id,
        instance=domain.owner.instance,
    )
    _text(root, "memory", str(domain.memory_mib), unit="MiB")
    if domain.launch is not None:
        # Private memory of SNP and TDX is behind guest_memfd; what is shared with the host, here.
        backing = SubElement(root, "memoryBacking")
        SubElement(backing, "source", type="memfd")
        SubElement(backing, "access", mode="shared")
    _text(root, "vcpu", str(domain.vcpus), placement="static")
    if domain.settings is not None:
        information = SubElement(root, "sysinfo", type="fwcfg")
        SubElement(information, "entry", name=SETTINGS, file=str(domain.settings))
    _os(root, domain)
    features = SubElement(root, "features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    if isinstance(domain.launch, TdxLaunch):
        # The module keeps the guest's local APICs; KVM can only have them apart (split).
        SubElement(features, "ioapic", driver="qemu")
    _cpu(root, domain)
    SubElement(root, "clock", offset="utc")
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        # One boot, one enclave: what restarts would be another.
        _text(root, event, "destroy")
    _devices(root, domain)
    if domain.user is not None:
        label = SubElement(root, "seclabel", type="static", model="dac", relabel="no")
        _text(label, "label", "+{}:+{}".format(*domain.user))
    if domain.launch is not None:
        _launch(root, domain.launch)
    return ET.canonicalize(ET.tostring(root, encoding="unicode"))


def _os(root: Element, domain: Domain) -> None:
    system = SubElement(root, "os")
    _text(system, "type", "hvm", arch="x86_64", machine="q35")
    if domain.firmware is not None:
        _text(system, "loader", str(domain.firmware), type="rom")
    _text(system, "kernel", str(domain.boot.kernel))
    if domain.boot.initrd is not None:
        _text(system, "initrd", str(domain.boot.initrd))
    _text(system, "cmdline", domain.boot.cmdline)


def _cpu(root: Element, domain: Domain) -> None:
    if domain.cpu:
        named = SubElement(root, "cpu", mode="custom", match="exact", check="none")
        _text(named, "model", domain.cpu, fallback="forbid")
    elif domain.acceleration is Acceleration.KVM:
        SubElement(root, "cpu", mode="host-passthrough", check="none", migratable="off")
    else:
        most = SubElement(root, "cpu", mode="maximum")
        # Kernels of 6.12 panic at random where QEMU 7.2 emulates cmpxchg16b; with it off none
        # did in over 120 boots, and what has no cmpxchg16b is merely slower.
        SubElement(most, "feature", policy="disable", name="cx16")


def _devices(root: Element, domain: Domain) -> None:
    devices = SubElement(root, "devices")
    _text(devices, "emulator", str(domain.emulator))
    SubElement(devices, "controller", type="usb", model="none")
    confidential = domain.launch is not None
    if domain.channel is not None:
        port = SubElement(devices, "controller", type="virtio-serial", index="0")
        _shared_with_host(port, wanted=confidential)
    if domain.console is not None:
        serial = SubElement(devices, "serial", type="unix")
        SubElement(serial, "source", mode="connect", path=str(domain.console))
        SubElement(serial, "target", port="0")
    if domain.channel is not None:
        channel = SubElement(devices, "channel", type="unix")
        SubElement(channel, "source", mode="connect", path=str(domain.channel))
        SubElement(channel, "target", type="virtio", name=CHANNEL)
    if domain.vtpm is not None:
        backend = SubElement(
            SubElement(devices, "tpm", model="tpm-crb"), "backend", type="external"
        )
        SubElement(backend, "source", type="unix", mode="connect", path=str(domain.vtpm))
    SubElement(devices, "memballoon", model="none")
    random = SubElement(devices, "rng", model="virtio")
    _text(random, "backend", "/dev/urandom", model="random")
    _shared_with_host(random, wanted=confidential)
    SubElement(devices, "panic", model="isa")
    if domain.vsock:
        vsock = SubElement(devices, "vsock", model="virtio")
        SubElement(vsock, "cid", auto="yes")
        _shared_with_host(vsock, wanted=confidential)


def _shared_with_host(device: Element, *, wanted: bool) -> None:
    """Let a virtio device go through memory that a confidential guest shares (libvirt, "Launch
    security")."""
    if wanted:
        SubElement(device, "driver", iommu="on")


def _launch(root: Element, launch: SnpLaunch | TdxLaunch) -> None:
    match launch:
        case SnpLaunch():
            security = SubElement(
                root,
                "launchSecurity",
                type="sev-snp",
                kernelHashes="yes",
                authorKey="yes" if launch.author_key else "no",
                vcek="yes",
            )
            _text(security, "policy", f"0x{launch.policy:x}")
            if launch.id_block is not None and launch.id_auth is not None:
                _text(security, "idBlock", _b64(launch.id_block))
                _text(security, "idAuth", _b64(launch.id_auth))
            _text(security, "hostData", _b64(launch.host_data))
        case TdxLaunch():
            security = SubElement(root, "launchSecurity", type="tdx")
            _text(security, "policy", f"0x{launch.attributes:x}")
            _text(security, "mrConfigId", _b64(launch.mr_config_id))
            if launch.mr_owner is not None:
                _text(security, "mrOwner", _b64(launch.mr_owner))
            if launch.mr_owner_config is not None:
                _text(security, "mrOwnerConfig", _b64(launch.mr_owner_config))
            if launch.quote_socket is not None:
                SubElement(security, "quoteGenerationService", path=str(launch.quote_socket))


def _text(parent: Element, name: str, text: str, **attributes: str) -> None:
    SubElement(parent, name, attributes).text = text


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
