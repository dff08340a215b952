"""libvirt's Python binding, which is an extra."""

from typing import Any

from atoll.errors import ConfigError


def load() -> Any:
    """libvirt's binding, which no longer writes its errors to standard error.

    Raises:
        ConfigError: `libvirt.absent`.
    """
    try:
        import libvirt as binding  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            f"libvirt's Python binding cannot be loaded: {error}",
            code="libvirt.absent",
            hint="install libvirt (Debian: libvirt-daemon-system libvirt-dev pkg-config gcc), then "
            "atoll-manager[libvirt]",
        ) from error
    binding.registerErrorHandler(lambda *_: None, None)
    return binding
