"""The launch digest of SEV-SNP (AMD 56860, section 8.17.2, table 67).

LD starts as 48 zero bytes. For each page that the hypervisor adds,
LD = SHA-384(PAGE_INFO), where PAGE_INFO is 0x70 bytes, little-endian:

| off | size | field                                                             |
| 00  | 48   | LD so far                                                         |
| 30  | 48   | SHA-384 of the page for NORMAL and VMSA, zero for the other types |
| 60  | 2    | length, 0x70                                                      |
| 62  | 1    | page type                                                         |
| 63  | 1    | IMI_PAGE, zero                                                    |
| 64  | 3    | permissions of VMPL 3, 2, 1, zero                                 |
| 67  | 1    | zero                                                              |
| 68  | 8    | guest physical address                                            |

Page types that are not hashed (secrets, CPUID) are filled by firmware; their content
does not count, only that they are there, and where.
"""

import hashlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

PAGE_SIZE: Final = 4096
DIGEST_SIZE: Final = 48
INITIAL: Final = bytes(DIGEST_SIZE)

_PAGE_INFO_SIZE: Final = 0x70


class PageType(IntEnum):
    """PAGE_TYPE (AMD 56860, table 65)."""

    NORMAL = 1
    VMSA = 2
    ZERO = 3
    UNMEASURED = 4
    SECRETS = 5
    CPUID = 6


_HASHED: Final = (PageType.NORMAL, PageType.VMSA)


def extend(digest: bytes, kind: PageType, gpa: int, page: bytes | None = None) -> bytes:
    """The launch digest after one more page.

    Args:
        digest: before it; `INITIAL` for the first.
        kind: NORMAL and VMSA take a `page`, the other types none.
        gpa: guest physical address, a multiple of the page size.
        page: its 4096 bytes.

    Raises:
        ValueError: arguments that no hypervisor could pass.
    """
    if len(digest) != DIGEST_SIZE or gpa % PAGE_SIZE or not 0 <= gpa < 1 << 64:
        raise ValueError("want a 48-byte digest and a page-aligned 64-bit address")
    if (page is not None) != (kind in _HASHED):
        raise ValueError(f"{kind.name} pages are{'' if kind in _HASHED else ' not'} measured")
    contents = bytes(DIGEST_SIZE)
    if page is not None:
        if len(page) != PAGE_SIZE:
            raise ValueError(f"a page is {PAGE_SIZE} bytes, not {len(page)}")
        contents = hashlib.sha384(page).digest()
    info = digest + contents + _PAGE_INFO_SIZE.to_bytes(2, "little")
    info += bytes((kind, 0, 0, 0, 0, 0)) + gpa.to_bytes(8, "little")
    return hashlib.sha384(info).digest()


def launch_digest(pages: Iterable[tuple[PageType, int, bytes | None]]) -> bytes:
    """MEASUREMENT after these (type, address, page), in this order."""
    digest = INITIAL
    for kind, gpa, page in pages:
        digest = extend(digest, kind, gpa, page)
    return digest


def measure_image(image: bytes, *, gpa: int = 0) -> bytes:
    """MEASUREMENT of an image loaded as normal pages from `gpa`, zero padded to a page.

    Padding is not ambiguous only if the image tells its own length, as
    `agent.agent_image` does.
    """
    padded = image + bytes(-len(image) % PAGE_SIZE)
    return launch_digest(
        (PageType.NORMAL, gpa + at, padded[at : at + PAGE_SIZE])
        for at in range(0, len(padded), PAGE_SIZE)
    )
