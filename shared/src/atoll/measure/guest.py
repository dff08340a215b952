"""The image of a guest: what it is called, and what of it a processor measures.

A guest boots a kernel, an initial RAM disk that is its whole root, and a command line that
is constant for a release. Its digest is SHA-256 over the transcript "atoll image v1" of the
SHA-256 of the three. Hardware measures the same three, each in its own way
(`atoll.measure.kernel_hashes`, `atoll.measure.snp_launch`); the digest is what people compare.

`image.json` in the folder of an image says all this. It is no proof: whoever reads it hashes
the files.
"""

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from atoll import canonical
from atoll.errors import InputError
from atoll.framing import transcript

LABEL: Final = "atoll image v1"
FORMAT: Final = "atoll-image"
VERSION: Final = 1
MAX_DESCRIPTION: Final = 64 << 10

KERNEL_FILE: Final = "vmlinuz"
INITRD_FILE: Final = "initrd.cpio.zst"
CMDLINE_FILE: Final = "cmdline"
DOCKER_FILE: Final = "docker.tar"
DESCRIPTION_FILE: Final = "image.json"

_SHA256_HEX: Final = 64


def image_digest(*, kernel: bytes, initrd: bytes, cmdline: bytes) -> bytes:
    """The digest of an image.

    Args:
        kernel: SHA-256 of the kernel.
        initrd: SHA-256 of the initial RAM disk as it is given to the guest, compressed.
        cmdline: SHA-256 of the command line, without a NUL or a newline at its end.

    Returns:
        32 bytes.
    """
    return hashlib.sha256(transcript(LABEL, kernel, initrd, cmdline)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestImage:
    """What `image.json` says. All digests are SHA-256 in lower-case hex."""

    release: str
    """The release of Atoll that is inside."""
    digest: str
    kernel: str
    initrd: str
    cmdline: str
    docker: str
    """Of the archive for a container engine."""
    docker_id: str
    """The engine's id of that image, without `sha256:`."""
    bytes: int
    """Kernel, initial RAM disk and command line together."""
    packages: int
    """Debian packages and wheels inside."""


def describe(image: GuestImage) -> bytes:
    """What stands in `image.json`, as canonical JSON."""
    return canonical.dumps({"format": FORMAT, "version": VERSION, **asdict(image)})


def parse_description(raw: bytes) -> GuestImage:
    """Read a description.

    Raises:
        InputError: `image.description`: too long, not canonical JSON, another format or
            version, unknown or missing members, or a digest that is not of the others.
    """
    if len(raw) > MAX_DESCRIPTION:
        raise _invalid(f"has {len(raw)} bytes, want at most {MAX_DESCRIPTION}")
    try:
        value = canonical.loads(raw)
    except InputError as error:
        raise _invalid(error.message) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise _invalid(f"is not of the format {FORMAT}")
    if value.get("version") != VERSION:
        raise _invalid(f"has another version than {VERSION}")
    known = {field.name: field.type for field in fields(GuestImage)}
    given = {key: item for key, item in value.items() if key not in {"format", "version"}}
    if given.keys() != known.keys():
        raise _invalid(f"must have exactly {', '.join(sorted(known))}")
    image = GuestImage(**{name: _member(name, given[name], kind) for name, kind in known.items()})
    parts = {name: bytes.fromhex(given[name]) for name in ("kernel", "initrd", "cmdline")}
    if image_digest(**parts).hex() != image.digest:
        raise _invalid("has a digest that is not that of kernel, initrd and cmdline")
    return image


def _member(name: str, value: Any, kind: Any) -> Any:
    if kind is int:
        if type(value) is not int or value < 0:
            raise _invalid(f"{name} is no count")
    elif not isinstance(value, str):
        raise _invalid(f"{name} is no text")
    elif name != "release" and (len(value) != _SHA256_HEX or value.strip("0123456789abcdef")):
        raise _invalid(f"{name} is no SHA-256 in lower-case hex")
    return value


def _invalid(reason: str) -> InputError:
    return InputError(f"description of an image {reason}", code="image.description")
