"""Domains: what is legal, what their XML says, and that settings stay data in it."""

import base64
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import InputError
from atoll_manager.libvirt.domain import (
    MAX_CMDLINE,
    Acceleration,
    DirectBoot,
    Owner,
    SnpLaunch,
    TdxLaunch,
)
from atoll_manager.libvirt.domain_xml import to_xml
from atoll_manager.libvirt.identity import owner_of
from unit.manager.libvirt.domains import KINDS, KVM, PLAIN, SNP, TDX, VTPM

META = "a\"b'<c>&amp;&d;$(e)`f`;g|h\\i,j=k%l{m}"


def tree(domain: Any) -> ET.Element:
    return ET.fromstring(to_xml(domain))


@pytest.mark.parametrize("domain", KINDS.values(), ids=KINDS)
def test_no_guest_has_a_network_a_disk_or_a_screen(domain: Any) -> None:
    devices = tree(domain).find("devices")
    assert devices is not None
    allowed = {
        *("emulator", "controller", "serial", "channel", "tpm"),
        *("memballoon", "rng", "panic", "vsock"),
    }
    assert {device.tag for device in devices} <= allowed
    assert [it.get("model") for it in devices.findall("memballoon")] == ["none"]


@pytest.mark.parametrize("domain", KINDS.values(), ids=KINDS)
def test_a_guest_boots_once(domain: Any) -> None:
    root = tree(domain)
    ends = [root.findtext(name) for name in ("on_poweroff", "on_reboot", "on_crash")]
    assert ends == ["destroy"] * 3
    assert root.find("devices/panic") is not None


def test_the_channel_and_the_console_are_sockets_on_which_somebody_listens() -> None:
    root = tree(PLAIN)
    for path, where in (
        ("devices/channel", "/run/e0123/channel.sock"),
        ("devices/serial", "/run/e0123/console.sock"),
    ):
        (device,) = root.findall(path)
        assert device.get("type") == "unix"
        source = device.find("source")
        assert source is not None
        assert source.attrib == {"mode": "connect", "path": where}
    target = root.find("devices/channel/target")
    assert target is not None
    assert target.attrib == {"type": "virtio", "name": "atoll.channel"}


def test_a_guest_that_is_translated_has_no_cmpxchg16b() -> None:
    assert tree(PLAIN).get("type") == "qemu"
    cpu = tree(PLAIN).find("cpu")
    assert cpu is not None
    assert cpu.get("mode") == "maximum"
    assert [it.attrib for it in cpu] == [{"policy": "disable", "name": "cx16"}]


def test_a_guest_under_kvm_has_the_processor_that_is_there_or_the_one_that_is_measured() -> None:
    for domain, mode in ((KVM, "host-passthrough"), (SNP, "custom")):
        cpu = tree(domain).find("cpu")
        assert cpu is not None
        assert (tree(domain).get("type"), cpu.get("mode")) == ("kvm", mode)
    assert tree(SNP).findtext("cpu/model") == "EPYC-v4"


def test_an_snp_launch_has_kernel_hashes_host_data_and_its_id_block() -> None:
    launch = tree(SNP).find("launchSecurity")
    assert launch is not None
    assert launch.attrib == {
        "type": "sev-snp",
        "kernelHashes": "yes",
        "authorKey": "yes",
        "vcek": "yes",
    }
    assert launch.findtext("policy") == "0x30000"
    assert base64.b64decode(launch.findtext("hostData", "")) == bytes(range(32))
    assert base64.b64decode(launch.findtext("idBlock", "")) == b"\1" * 96
    assert base64.b64decode(launch.findtext("idAuth", "")) == b"\2" * 4096


def test_a_tdx_launch_has_its_configuration_and_who_makes_quotes() -> None:
    launch = tree(TDX).find("launchSecurity")
    assert launch is not None
    assert launch.get("type") == "tdx"
    assert launch.findtext("policy") == "0x10000000"
    assert base64.b64decode(launch.findtext("mrConfigId", "")) == bytes(range(48))
    quotes = launch.find("quoteGenerationService")
    assert quotes is not None
    assert quotes.get("path") == "/var/run/tdx-qgs/qgs.socket"
    ioapic = tree(TDX).find("features/ioapic")
    assert ioapic is not None
    assert ioapic.get("driver") == "qemu"


@pytest.mark.parametrize("domain", [SNP, TDX], ids=["sev-snp", "tdx"])
def test_devices_of_a_confidential_guest_go_through_shared_memory(domain: Any) -> None:
    root = tree(domain)
    for name in ("rng", "vsock"):
        driver = root.find(f"devices/{name}/driver")
        assert driver is not None
        assert driver.get("iommu") == "on"
    source = root.find("memoryBacking/source")
    assert source is not None
    assert source.get("type") == "memfd"


def test_a_vtpm_is_outside_of_the_guest_s_emulator() -> None:
    backend = tree(VTPM).find("devices/tpm/backend")
    assert backend is not None
    assert backend.get("type") == "external"
    source = backend.find("source")
    assert source is not None
    assert source.get("path") == "/run/e0123/tpm.sock"


@pytest.mark.parametrize("domain", KINDS.values(), ids=KINDS)
def test_the_same_domain_is_the_same_xml(domain: Any) -> None:
    xml = to_xml(domain)
    assert xml == to_xml(replace(domain))
    assert ET.canonicalize(xml) == xml


def test_what_a_shell_or_xml_would_take_for_its_own_stays_data() -> None:
    boot = DirectBoot(kernel=Path("/" + META), initrd=Path("/" + META), cmdline=META)
    domain = replace(
        PLAIN, boot=boot, channel=Path("/" + META), settings=Path("/" + META), console=None
    )
    root = tree(domain)
    assert root.findtext("os/kernel") == "/" + META
    assert root.findtext("os/cmdline") == META
    entry = root.find("sysinfo/entry")
    assert entry is not None
    assert entry.attrib == {"name": "opt/atoll/settings", "file": "/" + META}
    shape = [it.tag for it in root.iter() if it.tag != "serial"]
    plain = [it.tag for it in tree(replace(PLAIN, console=None)).iter()]
    assert shape == plain


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_path_is_refused_or_read_back_as_it_was(text: str) -> None:
    try:
        domain = replace(PLAIN, settings=Path("/" + text))
    except InputError:
        return
    entry = tree(domain).find("sysinfo/entry")
    assert entry is not None
    assert entry.get("file") == str(Path("/" + text))


BAD: dict[str, Any] = {
    "memory": lambda: replace(PLAIN, memory_mib=64),
    "memory of more than there is": lambda: replace(PLAIN, memory_mib=1 << 30),
    "vcpus": lambda: replace(PLAIN, vcpus=0),
    "many vcpus": lambda: replace(PLAIN, vcpus=256),
    "cpu": lambda: replace(PLAIN, cpu="host,+x"),
    "relative emulator": lambda: replace(PLAIN, emulator=Path("qemu")),
    "newline in a path": lambda: replace(PLAIN, settings=Path("/a\nb")),
    "zero in a path": lambda: replace(PLAIN, settings=Path("/a\0b")),
    "long socket": lambda: replace(PLAIN, channel=Path("/" + "s" * 108)),
    "long path": lambda: replace(PLAIN, settings=Path("/" + "s" * 4096)),
    "snp without kvm": lambda: replace(SNP, acceleration=Acceleration.TCG),
    "snp without firmware": lambda: replace(SNP, firmware=None),
    "vtpm without firmware": lambda: replace(VTPM, firmware=None),
    "user": lambda: replace(PLAIN, user=(-1, 0)),
    "line in the command line": lambda: DirectBoot(kernel=Path("/k"), initrd=None, cmdline="a\nb"),
    "long command line": lambda: DirectBoot(
        kernel=Path("/k"), initrd=None, cmdline="a" * (MAX_CMDLINE + 1)
    ),
    "host data": lambda: SnpLaunch(host_data=bytes(31)),
    "policy": lambda: SnpLaunch(host_data=bytes(32), policy=1 << 64),
    "id block alone": lambda: SnpLaunch(host_data=bytes(32), id_block=bytes(96)),
    "id block": lambda: SnpLaunch(host_data=bytes(32), id_block=bytes(95), id_auth=bytes(4096)),
    "id auth": lambda: SnpLaunch(host_data=bytes(32), id_block=bytes(96), id_auth=bytes(4095)),
    "author without block": lambda: SnpLaunch(host_data=bytes(32), author_key=True),
    "mr config id": lambda: TdxLaunch(mr_config_id=bytes(47)),
    "mr owner": lambda: TdxLaunch(mr_config_id=bytes(48), mr_owner=bytes(32)),
    "attributes": lambda: TdxLaunch(mr_config_id=bytes(48), attributes=-1),
    "quote socket": lambda: TdxLaunch(mr_config_id=bytes(48), quote_socket=Path("qgs")),
    "enclave id": lambda: Owner(enclave_id="e1;rm -rf", instance="00"),
    "instance": lambda: Owner(enclave_id="e1", instance=""),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_a_domain_that_cannot_be_is_refused(make: Any) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert caught.value.code == "domain.invalid"


def test_a_domain_of_ours_is_known_again_and_others_are_not() -> None:
    xml = to_xml(PLAIN)
    assert owner_of(xml) == PLAIN.owner
    assert owner_of(xml.replace(">atoll-e0123<", ">clone<")) is None
    assert owner_of(xml.replace("urn:atoll:enclave:1", "urn:other")) is None
    assert owner_of(xml.replace('id="e0123"', 'id="e 0123"')) is None
    assert owner_of("<domain><name>other</name></domain>") is None
    assert owner_of('<!DOCTYPE d [<!ENTITY a "b">]>' + xml) is None
    assert owner_of(" " * (1 << 20) + xml) is None


@given(st.text(max_size=200))
def test_any_text_is_a_domain_of_ours_or_not(text: str) -> None:
    assert owner_of(text) is None


@given(st.integers(min_value=0), st.integers(min_value=0))
def test_xml_that_was_cut_is_nobody_else_s(start: int, length: int) -> None:
    xml = to_xml(PLAIN)
    start %= len(xml)
    cut = xml[:start] + xml[start + 1 + length % 20 :]
    found = owner_of(cut)
    assert found is None or found.enclave_id == PLAIN.owner.enclave_id
