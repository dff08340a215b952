"""What interfaces a machine has, inside a guest and on a host, and which versions.

Nothing here names the machine: no host name, no address, no serial number.
"""

from collections.abc import Mapping
from typing import Final

from atoll_agent.evidence import sev_guest, tdx_guest, tsm
from atoll_agent.evidence.choose import Offer
from atoll_agent.evidence.looking import TPM
from atoll_cli.selftest.machine import Machine

HOST_PATHS: Final[Mapping[str, str]] = {
    "kvm": "/dev/kvm",
    "sev": "/dev/sev",
    "vhost_vsock": "/dev/vhost-vsock",
    "qgs": "/var/run/tdx-qgs/qgs.socket",
}
SWITCHES: Final[Mapping[str, str]] = {
    "sev_snp": "/sys/module/kvm_amd/parameters/sev_snp",
    "tdx": "/sys/module/kvm_intel/parameters/tdx",
}
"""Of the kernel's KVM modules: `Y` where it can start such guests."""
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "kernel": ("uname", "-srm"),
    "qemu": ("qemu-system-x86_64", "--version"),
    "libvirt": ("virsh", "--version"),
    "swtpm": ("swtpm", "--version"),
}
_RELEASE: Final = "PRETTY_NAME="
_CPU: Final = ("vendor_id", "cpu family", "model", "model name", "stepping", "microcode")


def guest_interfaces(offer: Offer) -> dict[str, object]:
    """By path; of configfs-tsm the driver's name, empty if none has registered."""
    return {
        tsm.ROOT: offer.tsm,
        sev_guest.DEVICE: offer.sev_guest,
        tdx_guest.DEVICE: offer.tdx_guest,
        TPM: offer.vtpm,
    }


def host_interfaces(machine: Machine) -> dict[str, object]:
    """What a machine has that starts guests."""
    there: dict[str, object] = {path: machine.exists(path) for path in HOST_PATHS.values()}
    return there | {path: machine.text(path).strip() in {"Y", "1"} for path in SWITCHES.values()}


def starts_guests(interfaces: Mapping[str, object]) -> tuple[str, ...]:
    """Which kinds of guests the kernel says that it can start."""
    return tuple(name for name, path in SWITCHES.items() if interfaces[path])


def versions(machine: Machine) -> dict[str, str]:
    """Of what is there."""
    found = {name: machine.first_line(command) for name, command in COMMANDS.items()}
    release = machine.text("/etc/os-release").splitlines()
    names = [
        line.removeprefix(_RELEASE).strip('"') for line in release if line.startswith(_RELEASE)
    ]
    found["distribution"] = "".join(names[:1])
    return {name: text for name, text in found.items() if text}


def processor(machine: Machine) -> dict[str, str]:
    """Model and microcode of the first one."""
    first = machine.text("/proc/cpuinfo").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    found = {name.strip(): value.strip() for name, _, value in pairs}
    return {name: found[name] for name in _CPU if name in found}
