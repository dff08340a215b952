"""The kernel and those of its modules that the guest loads, in the order to load them. Pure.

Debian's kernel package has no modules.dep (depmod makes it where it is installed), so the
dependencies come from the modules themselves: `depends=` in the section .modinfo (Linux,
scripts/mod/modpost.c). Modules are unpacked here, since the kernel of the guest is asked to take
them as they are (finit_module(2)); the signature at a module's end stays.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from atoll_cli.image.deb import unxz
from atoll_cli.image.refusal import refuse, shown
from atoll_cli.image.tree import Entry, File

MODULES: Final = (
    "virtio_rng",
    "configfs",
    "tsm",
    "sev_guest",
    "tdx_guest",
    "qemu_fw_cfg",
    "tpm_crb",
    "tpm_tis",
    "vsock",
    "vmw_vsock_virtio_transport",
)
"""What a guest may need: entropy, evidence, settings, the channel. No network card, no disk, no
file system of a host."""

ORDER_FILE: Final = "usr/lib/atoll/modules"
MAX_MODULE: Final = 16 << 20
MAX_MODINFO: Final = 1 << 20
_SUFFIX: Final = ".ko.xz"
_SECTION: Final = 64
_MAX_SECTIONS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What the image takes of a kernel package."""

    release: str
    """As `uname -r` says it."""
    image: bytes = field(repr=False)
    modules: Mapping[str, File] = field(repr=False)
    """By path in the image, in the order in which they must be loaded."""

    @property
    def order(self) -> bytes:
        """The file from which the guest takes the order: a path in each line."""
        return "".join(f"/{path}\n" for path in self.modules).encode("ascii")


def read_kernel(files: Mapping[str, Entry], *, wanted: tuple[str, ...] = MODULES) -> Kernel:
    """Find the kernel and the modules in the files of its package.

    Args:
        files: by path.
        wanted: names of modules; one that is built in needs no file.

    Raises:
        InputError: `image.kernel`: not exactly one kernel, a module is neither there nor built
            in, or depends on itself; `image.module`, `image.xz`.
    """
    kernels = [path for path in files if path.startswith("boot/vmlinuz-")]
    # From Linux 7 on it lies beside its modules.
    kernels += [path for path in files if path.endswith("/vmlinuz") and "/modules/" in path]
    image = files[kernels[0]] if len(kernels) == 1 else None
    if not isinstance(image, File):
        raise refuse("kernel", f"the kernel package has {shown(kernels)}, want one vmlinuz")
    release = kernels[0].split("/")[-2 if kernels[0].endswith("/vmlinuz") else -1]
    release = release.removeprefix("vmlinuz-")
    folder = f"usr/lib/modules/{release}/"
    builtin = files.get(f"{folder}modules.builtin")
    if not isinstance(builtin, File):
        raise refuse("kernel", f"the package of {shown(release)} does not list what is built in")
    known = {_name(path): path for path in files if path.startswith(folder)}
    inside = {_name(line) for line in builtin.content.decode("ascii", "replace").splitlines()}
    modules: dict[str, File] = {}
    for name in wanted:
        _require(name, (), files, known, inside, modules)
    return Kernel(release=release, image=image.content, modules=modules)


def depends(module: bytes) -> tuple[str, ...]:
    """The names of the modules that must be there before this one.

    Raises:
        InputError: `image.module`: no ELF object of 64 bits, or without a readable .modinfo.
    """
    for line in _modinfo(module).split(b"\0"):
        key, _, value = line.partition(b"=")
        if key == b"depends":
            names = value.decode("ascii", "replace").split(",")
            return tuple(_plain(name) for name in names if name)
    raise refuse("module", "the module does not say what it depends on")


def _require(  # noqa: PLR0917 - the state of one walk
    name: str,
    above: tuple[str, ...],
    files: Mapping[str, Entry],
    known: Mapping[str, str],
    inside: set[str],
    modules: dict[str, File],
) -> None:
    if name in above:
        raise refuse("kernel", f"the module {shown(name)} depends on itself")
    path = known.get(name)
    packed = None if path is None else files[path]
    if path is None or not isinstance(packed, File):
        if name in inside:
            return
        raise refuse("kernel", f"the kernel has no module {shown(name)}, and none built in")
    target = path.removesuffix(".xz")
    if target in modules:
        return
    content = unxz(packed.content, MAX_MODULE)
    for needed in depends(content):
        _require(needed, (*above, name), files, known, inside, modules)
    modules[target] = File(content)


def _name(path: str) -> str:
    """A module's name: its file's, where - and _ are one."""
    base = path.rpartition("/")[2]
    if base.endswith(_SUFFIX):
        return _plain(base.removesuffix(_SUFFIX))
    return _plain(base.removesuffix(".ko")) if base.endswith(".ko") else ""


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _modinfo(module: bytes) -> bytes:
    """The section .modinfo of a 64-bit little-endian object (System V ABI, chapter 4).

    Offsets of its header: 40 section headers 8 | 58 their size 2 | 60 their number 2 | 62 the
    one with names 2; of a section header: 0 name 4 | 24 offset 8 | 32 size 8.
    """
    if module[:6] != b"\x7fELF\x02\x01" or len(module) < _SECTION:
        raise refuse("module", "the module is no 64-bit little-endian ELF object")
    (table,) = struct.unpack_from("<Q", module, 40)
    size, count, names = struct.unpack_from("<HHH", module, 58)
    if size != _SECTION or not 0 <= names < count <= _MAX_SECTIONS:
        raise refuse("module", f"the module has {count} sections of {size} bytes")
    if table + count * size > len(module):
        raise refuse("module", "the module is cut off in its section headers")
    places = range(table, table + count * size, size)
    sections = [struct.unpack_from("<I20xQQ", module, place) for place in places]
    start = sections[names][1]
    for name, offset, length in sections:
        end = module[start + name : start + name + 9] == b".modinfo\0"
        if end and length <= MAX_MODINFO and offset + length <= len(module):
            return module[offset : offset + length]
    raise refuse("module", "the module has no .modinfo")
