"""`atoll measure snp`: the measurement that a guest will have, before it is launched."""

from pathlib import Path
from typing import Final

import click

from atoll.client.files import read_private
from atoll.errors import InputError
from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import MAX_FIRMWARE, Firmware
from atoll.measure.snp import DIGEST_SIZE
from atoll.measure.snp_launch import (
    MAX_VCPUS,
    Processors,
    firmware_only_digest,
    launch_digest,
)
from atoll.measure.vcpu_types import vcpu_signature
from atoll.measure.vmsa import Vmm
from atoll_cli.options import FILE, json_option, pass_session
from atoll_cli.session import Session

_MAX_KERNEL: Final = 1 << 30


class HexType(click.ParamType[int]):
    """A number in hexadecimal, with or without 0x."""

    name = "hex"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            number = int(str(value), 16)
        except ValueError:
            self.fail(f"{str(value)[:40]!r} is not hexadecimal", param, ctx)
        if not 0 <= number < 1 << 64:
            self.fail("want at most 64 bits", param, ctx)
        return number


def _digest(context: click.Context, parameter: click.Parameter, value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        digest = bytes.fromhex(value)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_SIZE:
        raise click.BadParameter("want 96 hex digits", ctx=context, param=parameter)
    return digest


def _signature(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return vcpu_signature(value)
    except InputError as error:
        raise click.BadParameter(error.message, ctx=context, param=parameter) from error


@click.group()
def measure() -> None:
    """Expected measurements, so that a policy can say which image."""


@measure.command()
@click.option("--ovmf", type=FILE, required=True, help="The firmware image.")
@click.option("--kernel", type=FILE, help="Kernel of a direct boot with measured hashes.")
@click.option("--initrd", type=FILE, help="Its initial RAM disk.")
@click.option("--append", metavar="TEXT", help="Its command line.")
@click.option("--vcpus", type=click.IntRange(1, MAX_VCPUS), required=True)
@click.option(
    "--vcpu-type",
    "signature",
    metavar="TYPE",
    callback=_signature,
    help="QEMU's model, as EPYC-v4, or its CPUID signature as 0x00a00f11.",
)
@click.option(
    "--guest-features",
    metavar="HEX",
    type=HexType(),
    default="1",
    show_default=True,
    help="SEV_FEATURES as the host's kernel sets it: 1, or 21 with debug swap.",
)
@click.option(
    "--vmm",
    type=click.Choice([item.value for item in Vmm]),
    default=Vmm.QEMU.value,
    show_default=True,
    help="The hypervisor, which decides how a vCPU starts.",
)
@click.option(
    "--ovmf-hash",
    metavar="HEX",
    callback=_digest,
    help="Launch digest of the whole firmware, where --ovmf is only its end.",
)
@json_option
@pass_session
def snp(  # noqa: PLR0917 - click passes one parameter for each option
    session: Session,
    ovmf: Path,
    kernel: Path | None,
    initrd: Path | None,
    append: str | None,
    vcpus: int,
    signature: int | None,
    guest_features: int,
    vmm: str,
    ovmf_hash: bytes | None,
) -> None:
    """Print the MEASUREMENT that a SEV-SNP guest will report.

    It depends on the firmware, the kernel with all that it is given, the number and type
    of vCPUs, the hypervisor and the features that the host's kernel sets.
    """
    if kernel is None and (initrd is not None or append is not None):
        raise click.UsageError("--initrd and --append are not measured without --kernel")
    if signature is None and vmm == Vmm.QEMU.value:
        raise click.UsageError("QEMU puts the vCPU's type into the measurement: give --vcpu-type")
    firmware = Firmware.from_bytes(read_private(ovmf, limit=MAX_FIRMWARE))
    hashes = _kernel(kernel, initrd, append)
    processors = Processors(count=vcpus, signature=signature or 0, guest_features=guest_features)
    digest = launch_digest(
        firmware, processors, vmm=Vmm(vmm), kernel=hashes, firmware_digest=ovmf_hash
    )
    session.print(digest.hex())
    session.document(
        {
            "measurement": digest.hex(),
            "firmware_digest": (ovmf_hash or firmware_only_digest(firmware)).hex(),
            "vmm": vmm,
            "vcpus": vcpus,
            "vcpu_signature": None if signature is None else f"0x{signature:08x}",
            "guest_features": hex(guest_features),
            "kernel_sha256": hashes.kernel.hex() if hashes else None,
            "initrd_sha256": hashes.initrd.hex() if hashes else None,
            "cmdline_sha256": hashes.cmdline.hex() if hashes else None,
        }
    )


def _kernel(kernel: Path | None, initrd: Path | None, append: str | None) -> KernelHashes | None:
    if kernel is None:
        return None
    return KernelHashes.of(
        read_private(kernel, limit=_MAX_KERNEL),
        initrd=read_private(initrd, limit=_MAX_KERNEL) if initrd else b"",
        append=append or "",
    )
