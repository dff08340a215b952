"""Datasets whose content is known without reading them again."""

import random
from pathlib import Path

from bench.scale import MIB


def write(path: Path, size: int) -> int:
    """Write `size` bytes, a multiple of 1 MiB; the sum of their little-endian 64-bit words.

    Each MiB is the same random block with its own number in front.
    """
    if size % MIB:
        raise ValueError("a dataset is a multiple of 1 MiB")
    block = bytearray(random.Random(0).randbytes(MIB))
    rest = sum(memoryview(bytes(block[8:])).cast("Q"))
    count = size // MIB
    with path.open("wb") as file:
        for number in range(count):
            block[:8] = number.to_bytes(8, "little")
            file.write(block)
    return count * rest + count * (count - 1) // 2
