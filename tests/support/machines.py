"""Trees of /proc, /sys and /dev as kinds of hosts have them, and what their libvirt says.

Flags are those that matter here and some that lie beside them; names, families and files are as
such machines have them (Linux, Documentation/ABI and arch/x86/include/asm/cpufeatures.h).
"""

from dataclasses import dataclass, field
from pathlib import Path

from atoll_manager.libvirt.versions import Release
from atoll_manager.probing.facts import LibvirtFacts

COMMON = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep cmov pat mmx fxsr sse sse2 syscall nx lm aes avx2"
)
MILAN = ("AuthenticAMD", 25, 1, "AMD EPYC 7763 64-Core Processor")
SAPPHIRE_RAPIDS = ("GenuineIntel", 6, 143, "Intel(R) Xeon(R) Platinum 8480+")
LAPTOP = ("GenuineIntel", 6, 154, "12th Gen Intel(R) Core(TM) i7-1260P")


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One machine."""

    cpu: tuple[str, int, int, str]
    flags: str
    kernel: str
    files: dict[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> Path:
        """Below `root`."""
        vendor, family, model, name = self.cpu
        block = (
            f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n"
            f"model name\t: {name}\nstepping\t: 1\nflags\t\t: {COMMON} {self.flags}\n"
        )
        cpuinfo = "\n".join(f"processor\t: {number}\n{block}" for number in range(2))
        files = {
            "proc/cpuinfo": cpuinfo,
            "proc/sys/kernel/osrelease": self.kernel + "\n",
            **self.files,
        }
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return root


def gpu(address: str, vendor: int, device: int, kind: int = 0x030200) -> dict[str, str]:
    """A device on the PCI bus."""
    at = f"sys/bus/pci/devices/{address}"
    return {
        f"{at}/class": f"0x{kind:06x}\n",
        f"{at}/vendor": f"0x{vendor:04x}\n",
        f"{at}/device": f"0x{device:04x}\n",
    }


INSTALLED = {
    "usr/bin/qemu-system-x86_64": "",
    "usr/bin/swtpm": "",
    "usr/share/ovmf/OVMF.fd": "",
    "dev/kvm": "",
    "dev/vhost-vsock": "",
}
AMD = {
    **INSTALLED,
    "sys/module/kvm_amd/parameters/sev": "Y\n",
    "sys/module/kvm_amd/parameters/sev_es": "Y\n",
    "sys/module/kvm_amd/parameters/sev_snp": "Y\n",
    "dev/sev": "",
}
BMC = gpu("0000:c3:00.0", 0x1A03, 0x2000, 0x030000)

MILAN_SNP = Tree(
    cpu=MILAN,
    flags="svm sme sev sev_es sev_snp",
    kernel="6.12.48+deb13-amd64",
    files={**AMD, **BMC, **gpu("0000:41:00.0", 0x10DE, 0x20B5)},
)
MILAN_SNP_OFF_IN_FIRMWARE = Tree(
    cpu=MILAN,
    flags="svm sme sev sev_es",
    kernel="6.12.48+deb13-amd64",
    files={**AMD, "sys/module/kvm_amd/parameters/sev_snp": "N\n"},
)
MILAN_SMEE_OFF_IN_FIRMWARE = Tree(
    cpu=MILAN,
    flags="svm",
    kernel="6.12.48+deb13-amd64",
    files={**INSTALLED, "sys/module/kvm_amd/parameters/sev": "N\n"},
)
MILAN_OLD_KERNEL = Tree(
    cpu=MILAN, flags="svm sme sev sev_es sev_snp", kernel="6.1.0-50-amd64", files=AMD
)
TDX_HOST = Tree(
    cpu=SAPPHIRE_RAPIDS,
    flags="vmx tme tdx_host_platform",
    kernel="6.17.8-amd64",
    files={**INSTALLED, "sys/module/kvm_intel/parameters/tdx": "Y\n"},
)
TDX_OFF_IN_FIRMWARE = Tree(
    cpu=SAPPHIRE_RAPIDS,
    flags="vmx tme",
    kernel="6.17.8-amd64",
    files={**INSTALLED, "sys/module/kvm_intel/parameters/tdx": "N\n"},
)
A_LAPTOP = Tree(
    cpu=LAPTOP,
    flags="vmx",
    kernel="6.12.48+deb13-amd64",
    files={"dev/kvm": "", **gpu("0000:00:02.0", 0x8086, 0x46A6, 0x030000)},
)
A_MICRO_VM = Tree(
    cpu=("AuthenticAMD", 25, 17, "AMD EPYC"),
    flags="hypervisor svm_lock",
    kernel="6.18.44-fc",
    files={"dev/kvm": "", "usr/bin/qemu-system-x86_64": ""},
)


def libvirt(library: str, qemu: str, *launch: str) -> LibvirtFacts:
    """What libvirt says."""

    def release(text: str) -> Release:
        major, minor, micro = map(int, text.split("."))
        return Release(major, minor, micro)

    return LibvirtFacts(
        uri="qemu:///system",
        library=release(library),
        qemu=release(qemu),
        launch=frozenset(launch),
    )
