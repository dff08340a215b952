"""The guest's image on the disk: what `atoll image build` wrote, checked before each start."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atoll.errors import ConfigError, InputError
from atoll.measure import guest
from atoll.measure.guest import GuestImage
from atoll.measure.reference import Boot
from atoll_manager.libvirt.domain import MAX_CMDLINE, DirectBoot

HINT: Final = "name a folder that `atoll image build` wrote, or build it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedImage:
    """An image whose files are what its description says."""

    described: GuestImage
    boot: DirectBoot


def check(folder: Path) -> CheckedImage:
    """Hash the image's files and compare. Blocks, some tenths of a second.

    Whoever checks evidence does not rely on this: it is the operator's, so that an image that was
    damaged is named instead of booted.

    Raises:
        ConfigError: `image.missing`, `image.unusable` or `image.altered`, naming the file.
    """
    described = _description(folder / guest.DESCRIPTION_FILE)
    for name, wanted in (
        (guest.KERNEL_FILE, described.kernel),
        (guest.INITRD_FILE, described.initrd),
        (guest.CMDLINE_FILE, described.cmdline),
    ):
        found = _digest(folder / name)
        if found != wanted:
            raise ConfigError(
                f"{folder / name} is not what the image's description says: SHA-256 {found}, "
                f"want {wanted}",
                code="image.altered",
                hint=HINT,
            )
    try:
        cmdline = (folder / guest.CMDLINE_FILE).read_text("ascii")[: MAX_CMDLINE + 1]
        boot = DirectBoot(
            kernel=(folder / guest.KERNEL_FILE).absolute(),
            initrd=(folder / guest.INITRD_FILE).absolute(),
            cmdline=cmdline,
        )
    except (InputError, ValueError) as error:
        raise ConfigError(f"{folder}: {error}", code="image.unusable", hint=HINT) from error
    return CheckedImage(described=described, boot=boot)


def read(boot: DirectBoot) -> Boot:
    """The files that are handed over, for what is measured of them. Blocks.

    Raises:
        ConfigError: `image.missing`, naming the file.
    """
    try:
        return Boot(
            kernel=boot.kernel.read_bytes(),
            initrd=b"" if boot.initrd is None else boot.initrd.read_bytes(),
            cmdline=boot.cmdline,
        )
    except OSError as error:
        raise _missing(Path(error.filename), error) from error


def _description(path: Path) -> GuestImage:
    try:
        with path.open("rb") as file:
            return guest.parse_description(file.read(guest.MAX_DESCRIPTION + 1))
    except OSError as error:
        raise _missing(path, error) from error
    except InputError as error:
        raise ConfigError(f"{path}: {error.message}", code="image.unusable", hint=HINT) from error


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _missing(path, error) from error


def _missing(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path}: {error.strerror}", code="image.missing", hint=HINT)
