"""An image in a folder: checked, and its files read."""

from pathlib import Path

from atoll.errors import ConfigError
from atoll.measure.guest import GuestImage
from atoll.measure.reference import Boot
from atoll_manager.libvirt import image as guest_images


def read_image(folder: Path) -> tuple[GuestImage, Boot]:
    """What it says that it is, which its files are, and these.

    Raises:
        ConfigError: `image.missing`, `image.unusable`, `image.altered`.
    """
    checked = guest_images.check(folder)
    if checked.boot.initrd is None:
        raise AssertionError("an image has an initrd")
    try:
        boot = Boot(
            kernel=checked.boot.kernel.read_bytes(),
            initrd=checked.boot.initrd.read_bytes(),
            cmdline=checked.boot.cmdline,
        )
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}", code="image.missing") from error
    return checked.described, boot
