"""From packages to the files of an image. What it reads comes in; only `bytecode` runs anything."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from atoll.measure.agent import agent_image
from atoll.measure.guest import (
    CMDLINE_FILE,
    DESCRIPTION_FILE,
    DOCKER_FILE,
    INITRD_FILE,
    KERNEL_FILE,
    GuestImage,
    describe,
    image_digest,
)
from atoll.version import VERSION
from atoll_cli.image import sbom
from atoll_cli.image.bytecode import compile_tree
from atoll_cli.image.contents import PROGRAMS, add_boot, add_own, is_taken
from atoll_cli.image.cpio import compressed, cpio
from atoll_cli.image.deb import Package, read_deb
from atoll_cli.image.docker_archive import docker_archive
from atoll_cli.image.kernel import Kernel, read_kernel
from atoll_cli.image.locks import LockedDeb, LockedWheel
from atoll_cli.image.refusal import refuse
from atoll_cli.image.tree import Device, Entry, File, Folder, Link, Tree, mode
from atoll_cli.image.wheels import Wheel, read_wheel

CMDLINE: Final = (
    "console=ttyS0 quiet panic=-1 oops=panic lockdown=confidentiality module.sig_enforce=1"
    " random.trust_bootloader=off random.trust_cpu=on sysctl.kernel.sysrq=0 init_on_alloc=1"
    " vsyscall=none no_timer_check"
)
"""Constant, because it is measured. Why each is there: docs/image.md."""

SBOM_FILE: Final = "sbom.cdx.json"
CONTENTS_FILE: Final = "contents.txt"
KERNEL_PACKAGE: Final = "linux-image-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that an image is made of."""

    debs: Sequence[tuple[LockedDeb, bytes]] = field(repr=False)
    wheels: Sequence[tuple[LockedWheel, bytes]] = field(repr=False)
    agent: Sequence[tuple[str, bytes]] = field(repr=False)
    """(path, content) of the packages `atoll` and `atoll_agent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An image."""

    description: GuestImage
    files: dict[str, bytes] = field(repr=False)
    """By name in the image's folder."""


def assemble(parts: Parts) -> Built:
    """Build the image. The same parts make the same bytes, on whatever machine.

    Raises:
        InputError: `image.*`: a package is not what it should be.
        ConfigError: `image.host`, `image.compressor`.
    """
    packages = [(locked, _package(locked, raw)) for locked, raw in parts.debs]
    wheels = [(locked, _wheel(locked, raw)) for locked, raw in parts.wheels]
    kernel = _kernel(packages)
    tree = _root(packages, wheels, parts.agent)
    compile_tree(tree)
    docker = docker_archive(tree, tag=VERSION)
    add_boot(tree, kernel)
    initrd = compressed(cpio(tree))
    cmdline = CMDLINE.encode("ascii")
    digest = image_digest(
        kernel=_digest(kernel.image), initrd=_digest(initrd), cmdline=_digest(cmdline)
    )
    components = [
        *(sbom.of_deb(locked, package) for locked, package in packages),
        *(sbom.of_wheel(locked, wheel) for locked, wheel in wheels),
        sbom.own("atoll-agent", VERSION, _digest(agent_image(parts.agent)).hex()),
    ]
    description = GuestImage(
        release=VERSION,
        digest=digest.hex(),
        kernel=_digest(kernel.image).hex(),
        initrd=_digest(initrd).hex(),
        cmdline=_digest(cmdline).hex(),
        docker=_digest(docker.archive).hex(),
        docker_id=docker.image_id,
        bytes=len(kernel.image) + len(initrd) + len(cmdline),
        packages=len(packages) + len(wheels),
    )
    files = {
        KERNEL_FILE: kernel.image,
        INITRD_FILE: initrd,
        CMDLINE_FILE: cmdline,
        DOCKER_FILE: docker.archive,
        SBOM_FILE: sbom.sbom(components, name="atoll-image", version=VERSION, digest=digest.hex()),
        CONTENTS_FILE: listing(tree),
        DESCRIPTION_FILE: describe(description),
    }
    return Built(description=description, files=files)


def listing(tree: Tree) -> bytes:
    """A line for each entry: kind, mode, bytes, SHA-256 or `-`, path."""
    lines = []
    for path, entry in tree:
        size, digest, shown = _facts(path, entry)
        lines.append(f"{_KINDS[type(entry)]} {mode(entry):04o} {size:9} {digest:64} {shown}\n")
    return "".join(lines).encode("ascii")


_KINDS: Final[dict[type, str]] = {File: "-", Link: "l", Folder: "d", Device: "c"}


def _facts(path: str, entry: Entry) -> tuple[int, str, str]:
    match entry:
        case File(content=content):
            return len(content), _digest(content).hex(), path
        case Link(target=target):
            return 0, "-", f"{path} -> {target}"
        case Device(major=major, minor=minor):
            return 0, "-", f"{path} {major}:{minor}"
        case Folder():
            return 0, "-", path


def _root(
    packages: Sequence[tuple[LockedDeb, Package]],
    wheels: Sequence[tuple[LockedWheel, Wheel]],
    agent: Sequence[tuple[str, bytes]],
) -> Tree:
    """The root folder before anything is compiled, without what only a guest has."""
    tree = Tree()
    for _, package in packages:
        for path, entry in package.files.items():
            if not is_taken(path):
                continue
            if isinstance(entry, File):
                tree.add(path, File(entry.content, runnable=path in PROGRAMS))
            else:
                tree.add(path, entry)
    for _, wheel in wheels:
        for path, file in wheel.files.items():
            tree.add(path, file)
    add_own(tree, agent)
    return tree


def _kernel(packages: Sequence[tuple[LockedDeb, Package]]) -> Kernel:
    found = [item for locked, item in packages if locked.name.startswith(KERNEL_PACKAGE)]
    if len(found) != 1:
        raise refuse("kernel", f"the lock has {len(found)} kernels, want one")
    return read_kernel(found[0].files)


def _package(locked: LockedDeb, raw: bytes) -> Package:
    package = read_deb(raw)
    said = (package.control.get("Package"), package.control.get("Version"))
    if said != (locked.name, locked.version):
        raise refuse("deb", f"the package says it is {said}, want {locked.name} {locked.version}")
    return package


def _wheel(locked: LockedWheel, raw: bytes) -> Wheel:
    wheel = read_wheel(raw)
    if (wheel.name, wheel.version) != (locked.name, locked.version):
        raise refuse(
            "wheel",
            f"the wheel says it is {wheel.name} {wheel.version}, want {locked.name}"
            f" {locked.version}",
        )
    return wheel


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
