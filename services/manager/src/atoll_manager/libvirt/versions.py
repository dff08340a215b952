"""Which libvirt and QEMU can do what, by their release notes. Pure."""

from typing import Final, NamedTuple

from atoll.errors import ConfigError


class Release(NamedTuple):
    """A version of libvirt or of QEMU."""

    major: int
    minor: int
    micro: int

    @classmethod
    def of(cls, number: int) -> "Release":
        """From the number that libvirt's interface has for its own and for QEMU's version
        (virConnectGetVersion: 1,000,000 * major + 1,000 * minor + micro)."""
        return cls(number // 1_000_000, number // 1_000 % 1_000, number % 1_000)

    def __str__(self) -> str:
        return ".".join(map(str, self))


LIBVIRT: Final = Release(9, 0, 0)
"""The oldest that we start guests with: the first with an external TPM (libvirt 9.0.0, news)."""
LIBVIRT_SNP: Final = Release(10, 5, 0)
LIBVIRT_TDX: Final = Release(11, 6, 0)
QEMU: Final = Release(7, 2, 0)
"""The oldest that ours were run with."""
QEMU_SNP: Final = Release(9, 1, 0)
QEMU_TDX: Final = Release(10, 1, 0)


def require(what: str, found: Release, oldest: Release) -> None:
    """Raises: ConfigError `libvirt.too_old`, naming both versions."""
    if found < oldest:
        raise ConfigError(
            f"{what} {found} is too old: want {oldest} or newer",
            code="libvirt.too_old",
            hint="docs/hosts.md says which versions are needed for what",
        )
