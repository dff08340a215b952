"""Reads what the kernel says, below a root directory. What is not there is not an error."""

import contextlib
import re
from pathlib import Path
from typing import Final

from atoll_manager.probing.facts import Gpu, Machine, Processor

DEVICES: Final = ("kvm", "sev", "vhost-vsock", "keystone_enclave", "tpm0")
PARAMETERS: Final = ("kvm_amd.sev", "kvm_amd.sev_es", "kvm_amd.sev_snp", "kvm_intel.tdx")
PROGRAMS: Final = ("qemu-system-x86_64", "swtpm", "qgsd", "qgs")
FIRMWARE: Final = ("ovmf/OVMF.amdsev.fd", "ovmf/OVMF.inteltdx.ms.fd", "ovmf/OVMF.fd")
"""Below /usr/share."""
FOLDERS: Final = ("usr/local/bin", "usr/bin", "bin", "usr/sbin", "sbin", "opt/intel/tdx-qgs")
MAX_FILE: Final = 1 << 20
DISPLAY: Final = 0x03
PROCESSING: Final = 0x12
"""PCI base classes (PCI Code and ID Assignment, 1.4 and 1.19)."""
NOT_GPUS: Final = frozenset({0x1013, 0x1234, 0x1A03, 0x102B, 0x15AD, 0x1AF4, 0x1B36, 0x1414})
"""Vendors whose displays only draw a console: Cirrus, QEMU's, ASPEED, Matrox, VMware, virtio,
Red Hat, Hyper-V."""


def read(root: Path, machine: str) -> Machine:
    """What is below `root`; `machine` is uname's."""
    release = _text(root / "proc/sys/kernel/osrelease")
    version = re.match(r"(\d{1,4})\.(\d{1,4})", release)
    parameters = {}
    for name in PARAMETERS:
        module, _, parameter = name.partition(".")
        if text := _text(root / "sys/module" / module / "parameters" / parameter).strip():
            parameters[name] = text
    return Machine(
        processor=_processor(_text(root / "proc/cpuinfo"), machine),
        kernel=(int(version[1]), int(version[2])) if version else (0, 0),
        devices=frozenset(name for name in DEVICES if (root / "dev" / name).exists()),
        parameters=parameters,
        gpus=_gpus(root / "sys/bus/pci/devices"),
        programs=_programs(root),
        firmware=frozenset(it for it in FIRMWARE if (root / "usr/share" / it).is_file()),
    )


def _processor(text: str, machine: str) -> Processor:
    first: dict[str, str] = {}
    for line in text.partition("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        first.setdefault(name.strip(), value.strip())
    return Processor(
        machine=machine,
        vendor=first.get("vendor_id", ""),
        family=_number(first.get("cpu family", "")),
        model=_number(first.get("model", "")),
        name=first.get("model name", ""),
        flags=frozenset(first.get("flags", "").split()),
    )


def _gpus(folder: Path) -> tuple[Gpu, ...]:
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            kind = _number(_text(path / "class")) >> 16
            vendor = _number(_text(path / "vendor"))
            if kind in {DISPLAY, PROCESSING} and vendor not in NOT_GPUS:
                device = _number(_text(path / "device"))
                found.append(Gpu(address=path.name, vendor=vendor, device=device))
    return tuple(found)


def _programs(root: Path) -> dict[str, str]:
    return {
        name: f"/{folder}/{name}"
        for name in PROGRAMS
        for folder in reversed(FOLDERS)
        if (root / folder / name).is_file()
    }


def _number(text: str) -> int:
    """Of decimal digits, or hexadecimal ones behind 0x; 0 for anything else."""
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return int(text)
    return int(text, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text, re.ASCII) else 0


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE).decode("ascii", "replace")
    except OSError:
        return ""
