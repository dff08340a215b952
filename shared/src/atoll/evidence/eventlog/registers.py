"""The four run-time measurement registers of a TD (Intel TDX module specification).

A register starts as 48 zero bytes; extending makes it SHA-384(register || digest).
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from atoll.errors import RejectedEvidenceError

DIGEST_SIZE: Final = 48
COUNT: Final = 4

Registers = tuple[bytes, bytes, bytes, bytes]
"""RTMR0 to RTMR3."""


def replay(events: Iterable[tuple[int, bytes]]) -> Registers:
    """The registers after extending zeros with (register number, digest) in this order."""
    values = [bytes(DIGEST_SIZE)] * COUNT
    for number, digest in events:
        values[number] = hashlib.sha384(values[number] + digest).digest()
    return values[0], values[1], values[2], values[3]


def compare(number: int, replayed: bytes, wanted: bytes) -> None:
    """Return if the log replays to the register's value.

    Raises:
        RejectedEvidenceError: `evidence.rtmr_mismatch`.
    """
    if replayed != wanted:
        raise RejectedEvidenceError(
            f"RTMR{number} is {wanted[:8].hex()}.., the log replays to {replayed[:8].hex()}..",
            code="evidence.rtmr_mismatch",
        )
