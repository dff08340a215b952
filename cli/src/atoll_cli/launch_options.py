"""How a SEV-SNP guest is launched, on a command line, and the MEASUREMENT that follows from it.

Shared by `measure snp`, which prints it, and `policy new`, which accepts it: so a policy can be
made of an image, and not of a hex string.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from atoll.client.files import read_private
from atoll.errors import InputError
from atoll.measure.guid_table import MAX_FIRMWARE
from atoll.measure.kernel_hashes import KernelHashes
from atoll.measure.ovmf import Firmware
from atoll.measure.snp import DIGEST_SIZE
from atoll.measure.snp_launch import (
    MAX_VCPUS,
    Processors,
    firmware_only_digest,
    launch_digest,
)
from atoll.measure.vcpu_types import vcpu_signature
from atoll.measure.vmsa import Vmm
from atoll_cli.options import FILE

F = TypeVar("F", bound=Callable[..., Any])

_MAX_KERNEL: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """What the command line says; nothing was read yet."""

    ovmf: Path | None
    kernel: Path | None
    initrd: Path | None
    append: str | None
    vcpus: int | None
    signature: int | None
    guest_features: int
    vmm: str
    ovmf_hash: bytes | None

    @property
    def given(self) -> bool:
        """Whether an image was named.

        Raises:
            click.UsageError: none was, and something was said about it.
        """
        about = (self.kernel, self.initrd, self.append, self.vcpus, self.signature, self.ovmf_hash)
        if self.ovmf is None and any(one is not None for one in about):
            raise click.UsageError("how an image is launched says nothing without --ovmf")
        return self.ovmf is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A launch, and what it measures."""

    digest: bytes
    firmware_digest: bytes
    hashes: KernelHashes | None


def measured(options: LaunchOptions) -> Launch:
    """Read the files and compute the launch digest.

    Raises:
        click.UsageError: options that do not fit each other.
        InputError: `measure.*`, `file.*`.
    """
    if options.ovmf is None or options.vcpus is None:
        raise click.UsageError("an image is measured with --ovmf and --vcpus")
    if options.kernel is None and (options.initrd is not None or options.append is not None):
        raise click.UsageError("--initrd and --append are not measured without --kernel")
    if options.signature is None and options.vmm == Vmm.QEMU.value:
        raise click.UsageError("QEMU puts the vCPU's type into the measurement: give --vcpu-type")
    firmware = Firmware.from_bytes(read_private(options.ovmf, limit=MAX_FIRMWARE))
    hashes = _kernel(options.kernel, options.initrd, options.append)
    processors = Processors(
        count=options.vcpus,
        signature=options.signature or 0,
        guest_features=options.guest_features,
    )
    digest = launch_digest(
        firmware,
        processors,
        vmm=Vmm(options.vmm),
        kernel=hashes,
        firmware_digest=options.ovmf_hash,
    )
    return Launch(
        digest=digest,
        firmware_digest=options.ovmf_hash or firmware_only_digest(firmware),
        hashes=hashes,
    )


def _kernel(kernel: Path | None, initrd: Path | None, append: str | None) -> KernelHashes | None:
    if kernel is None:
        return None
    return KernelHashes.of(
        read_private(kernel, limit=_MAX_KERNEL),
        initrd=read_private(initrd, limit=_MAX_KERNEL) if initrd else b"",
        append=append or "",
    )


class VcpuType(click.ParamType[int]):
    """A type of vCPU, as its CPUID signature."""

    name = "type"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            return vcpu_signature(str(value))
        except InputError as error:
            self.fail(error.message, param, ctx)


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


guest_features_option = click.option(
    "--guest-features",
    metavar="HEX",
    type=HexType(),
    default="1",
    show_default=True,
    help="SEV_FEATURES as the host's kernel sets it: 1, or 21 with debug swap.",
)


def launch_options(*, required: bool) -> Callable[[F], F]:
    """The options of `LaunchOptions`; `required`: the image must be named."""
    options = (
        click.option("--ovmf", type=FILE, required=required, help="The firmware image."),
        click.option("--kernel", type=FILE, help="Kernel of a direct boot with measured hashes."),
        click.option("--initrd", type=FILE, help="Its initial RAM disk."),
        click.option("--append", metavar="TEXT", help="Its command line."),
        click.option("--vcpus", type=click.IntRange(1, MAX_VCPUS), required=required),
        click.option(
            "--vcpu-type",
            "signature",
            metavar="TYPE",
            type=VcpuType(),
            help="QEMU's model, as EPYC-v4, or its CPUID signature as 0x00a00f11.",
        ),
        guest_features_option,
        click.option(
            "--vmm",
            type=click.Choice([item.value for item in Vmm]),
            default=Vmm.QEMU.value,
            show_default=True,
            help="The hypervisor, which decides how a vCPU starts.",
        ),
        click.option(
            "--ovmf-hash",
            metavar="HEX",
            callback=_digest,
            help="Launch digest of the whole firmware, where --ovmf is only its end.",
        ),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add
