"""What vendors sign about platforms, as it lies in ATOLL_HOME: `atoll attest collateral import`.

Read from `collateral` there, for whoever uses somebody else's stack, and from that of the embedded
stack. What is of no use is passed over: evidence that needs it then fails and names what is not
here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from atoll.client.files import read_private
from atoll.errors import AtollError
from atoll.evidence.needed import Signed
from atoll.evidence.trust import TrustStore
from atoll_attestor.collateral.documents import Document, read
from atoll_attestor.collateral.importing import MAX_FILES, SUFFIXES
from atoll_attestor.collateral.pairing import sort

FOLDERS: Final = ("collateral", "stack/collateral")
MAX_FILE: Final = 1 << 20


def known(home: Path, trust: TrustStore) -> Mapping[str, Signed]:
    """The newest document under each key; never raises.

    Args:
        home: ATOLL_HOME.
        trust: under whose roots a document must be signed.
    """
    files: dict[str, bytes] = {}
    for folder in FOLDERS:
        files |= _read(home / folder)
    found: dict[str, Document] = {}
    for ways in sort(files).candidates:
        for way in ways:
            try:
                one = read(way.body, way.chain, trust)
            except AtollError:
                continue
            if one.key not in found or found[one.key].order < one.order:
                found[one.key] = one
            break
    return found


def _read(folder: Path) -> dict[str, bytes]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError:
        return {}
    found = {}
    for path in paths[:MAX_FILES]:
        try:
            found[str(path)] = read_private(path, limit=MAX_FILE)
        except AtollError:
            continue
    return found
