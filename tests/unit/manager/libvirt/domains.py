"""Domains of each kind, for tests."""

from dataclasses import replace
from pathlib import Path

from atoll_manager.libvirt.domain import (
    Acceleration,
    DirectBoot,
    Domain,
    Owner,
    SnpLaunch,
    TdxLaunch,
)

PLAIN = Domain(
    owner=Owner(enclave_id="e0123", instance="00ff00ff00ff00ff"),
    emulator=Path("/usr/bin/qemu-system-x86_64"),
    acceleration=Acceleration.TCG,
    boot=DirectBoot(
        kernel=Path("/image/vmlinuz"),
        initrd=Path("/image/initrd.cpio.zst"),
        cmdline="console=ttyS0 panic=-1",
    ),
    memory_mib=512,
    vcpus=2,
    channel=Path("/run/e0123/channel.sock"),
    console=Path("/run/e0123/console.sock"),
    settings=Path("/run/e0123/settings.json"),
)
KVM = replace(PLAIN, acceleration=Acceleration.KVM, vsock=True, channel=None, user=(1000, 108))
SNP = replace(
    KVM,
    firmware=Path("/firmware/OVMF.amdsev.fd"),
    cpu="EPYC-v4",
    launch=SnpLaunch(
        host_data=bytes(range(32)), id_block=b"\1" * 96, id_auth=b"\2" * 4096, author_key=True
    ),
)
TDX = replace(
    KVM,
    firmware=Path("/firmware/OVMF.inteltdx.ms.fd"),
    launch=TdxLaunch(
        mr_config_id=bytes(range(48)), mr_owner=b"\3" * 48, mr_owner_config=b"\4" * 48
    ),
)
VTPM = replace(PLAIN, firmware=Path("/firmware/OVMF.fd"), vtpm=Path("/run/e0123/tpm.sock"))
KINDS = {"plain": PLAIN, "kvm": KVM, "sev-snp": SNP, "tdx": TDX, "vtpm": VTPM}
