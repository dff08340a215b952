"""What tests of driver libvirt have in common."""

from support.guest_image import guest_image
from support.libvirt import embedded
from support.short import tmp_path

__all__ = ["embedded", "guest_image", "tmp_path"]
