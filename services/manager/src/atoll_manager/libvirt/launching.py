"""What guests are launched with that are measured: firmware, and the digest of their settings.

The firmware is looked at before any guest is started: one without the table of kernel hashes
starts under SEV-SNP and then refuses the kernel, one without TDX metadata does not start at all,
and neither says so where an operator reads.
"""

import os
import stat
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError, InputError
from atoll.measure.guid_table import MAX_FIRMWARE
from atoll.measure.launch_settings import LaunchSettings
from atoll.measure.ovmf import Firmware
from atoll.measure.pcrs import pcr9
from atoll.measure.reference import snp_measurements
from atoll.measure.snp_launch import Processors
from atoll.measure.tdvf import Tdvf
from atoll.measure.vcpu_types import vcpu_signature
from atoll.wire.tee import Tee
from atoll_manager.libvirt import image as images
from atoll_manager.libvirt.domain import DirectBoot, SnpLaunch, TdxLaunch

HINT: Final = "docs/hosts.md says which firmware is needed, and where it comes from"


def launch_of(tee: Tee, settings: bytes, quote_socket: Path) -> SnpLaunch | TdxLaunch | None:
    """What goes to the processor; None: nothing, the kind is no processor's.

    Args:
        tee: what guests make their evidence with.
        settings: exactly the bytes of the file that the guest will read.
        quote_socket: of the quote generation service, for TDX.

    Raises:
        InputError: `domain.invalid`.
    """
    match tee:
        case Tee.SEV_SNP:
            return SnpLaunch(host_data=LaunchSettings.of(settings).host_data)
        case Tee.TDX:
            named = LaunchSettings.of(settings).mr_config_id
            return TdxLaunch(mr_config_id=named, quote_socket=quote_socket)
        case _:
            return None


def snp_measurement(firmware: Path, boot: DirectBoot, *, vcpus: int, vcpu_type: str) -> bytes:
    """The MEASUREMENT, 48 bytes, of a guest with so many vCPUs, where the host's kernel sets
    SEV_FEATURES to 1. Blocks, some tenths of a second.

    Raises:
        ConfigError: `libvirt.no_firmware`; `libvirt.firmware`: it cannot start such a guest, or
            does not check a kernel; `image.missing`.
    """
    machine = Processors(count=vcpus, signature=vcpu_signature(vcpu_type))
    files = images.read(boot)
    try:
        parsed = Firmware.from_bytes(_read(firmware))
        (measurement,) = snp_measurements(files, parsed, [machine])
    except InputError as error:
        raise _unfit(firmware, error) from error
    return measurement


def tdx_measurement(firmware: Path, quote_socket: Path) -> bytes:
    """MRTD, 48 bytes, of trust domains with this firmware, if somebody makes quotes. Blocks.

    Raises:
        ConfigError: `libvirt.no_firmware`, `libvirt.firmware`; `libvirt.no_quotes`.
    """
    try:
        measurement = Tdvf.from_bytes(_read(firmware)).mr_td()
    except InputError as error:
        raise _unfit(firmware, error) from error
    try:
        there = stat.S_ISSOCK(quote_socket.stat().st_mode) and os.access(quote_socket, os.W_OK)
    except OSError:
        there = False
    if not there:
        raise ConfigError(
            f"{quote_socket} is no socket that this account may write to: without the quote "
            "generation service guests have no evidence",
            code="libvirt.no_quotes",
            hint="start Intel's QGS, or set ATOLL_MANAGER_QUOTE_SOCKET (docs/hosts.md)",
        )
    return measurement


def vtpm_measurement(boot: DirectBoot) -> bytes:
    """PCR 9, 32 bytes, of a guest with a virtual TPM. Blocks.

    Raises:
        ConfigError: `image.missing`.
    """
    return pcr9(boot.cmdline, images.read(boot).initrd)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FIRMWARE + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", code="libvirt.no_firmware", hint=HINT
        ) from error


def _unfit(path: Path, error: InputError) -> ConfigError:
    return ConfigError(f"{path}: {error.message}", code="libvirt.firmware", hint=HINT)
