"""What is concluded of hosts of real kinds, each with the reason why it cannot do the rest."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import ConfigError, UnreachableError
from atoll_manager.libvirt.acceleration import Found
from atoll_manager.libvirt.connection import Libvirt
from atoll_manager.libvirt.domain import Acceleration
from atoll_manager.probing import asking, capabilities, reading
from atoll_manager.probing.facts import Facts, LibvirtFacts
from atoll_manager.probing.verdicts import Verdict, judge
from support import machines
from support.machines import Tree, libvirt

KVM = Found(kind=Acceleration.KVM, reason="a kernel came up under KVM", kernel_tried=True)
NEW = libvirt("12.8.0", "11.1.2", "sev", "sev-snp", "tdx")
DEBIAN_12 = libvirt("9.0.0", "7.2.22", "sev")
DEBIAN_13 = libvirt("11.3.0", "10.0.13", "sev", "sev-snp")


def verdicts(
    tree: Tree,
    root: Path,
    it: LibvirtFacts | str = NEW,
    found: Found | None = KVM,
    machine: str = "x86_64",
) -> dict[str, Verdict]:
    facts = Facts(
        machine=reading.read(tree.write(root), machine), libvirt=it, acceleration=found, docker=None
    )
    return {verdict.name: verdict for verdict in judge(facts)}


def test_a_milan_host_that_is_set_up_can_do_snp_and_no_tdx(tmp_path: Path) -> None:
    found = verdicts(machines.MILAN_SNP, tmp_path)
    assert {name for name, it in found.items() if it.able} == {
        *("sev-snp", "kvm", "tcg", "vtpm", "vsock", "libvirt", "docker", "gpu")
    }
    assert "EPYC 7763" in found["sev-snp"].reason
    assert "not Intel's" in found["tdx"].reason
    assert found["gpu"].reason == "0000:41:00.0 NVIDIA 20b5"


def test_a_tdx_host_that_is_set_up_can_do_tdx_and_no_snp(tmp_path: Path) -> None:
    found = verdicts(machines.TDX_HOST, tmp_path)
    assert found["tdx"].able
    assert not found["sev-snp"].able
    assert "not AMD's" in found["sev-snp"].reason


@pytest.mark.parametrize(
    ("tree", "it", "kind", "reason"),
    [
        (machines.MILAN_SNP_OFF_IN_FIRMWARE, NEW, "sev-snp", "firmware: SEV-SNP support"),
        (machines.MILAN_SMEE_OFF_IN_FIRMWARE, NEW, "sev-snp", "firmware: SMEE"),
        (machines.MILAN_OLD_KERNEL, NEW, "sev-snp", "kernel is 6.1: want 6.11"),
        (machines.MILAN_SNP, DEBIAN_12, "sev-snp", "QEMU 7.2.22 cannot: want 9.1.0"),
        (
            machines.MILAN_SNP,
            libvirt("9.0.0", "10.0.2", "sev-snp"),
            "sev-snp",
            "libvirt 9.0.0 cannot: want 10.5.0",
        ),
        (machines.MILAN_SNP, libvirt("11.3.0", "10.0.2", "sev"), "sev-snp", "cannot start sev-snp"),
        (machines.MILAN_SNP, "no libvirt at x", "sev-snp", "no libvirt at x"),
        (machines.TDX_OFF_IN_FIRMWARE, NEW, "tdx", "firmware: TDX"),
        (machines.TDX_HOST, DEBIAN_13, "tdx", "QEMU 10.0.13 cannot: want 10.1.0"),
        (
            machines.TDX_HOST,
            libvirt("11.3.0", "10.1.0", "tdx"),
            "tdx",
            "libvirt 11.3.0 cannot: want 11.6.0",
        ),
        (machines.A_LAPTOP, NEW, "tdx", "firmware: TDX"),
        (machines.A_LAPTOP, NEW, "vsock", "no /dev/vhost-vsock"),
        (machines.A_LAPTOP, NEW, "vtpm", "swtpm is not installed"),
        (machines.A_LAPTOP, NEW, "tcg", "qemu-system-x86_64 is not installed"),
        (machines.A_MICRO_VM, NEW, "sev-snp", "itself a virtual machine"),
        (machines.A_MICRO_VM, NEW, "gpu", "no accelerator"),
        (machines.A_MICRO_VM, NEW, "keystone", "not RISC-V"),
    ],
)
def test_the_first_thing_that_is_missing_is_the_reason(
    tree: Tree, it: LibvirtFacts | str, kind: str, reason: str, tmp_path: Path
) -> None:
    if tree is machines.A_LAPTOP and kind == "tdx":
        tree = Tree(cpu=tree.cpu, flags=tree.flags, kernel="6.17.1", files=tree.files)
    found = verdicts(tree, tmp_path, it)[kind]
    assert not found.able
    assert reason in found.reason


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"sys/module/kvm_amd/parameters/sev_snp": ""}, "kvm_amd is not loaded"),
        ({"sys/module/kvm_amd/parameters/sev_snp": "N\n"}, "kvm_amd.sev_snp is off"),
    ],
)
def test_what_the_module_says_counts(files: dict[str, str], reason: str, tmp_path: Path) -> None:
    it = machines.MILAN_SNP
    tree = Tree(cpu=it.cpu, flags=it.flags, kernel=it.kernel, files={**it.files, **files})
    assert reason in verdicts(tree, tmp_path)["sev-snp"].reason


def test_a_device_file_does_not_make_kvm(tmp_path: Path) -> None:
    hangs = Found(kind=Acceleration.TCG, reason="a kernel did not come up", kernel_tried=True)
    only_rom = Found(kind=Acceleration.KVM, reason="a ROM ran", kernel_tried=False)
    for found, reason in ((hangs, "did not come up"), (only_rom, "not known"), (None, "no guest")):
        verdict = verdicts(machines.A_MICRO_VM, tmp_path, found=found)["kvm"]
        assert not verdict.able
        assert reason in verdict.reason


def test_a_keystone_board_is_known_by_its_driver(tmp_path: Path) -> None:
    board = Tree(cpu=("", 0, 0, ""), flags="", kernel="6.12.1", files={"dev/keystone_enclave": ""})
    assert verdicts(board, tmp_path, machine="riscv64")["keystone"].able
    without = Tree(cpu=("", 0, 0, ""), flags="", kernel="6.12.1")
    found = verdicts(without, tmp_path / "other", machine="riscv64")["keystone"]
    assert "driver is not loaded" in found.reason


def test_too_old_a_libvirt_or_qemu_is_named(tmp_path: Path) -> None:
    for it, name in (
        (libvirt("8.9.0", "7.2.0"), "libvirt 8.9.0"),
        (libvirt("9.0.0", "6.2.0"), "QEMU 6.2.0"),
    ):
        found = verdicts(machines.A_LAPTOP, tmp_path, it)["libvirt"]
        assert not found.able
        assert name in found.reason


@pytest.mark.parametrize(
    ("xml", "kinds"),
    [
        (
            "<domainCapabilities><features><sev supported='no'/></features></domainCapabilities>",
            set(),
        ),
        (
            "<domainCapabilities><features><sev supported='yes'/></features></domainCapabilities>",
            {"sev"},
        ),
        (
            (
                "<domainCapabilities><features><sev supported='yes'/><tdx supported='yes'/>"
                "<launchSecurity supported='yes'><enum name='sectype'><value>sev</value>"
                "<value>sev-snp</value></enum></launchSecurity></features></domainCapabilities>"
            ),
            {"sev", "sev-snp", "tdx"},
        ),
        (
            (
                "<domainCapabilities><features><launchSecurity supported='no'><enum name='sectype'>"
                "<value>tdx</value></enum></launchSecurity></features></domainCapabilities>"
            ),
            set(),
        ),
        ("<broken", set()),
        ("<!DOCTYPE a []><domainCapabilities/>", set()),
    ],
)
def test_what_libvirt_says_of_launch_security(xml: str, kinds: set[str]) -> None:
    assert capabilities.launch_security(xml) == kinds


@pytest.mark.parametrize(
    ("tree", "tee", "name"),
    [
        (machines.MILAN_SNP, "sev-snp", "sev"),
        (machines.MILAN_SNP, "sev-snp", "kvm"),
        (machines.TDX_HOST, "tdx", "kvm"),
    ],
)
async def test_an_account_that_may_not_open_the_devices_is_told_so(
    tree: Tree, tee: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path, *_: object, **__: object) -> bool:
        return path != tmp_path / "dev" / name

    # To root, which tests may be, nothing is denied.
    monkeypatch.setattr(os, "access", denied)
    it = Said("12.8.0", "11.1.2", tee)
    with pytest.raises(ConfigError, match=f"/dev/{name}") as caught:
        await asking.require(it, tee, QEMU, root=tree.write(tmp_path))
    assert caught.value.code == "manager.no_tee"


MODELS = (
    "<domainCapabilities><cpu><mode name='host-passthrough' supported='yes'/>"
    "<mode name='custom' supported='{}'><model usable='yes'>EPYC-Milan</model>"
    "<model usable='no' vendor='AMD'>EPYC-v4</model><model/></mode></cpu>"
    "<features><launchSecurity supported='yes'><enum name='sectype'>{}</enum></launchSecurity>"
    "</features></domainCapabilities>"
)


@pytest.mark.parametrize(
    ("xml", "models"),
    [
        (MODELS.format("yes", ""), {"EPYC-Milan", "EPYC-v4"}),
        (MODELS.format("no", ""), set()),
        ("<domainCapabilities/>", set()),
        ("<broken", set()),
        ("<!DOCTYPE a []>" + MODELS.format("yes", ""), set()),
    ],
)
def test_what_libvirt_says_of_processors(xml: str, models: set[str]) -> None:
    assert capabilities.vcpu_types(xml) == models


@given(st.text(max_size=200))
def test_any_text_says_nothing_of_a_host(xml: str) -> None:
    assert capabilities.vcpu_types(xml) == capabilities.launch_security(xml) == frozenset()


class Said(Libvirt):
    """A libvirt of these versions that says this of its QEMU."""

    def __init__(self, library: str, qemu: str, *kinds: str, gone: bool = False) -> None:
        super().__init__("qemu:///system")
        facts = libvirt(library, qemu)
        self.library = facts.library
        self._qemu = facts.qemu
        self._values = "".join(f"<value>{kind}</value>" for kind in kinds)
        self._lost = gone
        self.asked: list[tuple[object, ...]] = []

    async def call(self, work: Callable[[Any], Any]) -> Any:
        if self._lost:
            raise UnreachableError("libvirt is not there", code="libvirt.lost")
        return work(self)

    def getDomainCapabilities(self, *arguments: object) -> str:  # noqa: N802 - libvirt's name
        self.asked.append(arguments)
        return MODELS.format("yes", self._values)

    def getVersion(self) -> int:  # noqa: N802 - as above
        major, minor, micro = self._qemu
        return major * 1_000_000 + minor * 1_000 + micro


QEMU = Path("/opt/qemu")


@pytest.mark.parametrize(
    ("tree", "tee", "vcpu_type"),
    [
        (machines.MILAN_SNP, "sev-snp", "EPYC-Milan"),
        # What it lacks of the host's features is not what is measured.
        (machines.MILAN_SNP, "sev-snp", "EPYC-v4"),
        (machines.TDX_HOST, "tdx", ""),
    ],
)
async def test_a_host_that_is_set_up_is_not_refused(
    tree: Tree, tee: str, vcpu_type: str, tmp_path: Path
) -> None:
    it = Said("12.8.0", "11.1.2", "sev", tee)
    await asking.require(it, tee, QEMU, vcpu_type, root=tree.write(tmp_path))
    assert [arguments[0] for arguments in it.asked] == ["/opt/qemu"]


@pytest.mark.parametrize(
    ("tree", "it", "wanted", "reason"),
    [
        (machines.TDX_HOST, Said("12.8.0", "11.1.2", "sev-snp"), ("sev-snp", ""), "not AMD's"),
        (machines.MILAN_SNP, Said("12.8.0", "11.1.2", "tdx"), ("tdx", ""), "not Intel's"),
        (
            machines.MILAN_SNP_OFF_IN_FIRMWARE,
            Said("12.8.0", "11.1.2", "sev-snp"),
            ("sev-snp", "EPYC-v4"),
            "firmware: SEV-SNP support",
        ),
        (
            machines.MILAN_OLD_KERNEL,
            Said("12.8.0", "11.1.2", "sev-snp"),
            ("sev-snp", "EPYC-v4"),
            "want 6.11",
        ),
        (machines.MILAN_SNP, Said("9.0.0", "9.1.0", "sev-snp"), ("sev-snp", ""), "want 10.5.0"),
        (machines.MILAN_SNP, Said("11.3.0", "7.2.22", "sev-snp"), ("sev-snp", ""), "want 9.1.0"),
        (machines.MILAN_SNP, Said("11.3.0", "10.0.2", "sev"), ("sev-snp", ""), "cannot start"),
        (machines.MILAN_SNP, Said("1.0.0", "1.0.0", gone=True), ("sev-snp", ""), "is not there"),
        (
            machines.MILAN_SNP,
            Said("11.3.0", "10.0.2", "sev-snp"),
            ("sev-snp", "EPYC-Genoa"),
            "no processor EPYC-Genoa of this QEMU; of AMD's: EPYC-Milan, EPYC-v4",
        ),
        (
            machines.TDX_OFF_IN_FIRMWARE,
            Said("12.8.0", "11.1.2", "tdx"),
            ("tdx", ""),
            "firmware: TDX",
        ),
        (machines.TDX_HOST, Said("11.3.0", "10.1.0", "tdx"), ("tdx", ""), "want 11.6.0"),
        (machines.TDX_HOST, Said("12.8.0", "10.0.2", "tdx"), ("tdx", ""), "want 10.1.0"),
        (machines.TDX_HOST, Said("12.8.0", "11.1.2", "sev-snp"), ("tdx", ""), "cannot start tdx"),
    ],
)
async def test_a_host_that_lacks_one_thing_is_refused_with_it(
    tree: Tree, it: Said, wanted: tuple[str, str], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        await asking.require(it, wanted[0], QEMU, wanted[1], root=tree.write(tmp_path))
    assert caught.value.code == "manager.no_tee"
    assert reason in caught.value.message
    assert "docs/hosts.md" in (caught.value.hint or "")


@given(st.binary(max_size=300), st.binary(max_size=20))
def test_any_bytes_in_those_files_are_read(cpuinfo: bytes, number: bytes) -> None:
    reading._processor(cpuinfo.decode("ascii", "replace"), "x86_64")
    assert reading._number(number.decode("ascii", "replace")) >= 0


def test_a_machine_without_any_of_it_is_read(tmp_path: Path) -> None:
    found = reading.read(tmp_path, "x86_64")
    assert (found.kernel, found.devices, found.gpus) == ((0, 0), frozenset(), ())


async def test_this_machine_is_probed_without_libvirt_and_engine(tmp_path: Path) -> None:
    root = machines.A_MICRO_VM.write(tmp_path / "root")
    none = f"test+unix:///default?socket={tmp_path}/none"
    found = await asking.probe(uri=none, boot=False, root=root, docker=tmp_path / "none.sock")
    reasons = {it.name: it.reason for it in found}
    assert "libvirt" in reasons["libvirt"]
    assert "No such file" in reasons["docker"]


@pytest.mark.parametrize(("answer", "able"), [(b"HTTP/1.0 200 OK\r\n\r\n", True), (b"?", False)])
async def test_an_engine_is_there_when_it_answers(
    answer: bytes, *, able: bool, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        server.listen()

        def serve() -> None:
            end, _ = server.accept()
            with end:
                end.recv(64)
                end.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        why = await asyncio.to_thread(asking._engine, tmp_path / "sock")
        thread.join()
    assert (why is None) == able
