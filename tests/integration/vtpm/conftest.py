"""What tests of virtual TPMs have in common."""

from support.short import tmp_path

__all__ = ["tmp_path"]
