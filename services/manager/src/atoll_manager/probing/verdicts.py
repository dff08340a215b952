"""What a host can do, from what was found on it, and the first reason why it cannot. Pure.

Reasons are in the order in which a person would mend them: hardware, firmware, kernel,
QEMU, libvirt.
"""

from dataclasses import dataclass
from typing import Final

from atoll_manager.libvirt import versions
from atoll_manager.libvirt.domain import Acceleration
from atoll_manager.probing.facts import Facts, LibvirtFacts

AMD: Final = "AuthenticAMD"
INTEL: Final = "GenuineIntel"
SNP_FAMILIES: Final = {0x19: "Milan or Genoa", 0x1A: "Turin"}
"""Processor families whose server models have SEV-SNP (AMD, SNP ABI, chapter 1)."""
KERNEL_SNP: Final = (6, 11)
"""The first with KVM's side of SEV-SNP (Linux, arch/x86/kvm/svm/sev.c)."""
KERNEL_TDX: Final = (6, 16)
"""The first with KVM's side of TDX (Linux, arch/x86/kvm/vmx/tdx.c)."""
VENDORS: Final = {0x10DE: "NVIDIA", 0x1002: "AMD", 0x8086: "Intel"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether this host has something."""

    name: str
    able: bool
    reason: str
    """What it has, or the first thing that is missing."""


def judge(facts: Facts) -> tuple[Verdict, ...]:
    """One verdict for each thing that an enclave may need."""
    reasons = {
        "sev-snp": _snp(facts),
        "tdx": _tdx(facts),
        "keystone": _keystone(facts),
        "kvm": _kvm(facts),
        "tcg": _program(facts, "qemu-system-x86_64", "Debian: qemu-system-x86"),
        "vtpm": _vtpm(facts),
        "vsock": _device(facts, "vhost-vsock", "modprobe vhost_vsock"),
        "libvirt": facts.libvirt if isinstance(facts.libvirt, str) else _old(facts.libvirt),
        "docker": facts.docker,
        "gpu": None if facts.machine.gpus else "no accelerator on the PCI bus",
    }
    return tuple(
        Verdict(name=name, able=why is None, reason=_has(facts, name) if why is None else why)
        for name, why in reasons.items()
    )


def _snp(facts: Facts) -> str | None:
    machine, cpu = facts.machine, facts.machine.processor
    if cpu.machine != "x86_64" or cpu.vendor != AMD:
        return f"the processor is not AMD's ({cpu.name or cpu.machine})"
    if "hypervisor" in cpu.flags and "sev_snp" not in cpu.flags:
        return "this host is itself a virtual machine, which was not given SEV-SNP"
    if cpu.family not in SNP_FAMILIES:
        return f"processors of family 0x{cpu.family:x} have no SEV-SNP"
    if machine.kernel < KERNEL_SNP:
        return "the kernel is {}.{}: want {}.{} or newer".format(*machine.kernel, *KERNEL_SNP)
    if "sev" not in cpu.flags:
        return "firmware: SMEE (memory encryption) is off, or the processor has none"
    if "sev_snp" not in cpu.flags:
        return "firmware: SEV-SNP support, RMP coverage or the IOMMU is off"
    if (parameter := machine.parameters.get("kvm_amd.sev_snp")) is None:
        return "the module kvm_amd is not loaded"
    if parameter not in {"Y", "1"}:
        return "kvm_amd.sev_snp is off: the kernel could not set up the RMP, see its log"
    if "sev" not in machine.devices:
        return "there is no /dev/sev: the module ccp found no secure processor"
    return _launch(facts, "sev-snp", versions.LIBVIRT_SNP, versions.QEMU_SNP)


def _tdx(facts: Facts) -> str | None:
    machine, cpu = facts.machine, facts.machine.processor
    if cpu.machine != "x86_64" or cpu.vendor != INTEL:
        return f"the processor is not Intel's ({cpu.name or cpu.machine})"
    if "hypervisor" in cpu.flags and "tdx_host_platform" not in cpu.flags:
        return "this host is itself a virtual machine, which was not given TDX"
    if machine.kernel < KERNEL_TDX:
        return "the kernel is {}.{}: want {}.{} or newer".format(*machine.kernel, *KERNEL_TDX)
    if "tdx_host_platform" not in cpu.flags:
        return "firmware: TDX, TME-MT or the SEAM loader is off, or the processor has none"
    if (parameter := machine.parameters.get("kvm_intel.tdx")) is None:
        return "the module kvm_intel is not loaded, or knows no TDX"
    if parameter not in {"Y", "1"}:
        return "kvm_intel.tdx is off: load it with tdx=1, and see the kernel's log"
    return _launch(facts, "tdx", versions.LIBVIRT_TDX, versions.QEMU_TDX)


def _launch(
    facts: Facts, kind: str, library: versions.Release, qemu: versions.Release
) -> str | None:
    it = facts.libvirt
    if isinstance(it, str):
        return f"the hardware can; libvirt: {it}"
    if it.qemu < qemu:
        return f"the hardware can; QEMU {it.qemu} cannot: want {qemu} or newer"
    if it.library < library:
        return f"the hardware can; libvirt {it.library} cannot: want {library} or newer"
    if kind not in it.launch:
        return f"the hardware can; libvirt says that this QEMU cannot start {kind} guests"
    return None


def _keystone(facts: Facts) -> str | None:
    if facts.machine.processor.machine != "riscv64":
        return f"the processor is not RISC-V ({facts.machine.processor.machine})"
    return _device(facts, "keystone_enclave", "the Keystone driver is not loaded")


def _kvm(facts: Facts) -> str | None:
    if (
        why := _device(facts, "kvm", "modprobe kvm_amd or kvm_intel, or firmware is off")
    ) is not None:
        return why
    found = facts.acceleration
    if found is None:
        return "there is /dev/kvm, and no guest was started to see whether it works"
    if found.kind is not Acceleration.KVM:
        return found.reason
    if not found.kernel_tried:
        return f"not known: {found.reason}; name one with --kernel"
    return None


def _vtpm(facts: Facts) -> str | None:
    why = _program(facts, "swtpm", "Debian: swtpm")
    if why is None and "ovmf/OVMF.fd" not in facts.machine.firmware:
        return "no firmware that measures what it boots (Debian: ovmf)"
    return why


def _old(it: LibvirtFacts) -> str | None:
    if it.library < versions.LIBVIRT:
        return f"libvirt {it.library} is too old: want {versions.LIBVIRT} or newer"
    if it.qemu < versions.QEMU:
        return f"QEMU {it.qemu} is too old: want {versions.QEMU} or newer"
    return None


def _program(facts: Facts, name: str, hint: str) -> str | None:
    return None if name in facts.machine.programs else f"{name} is not installed ({hint})"


def _device(facts: Facts, name: str, hint: str) -> str | None:
    return None if name in facts.machine.devices else f"there is no /dev/{name} ({hint})"


def _has(facts: Facts, name: str) -> str:
    machine, it = facts.machine, facts.libvirt
    if name == "gpu":
        return ", ".join(
            f"{gpu.address} {VENDORS.get(gpu.vendor, f'{gpu.vendor:04x}')} {gpu.device:04x}"
            for gpu in machine.gpus
        )
    if name in {"libvirt", "sev-snp", "tdx"} and isinstance(it, LibvirtFacts):
        what = "" if name == "libvirt" else f"{machine.processor.name}, "
        return f"{what}libvirt {it.library}, QEMU {it.qemu} at {it.uri}"
    if name == "kvm" and facts.acceleration is not None:
        return facts.acceleration.reason
    if name == "tcg":
        return f"{machine.programs['qemu-system-x86_64']}: slow, and protects nothing from the host"
    if name == "vtpm":
        return f"{machine.programs['swtpm']}: measures, and protects nothing from the host"
    return {"vsock": "/dev/vhost-vsock", "keystone": "/dev/keystone_enclave"}.get(name, "answers")
